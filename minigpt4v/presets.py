"""Ready-made sizes and recipes: `tiny` (under a minute), `laptop` (CPU minutes), `gpu` (minutes on one GPU).

A recipe has up to five stages (chapter 12). The encoder learns to name what it sees, and the model's name embeddings
start from what it learned; the model learns to point at what is named; to answer questions of a word or two; to compare
with as few words; and, for most of the time, to answer sentences.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from minigpt4v.checkpoint import STAGES_FOLDER
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.phrasings import FAMILIES, LANGUAGES, vocabulary_texts
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import World, load_world, scenes_of
from minigpt4v.datasets.streams import (
    ComparingStream,
    ConversationStream,
    FirstWordsStream,
    NamingStream,
    PointingStream,
    SceneStream,
    scene_batch,
)
from minigpt4v.gpt import GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.naming import NamingObjective, align_names
from minigpt4v.objectives import AnswerObjective
from minigpt4v.recipe import has_fast_bfloat16
from minigpt4v.tokenizer import CharTokenizer, Tokenizer, load_tokenizer
from minigpt4v.training import Stream, Trainer, TrainingSettings
from minigpt4v.vision import VisionConfig


@dataclass(frozen=True)
class Preset:
    """A world, a model size, and how to train it. Batch sizes are pictures per step."""

    world: str
    width: int
    layers: int
    heads: int
    batch_size: int
    minutes: float
    naming_share: float  # of the minutes
    naming_batch_size: int
    pointing_steps: int = 0  # at most
    first_words_steps: int = 0  # at most
    comparing_steps: int = 0
    channels: tuple[int, ...] = (32, 64, 128)
    precision: str = "no"
    families: tuple[str, ...] = FAMILIES
    languages: tuple[str, ...] = LANGUAGES
    conversations: int | None = None  # behind each picture, drawn from `families`; None = all of them


_FIRST_FAMILIES = ("what", "where", "is_there", "how_many", "colour", "category")
# What is learned last is asked more often.
_MORE_OF_THE_HARD = (*FAMILIES, *("same_category",) * 2, "relation", "how_many_category", "true_or_false")
_WORDS_FIRST: dict[str, Any] = {"pointing_steps": 400, "first_words_steps": 400, "comparing_steps": 270}
PRESETS = {
    "tiny": Preset("core16", 64, 2, 4, 16, 0.75, 0.25, 32, families=_FIRST_FAMILIES, languages=("en",)),
    "laptop": Preset(
        *("core64", 96, 3, 6, 32, 10, 0.15, 64),
        **_WORDS_FIRST,
        precision="bf16",
        families=_MORE_OF_THE_HARD,
        conversations=14,
    ),
    "gpu": Preset(
        *("all", 256, 6, 8, 256, 3, 0.3, 512),
        **_WORDS_FIRST,
        channels=(64, 128, 256),
        precision="bf16",
        families=_MORE_OF_THE_HARD,
        conversations=14,
    ),
}
CONTEXT_LENGTH = 384
_ROW_LENGTH = 48  # tokens: hardly any conversation is longer, and short rows leave little to compare in vain
_WORDS_ROW_LENGTH = 64  # of questions of a word or two more fit beside each other
_SHORT_STAGE = 0.2  # of the minutes: what each stage between naming and sentences takes at most
_FINAL_DECAY = 0.35  # of the whole run: for the last third of it the rates fall
_VALIDATION_SEED = "validation"


def find_preset(name: str) -> Preset:
    """The preset of that name. Raises ValueError for an unknown one."""
    if name not in PRESETS:
        raise ValueError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def make_model(preset: Preset, world: World, seed: int, tokenizer: Tokenizer | CharTokenizer | None = None) -> GPT4V:
    """A model of the preset's size with random weights and a tokenizer, by default one for the words of its world."""
    torch.manual_seed(seed)
    tokenizer = tokenizer or Tokenizer.train(vocabulary_texts(world.nouns[: world.trained]), vocabulary_size=8192)
    text = GPTConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=CONTEXT_LENGTH,
        layers=preset.layers,
        heads=preset.heads,
        width=preset.width,
    )
    vision = VisionConfig(width=preset.width, channels=preset.channels)
    return GPT4V(GPT4VConfig(text, vision), tokenizer)


