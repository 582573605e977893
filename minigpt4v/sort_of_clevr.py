"""A GPT4V that learns Sort-of-CLEVR from question-answer pairs alone, and its score (chapter 13).

No part of it knows what a thing is or where: it sees the 9,800 training pictures, turned, mirrored and recoloured
together with their questions, and is told the answers in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from minigpt4v.checkpoint import STAGES_FOLDER
from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder, check_labels
from minigpt4v.datasets.sort_of_clevr import ANSWERS, COLOURS, SUBTYPES, Picture, answer, draw_indices, load
from minigpt4v.datasets.sort_of_clevr_stream import (
    ASKED_KINDS,
    PADDED_SIZE,
    SingleThingStream,
    SortOfClevrStream,
    all_sentences,
    make_batch,
    pad,
)
from minigpt4v.gpt import GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.objectives import AnswerObjective
from minigpt4v.tokenizer import Tokenizer
from minigpt4v.training import Trainer, TrainingSettings
from minigpt4v.vision import VisionConfig

LOOKING_FOLDER = f"{STAGES_FOLDER}/looking"  # in a run's folder: history and checkpoint of the first stage
CONTEXT_LENGTH = 320  # 100 tokens of a picture and at most 20 questions of 11
_VALIDATION_PICTURES = 200  # the last of the training set, kept out of training
_SCORED_AT_ONCE = 100
_LOOKING_SHARE = 0.2  # of the minutes: the first stage


def make_sort_of_clevr_model(seed: int, *, width: int = 96, layers: int = 4, heads: int = 4) -> GPT4V:
    """A GPT4V with random weights for pictures of 80 x 80 pixels, one token for each 8 x 8 of them."""
    torch.manual_seed(seed)
    tokenizer = Tokenizer.train(all_sentences(), vocabulary_size=512)
    text = GPTConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=CONTEXT_LENGTH,
        layers=layers,
        heads=heads,
        width=width,
    )
    vision = VisionConfig(width=width, image_size=PADDED_SIZE, patch_size=8, channels=(32, 64))
    return GPT4V(GPT4VConfig(text, vision), tokenizer)


class PooledAnswers(nn.Module):
    """First lesson for the encoder: to answer the questions about one thing from the mean of its tokens alone.

    A GPT that must learn at once to see, to read and to compare learns for a long while almost nothing (chapter 12).
    Here an answer is a linear map of averaged features, so colours, shapes and sides must already stand in the tokens.
    """

    def __init__(self, encoder: nn.Module, width: int):
        super().__init__()
        self.encoder = encoder
        self.features = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU())
        self.answers = nn.Linear(4 * width, len(COLOURS) * 3 * len(ANSWERS))

    def forward(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss and the number of right answers of a batch of `SingleThingStream`; ValueError for no answer."""
        check_labels(batch["labels"])
        pooled = self.features(self.encoder(batch["images"])).mean(1)
        logits = rearrange(self.answers(pooled), "b (question answer) -> (b question) answer", answer=len(ANSWERS))
        labels = rearrange(batch["labels"], "b colour subtype -> (b colour subtype)")
        loss = F.cross_entropy(logits.float(), labels, ignore_index=IGNORED, reduction="sum")
        return loss, (logits.argmax(-1) == labels).sum()


