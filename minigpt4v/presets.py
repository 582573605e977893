"""Ready-made sizes and recipes: `tiny` (under a minute), `laptop` (CPU minutes), `gpu` (minutes on one GPU).

A recipe has two stages (chapter 12): the encoder first learns to name what it sees, then the whole model learns to
answer questions about scenes, with its name embeddings aligned to the encoder's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.phrasings import FAMILIES, LANGUAGES, vocabulary_texts
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import World, load_world, scenes_of
from minigpt4v.datasets.streams import NamingStream, SceneStream, scene_batch
from minigpt4v.gpt import GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.naming import NamingObjective, align_names
from minigpt4v.objectives import AnswerObjective
from minigpt4v.recipe import has_fast_bfloat16
from minigpt4v.tokenizer import CharTokenizer, Tokenizer, load_tokenizer
from minigpt4v.training import Trainer, TrainingSettings
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
    channels: tuple[int, ...] = (32, 64, 128)
    precision: str = "no"
    families: tuple[str, ...] = FAMILIES
    languages: tuple[str, ...] = LANGUAGES
    conversations: int | None = None  # behind each picture, drawn from `families`; None = all of them


_FIRST_FAMILIES = ("what", "where", "is_there", "how_many", "colour", "category")
# What is learned last is asked more often: what is beside something, what differs from the rest.
_MORE_OF_THE_HARD = (*FAMILIES, *("relation",) * 2, *("size",) * 3, "same_category", "true_or_false")
PRESETS = {
    "tiny": Preset("core16", 64, 2, 4, 16, 0.75, 0.25, 32, families=_FIRST_FAMILIES, languages=("en",)),
    "laptop": Preset(
        *("core64", 96, 3, 6, 32, 60, 0.15, 64), precision="bf16", families=_MORE_OF_THE_HARD, conversations=13
    ),
    "gpu": Preset(
        *("all", 256, 6, 8, 256, 3, 0.3, 512, (64, 128, 256), "bf16"), families=_MORE_OF_THE_HARD, conversations=13
    ),
}
CONTEXT_LENGTH = 384
_ROW_LENGTH = 48  # tokens: hardly any conversation is longer, and short rows leave little to compare in vain
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


class PresetRun:
    """One training run of a preset, in a folder that is itself a model (`GPT4V.from_pretrained(folder)`)."""

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
        self.model = make_model(preset, self.world, seed).to(device)

    def train(self, *, resume: bool = False) -> list[dict]:
        """Both stages, or the rest of the second from its newest checkpoint; returns the history of the second."""
        if resume and self.folder and (self.folder / "tokenizer.json").exists():
            # what was learned is about these ids, whatever tokenizer the library would train today
            tokenizer = load_tokenizer(self.folder / "tokenizer.json")
            self.model = make_model(self.preset, self.world, self.seed, tokenizer).to(self.device)
        stage_two = self._seeing_trainer()
        if not (resume and stage_two.resume()):
            self.learn_names()
            stage_two = self._seeing_trainer()
        return stage_two.run()

    def _timed(self, share: float, **changes: Any) -> TrainingSettings:
        """The settings of a stage that takes this share of the preset's minutes."""
        precision = self.preset.precision if has_fast_bfloat16(self.device) else "no"
        base = TrainingSettings(minutes=self.preset.minutes * share, seed=self.seed, precision=precision)
        return replace(base, **(changes | self.settings))

    def learn_names(self) -> list[dict]:
        """The first stage: the encoder learns to name what it sees, then names are aligned; returns its history."""
        width = self.preset.width
        objective = NamingObjective(self.model.encoder, self.world.trained, width).to(self.device)
        stream = NamingStream(self.world, self.preset.naming_batch_size, self.seed, self.device)
        settings = self._timed(self.preset.naming_share, encoder_rate=1.0, warmup_steps=30, decay_share=1.0)
        history = Trainer(objective, stream, settings, title="naming").run()
        align_names(self.model, objective.classifier, self.world.nouns[: self.world.trained])
        return history

    def _save(self) -> None:
        if self.folder:
            self.model.save_pretrained(self.folder)

    def _seeing_trainer(self) -> Trainer:
        encoder = ConversationEncoder(self.model.tokenizer, self.model.tokens_per_image)
        objective = AnswerObjective(self.model)
        families, languages = self.preset.families, self.preset.languages
        scenes = scenes_of(self.world, "seen", seed=_VALIDATION_SEED, count=128)
        conversations = conversations_about(
            self.world, scenes, _VALIDATION_SEED, families=tuple(dict.fromkeys(families)), languages=languages
        )
        held_out = scene_batch(scenes, conversations, encoder, Renderer(self.world, self.device))
        turns = [turn for about in conversations for turns in about for turn in turns]
        stream = SceneStream(
            self.world,
            encoder,
            self.preset.batch_size,
            self.seed,
            self.device,
            families=families,
            languages=languages,
            conversations=self.preset.conversations,
            row_length=_ROW_LENGTH,
        )
        return Trainer(
            objective,
            stream,
            self._timed(1 - self.preset.naming_share),
            folder=self.folder,
            evaluate=lambda: held_out_accuracy(objective, held_out, turns),
            on_save=self._save,
            title="seeing",
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
