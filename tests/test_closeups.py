"""closeups.py: what is drawn is what is said, splits keep apart, and a picture depends on its number alone."""

import random

import pytest
import torch

from minigpt4v.datasets import closeups
from minigpt4v.datasets.closeups import categories, load_closeups
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world

WORLD = load_world("core16")


@pytest.mark.parametrize("split", closeups.SPLITS)
def test_pictures_and_nouns(split):
    images, nouns = load_closeups(WORLD, split, 40, seed=3)
    assert images.shape == (40, 3, 64, 64)
    assert images.dtype == torch.float32
    assert 0 <= images.min() < images.max() <= 1
    assert nouns.dtype == torch.int64
    assert set(nouns.tolist()) <= set(range(WORLD.trained))
    assert len(nouns.unique()) > 8


@pytest.mark.parametrize("split", ["seen", "style"])
def test_the_noun_is_what_is_drawn(split, monkeypatch):
    """Each picture is that of a scene with the noun, in the styles of its split, alone and near the middle."""
    scenes = []

    class Watching(Renderer):
        def __call__(self, some, noise=None):
            assert noise is None
            scenes.extend(some)
            return super().__call__(some, noise)

    monkeypatch.setattr(closeups, "Renderer", Watching)
    images, nouns = load_closeups(WORLD, split, 40, seed=1)
    styles = {"seen": set(WORLD.styles), "style": {WORLD.held_out_style}}[split]
    assert {scene.objects[0].style for scene in scenes} == styles
    for image, noun, scene in zip(images, nouns.tolist(), scenes, strict=True):
        (thing,) = scene.objects
        assert (thing.noun, thing.place) == (noun, "middle")
        assert thing.size >= 28
        assert scene.ground in WORLD.grounds(thing.style, noun)
        torch.testing.assert_close(image, Renderer(WORLD)([scene])[0])


def test_training_pictures_are_augmented(monkeypatch):
    augmented, _ = load_closeups(WORLD, "train", 8, seed=0)
    monkeypatch.setattr(closeups, "draw_noise", lambda count, seed, things: torch.zeros(count, 1 + things, 7))
    plain, _ = load_closeups(WORLD, "train", 8, seed=0)
    difference = (augmented - plain).abs().mean(dim=(1, 2, 3))
    assert difference.min() > 0.002
    assert difference.max() < 0.3


@pytest.mark.parametrize("split", closeups.SPLITS)
def test_a_picture_depends_on_its_number_alone(split, monkeypatch):
    images, nouns = load_closeups(WORLD, split, 10, seed=5)
    random.seed(1)
    torch.rand(3)
    monkeypatch.setattr(closeups, "_AT_ONCE", 3)
    fewer, first_nouns = load_closeups(WORLD, split, 7, seed=5)
    torch.testing.assert_close(fewer, images[:7], rtol=0, atol=1e-6)
    assert first_nouns.tolist() == nouns[:7].tolist()


def test_splits_and_seeds_show_other_pictures():
    shown = [load_closeups(WORLD, split, 6, seed)[0] for split in closeups.SPLITS for seed in (0, 1)]
    assert len({picture.numpy().tobytes() for images in shown for picture in images}) == 36
    nouns = {tuple(load_closeups(WORLD, split, 12, seed)[1].tolist()) for split in closeups.SPLITS for seed in (0, 1)}
    assert len(nouns) == 6  # no split shows another's scenes, drawn differently


def test_every_training_noun_can_be_drawn_in_every_style():
    for name in ("core16", "core64", "all"):
        world = load_world(name)
        styles = (*world.styles, world.held_out_style)
        assert all(world.grounds(style, noun) for style in styles for noun in range(world.trained))


def test_an_unknown_split_is_named():
    with pytest.raises(ValueError, match="unknown split 'test': choose one of train, seen, style"):
        load_closeups(WORLD, "test", 4, seed=0)


def test_categories_are_those_of_the_nouns():
    names, index = categories(WORLD)
    assert set(names) == {noun.category for noun in WORLD.nouns}
    assert index.dtype == torch.int64
    assert [names[i] for i in index] == [noun.category for noun in WORLD.nouns]
