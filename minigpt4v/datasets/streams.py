"""Endless training data: batch number `step` is a pure function of a seed and `step` (see `training.Stream`)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch

from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder
from minigpt4v.datasets.first_words import comparisons, first_words, where_is_each
from minigpt4v.datasets.phrasings import FAMILIES, LANGUAGES
from minigpt4v.datasets.questions import Conversation, ask_all
from minigpt4v.datasets.rendering import Renderer, draw_noise
from minigpt4v.datasets.scenes import PLACES, Scene, World, random_scene


def share(size: int, part: int, parts: int) -> range:
    """Which of `size` items belong to a part: the parts are contiguous and as equal as can be."""
    return range(size * part // parts, size * (part + 1) // parts)


class _Scenes:
    """Training scenes by step, and their augmented pictures."""

    name: str

    def __init__(self, world: World, batch_size: int, seed: int, device: str | torch.device = "cpu"):
        self.world, self.batch_size, self.seed = world, batch_size, seed
        self.renderer = Renderer(world, device)

    def source(self, step: int, number: int) -> random.Random:
        """The source of chance of scene `number` of a step."""
        return random.Random(f"{self.name}/{self.world.name}/{self.seed}/{step}/{number}")

    def pictures(self, scenes: Sequence[Scene], step: int, part: int, parts: int) -> torch.Tensor:
        noise = draw_noise(self.batch_size, seed=self.seed * 1_000_003 + step)
        mine = share(self.batch_size, part, parts)
        return self.renderer(scenes, noise[mine.start : mine.stop])


class ConversationStream(_Scenes):
    """Scenes with several conversations each, packed behind the picture; a subclass says what is asked.

    row_length: None packs all conversations about a picture into one row behind it; a number puts them into short rows
    that share the picture (`ConversationEncoder.short_rows`).
    """

    def __init__(
        self,
        world: World,
        encoder: ConversationEncoder,
        batch_size: int,
        seed: int,
        device: str | torch.device = "cpu",
        *,
        languages: Sequence[str] = LANGUAGES,
        row_length: int | None = None,
    ):
        super().__init__(world, batch_size, seed, device)
        self.encoder, self.languages, self.row_length = encoder, languages, row_length

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, torch.Tensor | int]:
        """ids, labels, positions, segments [b, t], images [b, 3, 64, 64], count = the number of answers."""
        scenes, conversations = [], []
        for number in share(self.batch_size, part, parts):
            rng = self.source(step, number)
            scenes.append(random_scene(self.world, rng))
            conversations.append(self.ask(scenes[-1], rng))
        batch = pack_batch(conversations, self.encoder, self.renderer.device, self.row_length)
        return batch | {"images": self.pictures(scenes, step, part, parts)}

    def ask(self, scene: Scene, rng: random.Random) -> list[Conversation]:
        """What is asked about a scene."""
        raise NotImplementedError


class SceneStream(ConversationStream):
    """Scenes with questions and answers in sentences.

    families may hold a family more than once: that makes it so many times as frequent. conversations: how many
    entries of it are drawn for a scene, those that the scene does not allow included; None = all, in order.
    common, options: those of `ConversationStream`.
    """

    name = "seeing"

    def __init__(
        self, *common: Any, families: Sequence[str] = FAMILIES, conversations: int | None = None, **options: Any
    ):
        super().__init__(*common, **options)
        self.families, self.conversations = families, conversations

    def ask(self, scene: Scene, rng: random.Random) -> list[Conversation]:
        """One conversation of each family, or of those that are drawn."""
        families = rng.sample(self.families, self.conversations) if self.conversations else self.families
        return ask_all(self.world, scene, rng, families, self.languages)


class PointingStream(ConversationStream):
    """Scenes in which everything is to be found by its name alone."""

    name = "pointing"

    def ask(self, scene: Scene, rng: random.Random) -> list[Conversation]:  # noqa: ARG002, nothing is left to chance
        """Where each thing is, in every language."""
        return where_is_each(self.world, scene, self.languages)


class FirstWordsStream(ConversationStream):
    """Scenes with questions of a word or two."""

    name = "first words"

    def ask(self, scene: Scene, rng: random.Random) -> list[Conversation]:
        """What is where, what is beside it, how it looks."""
        return first_words(self.world, scene, rng, self.languages)


class ComparingStream(ConversationStream):
    """Scenes with questions of a few words, above all about kinds."""

    name = "comparing"

    def ask(self, scene: Scene, rng: random.Random) -> list[Conversation]:
        """How many there are of a kind, what is of the same kind."""
        return comparisons(self.world, scene, rng, self.languages)


def pack_batch(
    conversations: Sequence[Sequence[Conversation]],
    encoder: ConversationEncoder,
    device: torch.device,
    row_length: int | None = None,
) -> dict[str, torch.Tensor | int]:
    """The conversations about each picture: ids, labels, positions, segments [b, t]; count = the number of answers.

    With a row_length as of `ConversationEncoder.short_rows`, with the number of each row's picture.
    """
    if row_length:
        batch = encoder.short_rows(conversations, row_length)
    else:
        batch = encoder.batch([encoder.pack(about) for about in conversations])
    count = sum(len(turns) for about in conversations for turns in about)
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()} | {"count": count}


def scene_batch(
    scenes: Sequence[Scene],
    conversations: Sequence[Sequence[Conversation]],
    encoder: ConversationEncoder,
    renderer: Renderer,
) -> dict[str, torch.Tensor | int]:
    """Given scenes, not augmented, and the conversations about each: a batch as of `SceneStream`."""
    return pack_batch(conversations, encoder, renderer.device) | {"images": renderer(scenes)}


def _noun_at(scene: Scene, place: str) -> int:
    thing = scene.at(place)
    return thing.noun if thing else IGNORED


class NamingStream(_Scenes):
    """Scenes and the name of the thing at each place."""

    name = "naming"

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, torch.Tensor | int]:
        """images [b, 3, 64, 64]; labels [b, 5]: the noun at each of `PLACES`, `IGNORED` where there is none."""
        numbers = share(self.batch_size, part, parts)
        scenes = [random_scene(self.world, self.source(step, number)) for number in numbers]
        labels = torch.tensor([[_noun_at(scene, place) for place in PLACES] for scene in scenes])
        count = int((labels != IGNORED).sum())
        return {
            "images": self.pictures(scenes, step, part, parts),
            "labels": labels.to(self.renderer.device),
            "count": count,
        }