class SortOfClevrRun:
    """One training run, in a folder that is itself a model. settings: fields of `TrainingSettings` to change."""

    def __init__(
        self,
        *,
        folder: Path | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        labels: str = "fixed",
        batch_size: int = 16,
        settings: dict[str, Any] | None = None,
    ):
        self.folder, self.labels, self.device = folder, labels, torch.device(device)
        self.settings = replace(TrainingSettings(minutes=60, seed=seed), **(settings or {}))
        self.model = make_sort_of_clevr_model(seed).to(device)
        encoder = ConversationEncoder(self.model.tokenizer, self.model.tokens_per_image)
        self._stream = SortOfClevrStream(
            load("train")[:-_VALIDATION_PICTURES], encoder, batch_size, seed, device, labels
        )

    def train(self, *, resume: bool = False) -> list[dict[str, Any]]:
        """Both stages, or what is left of them; returns the history of the second, with held-out accuracy.

        The held-out pictures are the last 200 of the training set; the test set is not touched.
        """
        trainer = self._talking_trainer()
        if not (resume and trainer.resume()):
            self._learn_to_look(resume)
            trainer = self._talking_trainer()
        return trainer.run()

    def _timed(self, share: float, **changes: Any) -> TrainingSettings:
        minutes = self.settings.minutes * share if self.settings.minutes else None
        return replace(self.settings, minutes=minutes, **changes)

    def _learn_to_look(self, resume: bool) -> None:
        objective = PooledAnswers(self.model.encoder, self.model.config.vision.width).to(self.device)
        settings = self._timed(_LOOKING_SHARE, encoder_rate=1.0, warmup_steps=30, decay_share=1.0)
        folder = self.folder / LOOKING_FOLDER if self.folder else None
        trainer = Trainer(objective, SingleThingStream(self._stream), settings, folder=folder, title="looking")
        if resume:
            trainer.resume()
        trainer.run()

    def _talking_trainer(self) -> Trainer:
        return Trainer(
            AnswerObjective(self.model),
            self._stream,
            self._timed(1 - _LOOKING_SHARE),
            folder=self.folder,
            evaluate=self._measure,
            on_save=lambda: self.model.save_pretrained(self.folder) if self.folder else None,
            title="Sort-of-CLEVR",
        )

    def _measure(self) -> dict[str, Any]:
        scores = score(self.model, load("train")[-_VALIDATION_PICTURES:], self.labels)
        kinds = {kind.replace("-", "_"): row["accuracy"] for kind, row in scores.items()}
        return {"held_out_accuracy": round(sum(kinds.values()) / len(kinds), 5), "kinds": kinds}


@torch.no_grad()
def score(model: GPT4V, pictures: Sequence[Picture], labels: str) -> dict[str, dict[str, Any]]:
    """Accuracy of greedy answers to the questions of each kind: "accuracy", "count", and "subtypes" by name.

    Every question of a picture counts, also where it is asked twice, as in published results.
    """
    hits: dict[tuple[str, int], list[bool]] = {(kind, subtype): [] for kind in ASKED_KINDS for subtype in range(3)}
    for start in range(0, len(pictures), _SCORED_AT_ONCE):
        _count_hits(hits, model, pictures[start : start + _SCORED_AT_ONCE], labels)
    scores: dict[str, dict[str, Any]] = {}
    for kind in ASKED_KINDS:
        rows = {name: hits[kind, subtype] for subtype, name in enumerate(SUBTYPES[kind])}
        everything = [hit for row in rows.values() for hit in row]
        scores[kind] = {"accuracy": _share(everything), "count": len(everything)}
        scores[kind]["subtypes"] = {name: {"accuracy": _share(row), "count": len(row)} for name, row in rows.items()}
    return scores


def _count_hits(
    hits: dict[tuple[str, int], list[bool]], model: GPT4V, pictures: Sequence[Picture], labels: str
) -> None:
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    asked = [
        [(q, answer(picture.things, q, labels)) for kind in ASKED_KINDS for q in picture.asked(kind)]
        for picture in pictures
    ]
    batch = make_batch([pad(draw_indices(p.things)) for p in pictures], asked, encoder, model.device)
    right = AnswerObjective(model).right_answers(batch).tolist()
    questions = [question for about in asked for question, _ in about]
    for question, hit in zip(questions, right, strict=True):
        hits[question.kind, question.subtype].append(hit)


def _share(hits: Sequence[bool]) -> float:
    return round(sum(hits) / max(len(hits), 1), 5)
