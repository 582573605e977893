"""Scenes and conversations for the tests of the data sets, made once in each process."""

import random
from functools import lru_cache

from minigpt4v.datasets.questions import Conversation, ask_all
from minigpt4v.datasets.scenes import Scene, SceneObject, World, load_world, scenes_of
from minigpt4v.datasets.shapes import load_shapes

WORLDS = ("core16", "core64", "all", "shapes")


def world_called(name: str) -> World:
    return load_shapes() if name == "shapes" else load_world(name)


@lru_cache
def sample(world: str, split: str, count: int) -> tuple[Scene, ...]:
    return tuple(scenes_of(world_called(world), split, "tests", count))


@lru_cache
def asked(world: str, split: str, count: int) -> tuple[tuple[Scene, Conversation], ...]:
    """Every scene of a sample with one conversation of every family each."""
    scenes = sample(world, split, count)
    return tuple(
        (scene, conversation)
        for i, scene in enumerate(scenes)
        for conversation in ask_all(world_called(world), scene, random.Random(i))
    )


def index(world: World, name: str) -> int:
    """The index of a noun by its English name."""
    return [noun.en for noun in world.nouns].index(name)


def thing(world: World, name: str, x: int, y: int, size: int, style: str = "noto", **more) -> SceneObject:
    noun = index(world, name)
    return SceneObject(noun, style, x, y, size, colour=world.colour(style, noun), **more)