@torch.no_grad()
def speak_up(model: GPT4V, seed: int) -> None:
    """Make what attention starts from louder: to compare, it needs differences (chapter 12).

    Weights of queries, keys, values and the hidden layer with a standard deviation of 0.1 in place of 0.02; positions
    in the picture twice as long. Without it finding what is named takes two to three times as many examples.
    """
    torch.manual_seed(seed)
    louder = re.compile(r"blocks\.\d+\.(attention\.(query|key|value)|feed_forward\.hidden)\.weight")
    for name, weight in model.gpt.named_parameters():
        if louder.fullmatch(name):
            nn.init.normal_(weight, std=0.1)
    model.encoder.positions.table.mul_(2)


class PresetRun:
    """One training run of a preset, in a folder that is itself a model (`GPT4V.from_pretrained(folder)`).

    Every stage writes checkpoints: the last into the folder itself, those before it into stages/TITLE, where they stay
    until the last has one. histories: of the stages that are over, by title.
    """

    def __init__(
        self,
        preset: Preset,
        *,
        folder: Path | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
        world: World | None = None,
        settings: dict | None = None,
    ):
        self.preset, self.folder, self.seed, self.device = preset, folder, seed, device
        self.world = world or load_world(preset.world)
        self.settings = settings or {}
        self.histories: dict[str, list[dict]] = {}
        self._resuming = False
        self.model = make_model(preset, self.world, seed).to(device)

    def train(self, *, resume: bool = False) -> list[dict]:
        """All stages, or what is left of them from the newest checkpoint; returns the history of the last."""
        self._resuming = resume
        if resume and self.folder and (self.folder / "tokenizer.json").exists():
            # what was learned is about these ids, whatever tokenizer the library would train today
            tokenizer = load_tokenizer(self.folder / "tokenizer.json")
            self.model = make_model(self.preset, self.world, self.seed, tokenizer).to(self.device)
        last = self._sentences_trainer()
        if not (resume and last.resume()):
            self.learn_names()
            if self.preset.pointing_steps:
                self.learn_to_point()
            if self.preset.first_words_steps:
                self.learn_first_words()
            if self.preset.comparing_steps:
                self.learn_to_compare()
            last = self._sentences_trainer()
            # one clock for the whole run
            last.seconds = sum(history[-1]["seconds"] for history in self.histories.values() if history)
        return self._run(last)

    def _settings(self, **stage: Any) -> TrainingSettings:
        """The settings of a stage."""
        precision = self.preset.precision if has_fast_bfloat16(self.device) else "no"
        return TrainingSettings(**({"seed": self.seed, "precision": precision} | stage | self.settings))

    def _stage(self, title: str, objective: nn.Module, stream: Stream, **settings: Any) -> Trainer:
        """A stage before the last."""
        folder = self.folder / STAGES_FOLDER / title if self.folder else None
        settings_of_stage = self._settings(**settings)
        return Trainer(objective, stream, settings_of_stage, folder=folder, on_save=self._save_tokenizer, title=title)

    def _run(self, trainer: Trainer) -> list[dict]:
        if self._resuming and trainer.step == 0:
            trainer.resume()
        self.histories[trainer.title] = trainer.run()
        return self.histories[trainer.title]

    def learn_names(self) -> list[dict]:
        """The first stage: the encoder learns to name what it sees, then names are aligned; returns its history."""
        trainer = self._naming_trainer()
        history = self._run(trainer)
        classifier = trainer.accelerator.unwrap_model(trainer.objective).classifier
        align_names(self.model, classifier, self.world.nouns[: self.world.trained])
        return history

    def _naming_trainer(self) -> Trainer:
        # who will be asked to point needs tokens that know by themselves what they show
        every_token = self.preset.pointing_steps > 0
        objective = NamingObjective(
            self.model.encoder, self.world.trained, self.preset.width, every_token=every_token
        ).to(self.device)
        stream = NamingStream(self.world, self.preset.naming_batch_size, self.seed, self.device)
        minutes = self.preset.minutes * self.preset.naming_share
        settings = {"minutes": minutes, "encoder_rate": 1.0, "warmup_steps": 30, "decay_share": 1.0}
        return self._stage("naming", objective, stream, **settings)

    def learn_to_point(self) -> list[dict]:
        """The second stage: names are answered with places, until nearly always right; returns its history.

        It needs tens of thousands of examples, so they are cheap; and the encoder, which knows the names, stays nearly
        as it is.
        """
        speak_up(self.model, self.seed)
        stream = self._stream(PointingStream, 3 * self.preset.batch_size // 2, row_length=_WORDS_ROW_LENGTH)
        steps, minutes = self.preset.pointing_steps, _SHORT_STAGE * self.preset.minutes
        settings = {"steps": steps, "minutes": minutes, "enough": 0.97, "encoder_rate": 0.01, "decay_share": 0.2}
        trainer = self._stage(
            PointingStream.name, AnswerObjective(self.model), stream, **settings, matrix_learning_rate=0.04
        )
        return self._run(trainer)

    def learn_first_words(self) -> list[dict]:
        """The third stage: what is where, beside what, how it looks, in a word or two; returns its history."""
        return self._learn_words(FirstWordsStream, steps=self.preset.first_words_steps, enough=0.85)

    def learn_to_compare(self) -> list[dict]:
        """The fourth stage: what is of one kind, and how many, in as few words; returns its history."""
        return self._learn_words(ComparingStream, steps=self.preset.comparing_steps)

    def _learn_words(self, kind: type[ConversationStream], **stage: Any) -> list[dict]:
        stream = self._stream(kind, self.preset.batch_size, row_length=_WORDS_ROW_LENGTH)
        minutes = _SHORT_STAGE * self.preset.minutes
        settings = {"minutes": minutes, "matrix_learning_rate": 0.04, "decay_share": 0.1} | stage
        return self._run(self._stage(kind.name, AnswerObjective(self.model), stream, **settings))

    def _stream(self, kind: type[ConversationStream], batch_size: int, **options: Any) -> ConversationStream:
        return kind(
            self.world,
            ConversationEncoder(self.model.tokenizer, self.model.tokens_per_image),
            batch_size,
            self.seed,
            self.device,
            languages=self.preset.languages,
            **options,
        )

    def _save_tokenizer(self) -> None:
        if self.folder:
            self.model.tokenizer.save(self.folder / "tokenizer.json")

    def _save(self) -> None:
        if self.folder:
            self.model.save_pretrained(self.folder)
            for checkpoints in (self.folder / STAGES_FOLDER).glob("*/checkpoints"):  # of the stages before: not needed
                shutil.rmtree(checkpoints)

    def _sentences_trainer(self) -> Trainer:
        families, languages = self.preset.families, self.preset.languages
        scenes = scenes_of(self.world, "seen", seed=_VALIDATION_SEED, count=128)
        conversations = conversations_about(
            self.world, scenes, _VALIDATION_SEED, families=tuple(dict.fromkeys(families)), languages=languages
        )
        stream = self._stream(
            SceneStream,
            self.preset.batch_size,
            families=families,
            conversations=self.preset.conversations,
            row_length=_ROW_LENGTH,
        )
        held_out = scene_batch(scenes, conversations, stream.encoder, Renderer(self.world, self.device))
        turns = [turn for about in conversations for turns in about for turn in turns]
        objective = AnswerObjective(self.model)
        return Trainer(
            objective,
            stream,
            self._settings(minutes=self.preset.minutes, warmup_steps=20, decay_share=_FINAL_DECAY),
            folder=self.folder,
            evaluate=lambda: held_out_accuracy(objective, held_out, turns),
            on_save=self._save,
            title="sentences",
        )


@torch.no_grad()
def held_out_accuracy(objective: AnswerObjective, batch: dict, turns: Sequence[Turn]) -> dict[str, Any]:
    """The share of the answers of a batch that greedy decoding would write exactly, over all and for each family.

    turns: those of the batch, in reading order.
    """
    right = objective.right_answers(batch).tolist()
    hits: dict[str, list[bool]] = {}
    for turn, hit in zip(turns, right, strict=True):
        hits.setdefault(turn.family or "other", []).append(hit)
    families = {family: round(sum(members) / len(members), 4) for family, members in hits.items()}
    return {"held_out_accuracy": round(sum(right) / len(right), 4), "families": families}
