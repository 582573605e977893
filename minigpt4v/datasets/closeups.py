"""Close-ups: one emoji, large, on a coloured ground: pictures with one answer, for classifiers (chapters 09 and 10)."""

from __future__ import annotations

import random

import torch

from minigpt4v.datasets.rendering import Renderer, draw_noise
from minigpt4v.datasets.scenes import GROUNDS, Scene, SceneObject, World, close_up_box

SPLITS = ("train", "seen", "style")
"""to learn from, augmented; fresh ones in the styles of training; the drawing style that training never shows."""

_AT_ONCE = 256  # pictures drawn in one go


def load_closeups(
    world: World, split: str = "train", count: int = 512, seed: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures of one thing each, and what it is.

    Noun, style, place near the middle, size (28 to 60 pixels), mirror image and ground are drawn at random; picture i
    depends on world, split, seed and i alone. Those of "train" are augmented as in all training (`Renderer`).

    Returns:
        images: float32 [count, 3, 64, 64] in 0..1.
        nouns: int64 [count], indices into `world.nouns`, of the `world.trained` first.

    Raises:
        ValueError: `split` is not in `SPLITS`.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    scenes = [_closeup(world, split, random.Random(f"close-up/{world.name}/{split}/{seed}/{i}")) for i in range(count)]
    noise = draw_noise(count, seed, things=1) if split == "train" else None
    renderer = Renderer(world)
    images = torch.empty(count, 3, 64, 64)
    for start in range(0, count, _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        images[some] = renderer(scenes[some], None if noise is None else noise[some])
    return images, torch.tensor([scene.objects[0].noun for scene in scenes], dtype=torch.int64)


def categories(world: World) -> tuple[tuple[str, ...], torch.Tensor]:
    """The names of the categories, and for each noun of the world the index of its own, int64 [nouns]."""
    names = world.categories
    return names, torch.tensor([names.index(noun.category) for noun in world.nouns], dtype=torch.int64)


def _closeup(world: World, split: str, rng: random.Random) -> Scene:
    noun = rng.randrange(world.trained)
    style = world.held_out_style if split == "style" else rng.choice(world.styles)
    x, y, size = close_up_box(rng)
    thing = SceneObject(noun, style, x, y, size, rng.random() < 0.5, world.colour(style, noun))
    visible = world.grounds(style, noun)
    return Scene(rng.choice([ground for ground in GROUNDS if ground in visible]), (thing,))
