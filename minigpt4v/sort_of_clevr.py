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

from minigpt4v.datasets.conversation import ConversationEncoder
from minigpt4v.datasets.sort_of_clevr import SUBTYPES, Picture, answer, draw_indices, load
from minigpt4v.datasets.sort_of_clevr_stream import (
    ASKED_KINDS,
    PADDED_SIZE,
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

CONTEXT_LENGTH = 320  # 100 tokens of a picture and at most 20 questions of 11
_VALIDATION_PICTURES = 200  # the last of the training set, kept out of training
_SCORED_AT_ONCE = 100


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
        self.folder, self.labels, self.batch_size, self.device = folder, labels, batch_size, torch.device(device)
        self.settings = replace(TrainingSettings(minutes=60, seed=seed, encoder_rate=1.0), **(settings or {}))
        self.model = make_sort_of_clevr_model(seed).to(device)

    def train(self, *, resume: bool = False) -> list[dict[str, Any]]:
        """Train to the end, or on from the newest checkpoint; returns the history, with accuracy on held-out pictures.

        The held-out pictures are the last 200 of the training set; the test set is not touched.
        """
        encoder = ConversationEncoder(self.model.tokenizer, self.model.tokens_per_image)
        pictures, held_out = load("train")[:-_VALIDATION_PICTURES], load("train")[-_VALIDATION_PICTURES:]
        stream = SortOfClevrStream(pictures, encoder, self.batch_size, self.settings.seed, self.device, self.labels)
        trainer = Trainer(
            AnswerObjective(self.model),
            stream,
            self.settings,
            folder=self.folder,
            evaluate=lambda: self._measure(held_out),
            on_save=lambda: self.model.save_pretrained(self.folder) if self.folder else None,
            title="Sort-of-CLEVR",
        )
        if resume:
            trainer.resume()
        return trainer.run()

    def _measure(self, pictures: Sequence[Picture]) -> dict[str, Any]:
        scores = score(self.model, pictures, self.labels)
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
