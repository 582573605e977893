"""Scenes keep every promise: what each split may show, where things stand, and that all of it can be seen and named."""

import random
from collections import Counter
from dataclasses import replace
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_samples import WORLDS, index, sample, thing, world_called

from minigpt4v.datasets import names
from minigpt4v.datasets.emoji import CATEGORIES, HELD_OUT_STYLE, STYLES, held_out_nouns, load_nouns
from minigpt4v.datasets.looking import REGIONS, box, fits, look, overlap, places
from minigpt4v.datasets.names import may_be_called
from minigpt4v.datasets.scenes import (
    GROUNDS,
    IMAGE_SIZE,
    PLACES,
    SPLITS,
    Scene,
    SceneObject,
    load_world,
    random_scene,
    scenes_of,
)

COUNT = 250
EMOJI_WORLDS = ("core16", "core64", "all")


@pytest.fixture(params=EMOJI_WORLDS)
def world(request):
    return load_world(request.param)


# -- worlds -----------------------------------------------------------------------------------------------------------


def test_the_worlds_hold_the_nouns_that_they_promise():
    assert [load_world(name).trained for name in ("core16", "core64")] == [16, 64]
    assert set(load_world("core16").nouns[:16]) < set(load_world("core64").nouns)
    for name in ("core64", "all"):
        nouns, trained = load_world(name).nouns, load_world(name).trained
        assert (nouns[:trained], nouns[trained:]) == (load_nouns(name), held_out_nouns(name))
    assert {noun.id for noun in load_nouns("core64")} < {noun.id for noun in load_nouns("all")}


def test_the_smallest_world_is_spread_over_the_categories():
    world = load_world("core16")
    counts = Counter(noun.category for noun in world.nouns[:16])
    assert set(counts) == set(CATEGORIES)
    assert min(counts.values()) >= 3


@pytest.mark.parametrize("name", WORLDS)
def test_names_are_unique_and_tiles_are_theirs(name):
    world = world_called(name)
    for language in ("id", "en", "zh"):
        assert len({getattr(noun, language) for noun in world.nouns}) == len(world.nouns)
    assert set(world.tiles) == {*world.styles, world.held_out_style}
    assert all(tiles.shape == (len(world.nouns), 32, 32, 4) for tiles in world.tiles.values())
    assert all(noun.held_out == (i >= world.trained) for i, noun in enumerate(world.nouns))


def test_a_training_style_can_be_left_out_in_turn():
    world = load_world("core16", "noto")
    assert set(world.styles) == set(STYLES) - {"noto"}
    assert HELD_OUT_STYLE not in world.tiles  # settings are never chosen on it
    assert {t.style for s in scenes_of(world, "style", 0, 50) for t in s.objects} == {"noto"}
    assert "noto" not in {t.style for s in scenes_of(world, "seen", 0, 50) for t in s.objects}


def test_a_world_is_read_once():
    assert load_world("core16") is load_world("core16")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("core65",), "unknown world 'core65': choose one of core16, core64, all"),
        (("all", "noot"), "unknown style 'noot': choose one of noto, blob, fluent, emojitwo, twemoji"),
    ],
)
def test_an_unknown_world_or_style_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_world(*arguments)


# -- pairs ------------------------------------------------------------------------------------------------------------


def test_a_tenth_of_the_pairs_is_held_out_the_same_in_every_world():
    small, large = load_world("core16"), load_world("all")
    pairs = list(combinations(range(large.trained), 2))
    assert sum(large.is_held_out_pair(a, b) for a, b in pairs) / len(pairs) == pytest.approx(0.1, abs=0.005)
    assert all(large.is_held_out_pair(a, b) == large.is_held_out_pair(b, a) for a, b in pairs[:2000])
    ids = {noun.id: i for i, noun in enumerate(large.nouns)}
    for a, b in combinations(range(small.trained), 2):
        assert small.is_held_out_pair(a, b) == large.is_held_out_pair(ids[small.nouns[a].id], ids[small.nouns[b].id])


def test_a_scene_has_a_held_out_pair_wherever_the_two_stand():
    world = load_world("core64")
    a, b = next(pair for pair in combinations(range(64), 2) if world.is_held_out_pair(*pair))
    c = next(c for c in range(64) if not world.is_held_out_pair(a, c) and not world.is_held_out_pair(b, c))
    things = [SceneObject(noun, "noto", 0, 0, 20) for noun in (a, c, b)]
    assert world.has_held_out_pair(Scene("white", tuple(things)))
    assert not world.has_held_out_pair(Scene("white", tuple(things[:2])))
    assert not world.has_held_out_pair(Scene("white"))


def test_names_that_fit_two_things_are_known():
    world = load_world("all")
    nouns = {noun.en: noun for noun in world.nouns}
    for special, general in [
        ("owl", "bird"),
        ("pine tree", "tree"),
        ("taxi", "car"),
        ("plate of sushi", "plate"),
        ("fishing rod", "fish"),
        ("soccer ball", "football"),
    ]:
        assert may_be_called(nouns[special], nouns[general]), (special, general)
        assert not may_be_called(nouns[general], nouns[special]), (general, special)
        a, b = index(world, special), index(world, general)
        assert b in world.confusable(a)
        assert a in world.confusable(b)
    assert not may_be_called(nouns["owl"], nouns["owl"])
    assert not may_be_called(nouns["pineapple"], nouns["apple"])  # a word, not a part of one


def test_the_list_of_names_that_fit_more_has_no_slip_of_the_pen():
    known = {noun.en for noun in load_world("all").nouns}
    assert {name for general, specials in names._ALSO_FITS.items() for name in (general, *specials)} <= known


def test_no_doubtful_name_that_the_unicode_keywords_show_is_missing(world):
    doubtful = [
        (a, b) for a, name in enumerate(world.nouns) for b, other in enumerate(world.nouns) if fits(name, other)
    ]
    assert [(world.nouns[a].en, world.nouns[b].en) for a, b in doubtful if b not in world.confusable(a)] == []


# -- splits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_shows_what_it_promises_and_nothing_else(world, split):
    for scene in sample(world.name, split, COUNT):
        nouns = [t.noun for t in scene.objects]
        assert len(set(nouns)) == len(nouns)
        assert all((noun >= world.trained) == (split == "concepts") for noun in nouns)
        assert world.has_held_out_pair(scene) == (split == "pairs")
        assert {t.style for t in scene.objects} <= ({HELD_OUT_STYLE} if split == "style" else set(world.styles))
        assert not any(b in world.confusable(a) for a, b in combinations(nouns, 2))


def test_everything_that_may_be_shown_is_shown(world):
    scenes = scenes_of(world, "train", "all of it", 2000)
    things = [t for scene in scenes for t in scene.objects]
    assert {t.noun for t in things} == set(range(world.trained))
    assert {t.style for t in things} == set(world.styles)
    assert {t.place for t in things} == set(PLACES)
    assert {scene.ground for scene in scenes} == set(GROUNDS)
    counts = Counter(len(scene.objects) for scene in scenes)
    assert all(counts[number] / 2000 == pytest.approx(0.25, abs=0.04) for number in (1, 2, 3, 4))
    assert sum(t.flipped for t in things) / len(things) == pytest.approx(0.5, abs=0.03)
    assert len({(t.x, t.y) for t in things}) > 300
    in_quarters = [t for t in things if t.place != "middle"]
    assert {t.size for t in in_quarters} == set(range(18, 31))
    for offset in (lambda t: t.x % 32, lambda t: t.y % 32):  # from one edge of the quarter to the other
        assert min(offset(t) for t in in_quarters) == 0
        assert max(offset(t) + t.size for t in in_quarters) == 32
    alone = [scene.objects[0] for scene in scenes if len(scene.objects) == 1]
    assert sum(t.place == "middle" for t in alone) / len(alone) == pytest.approx(0.5, abs=0.07)
    close_up = [t for t in alone if t.place == "middle"]
    assert {t.size for t in close_up} == set(range(28, 61))
    for offsets in (
        [t.x - (IMAGE_SIZE - t.size) // 2 for t in close_up],
        [t.y - (IMAGE_SIZE - t.size) // 2 for t in close_up],
    ):
        assert set(offsets) == set(range(-3, 4))  # near the middle, on every side of it


def test_an_unknown_split_is_refused(world):
    with pytest.raises(ValueError, match="unknown split 'test': choose one of train, seen, style, pairs, concepts"):
        random_scene(world, random.Random(0), "test")


# -- streams of scenes ------------------------------------------------------------------------------------------------


def test_a_scene_depends_on_world_split_seed_and_number_alone():
    world = load_world("core64")
    scenes = scenes_of(world, "seen", 3, 20)
    random.random()  # the global source of chance plays no part
    assert scenes_of(world, "seen", 3, 20) == scenes
    assert scenes_of(world, "seen", 3, 7) == scenes[:7]


def test_other_splits_seeds_and_worlds_give_other_scenes():
    streams = [
        scenes_of(load_world(name), split, seed, 200)
        for name in ("core64", "core16")
        for split in ("train", "seen")
        for seed in (0, 1, "one")
    ]
    for a, b in combinations(streams, 2):
        assert not set(a) & set(b)


# -- a single scene ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_things_stand_apart_inside_the_picture_and_their_places_are_beyond_doubt(world, split):
    for scene in sample(world.name, split, COUNT):
        for t in scene.objects:
            assert {type(t.x), type(t.y), type(t.size)} == {int}
            assert places(t) == [t.place]  # two definitions: of the whole box, and of its centre
            assert scene.at(t.place) is t
        assert not any(overlap(box(a), box(b)) for a, b in combinations(scene.objects, 2))


@pytest.mark.parametrize("split", SPLITS)
def test_every_thing_can_be_seen_on_its_ground_and_has_another_colour(world, split):
    for scene in sample(world.name, split, COUNT):
        for t in scene.objects:
            assert t.colour == world.colour(t.style, t.noun)
            assert t.colour != scene.ground
            assert scene.ground in look(world, t.style, t.noun)[1]


@pytest.mark.parametrize("name", WORLDS)
def test_any_four_drawings_leave_a_ground_on_which_all_can_be_seen(name):
    world = world_called(name)
    hidden = {
        frozenset(GROUNDS) - world.grounds(style, noun) for style in world.tiles for noun in range(len(world.nouns))
    }
    largest = [a for a in hidden if not any(a < b for b in hidden)]
    assert max(len(frozenset.union(*chosen)) for chosen in combinations(largest * 2, min(4, len(largest)))) < len(
        GROUNDS
    )


def test_a_drawing_of_the_colour_of_the_ground_does_not_stand_out():
    world = load_world("core64")
    for name, style, ground in [
        ("star", "noto", "yellow"),
        ("moon", "twemoji", "yellow"),
        ("elephant", "twemoji", "grey"),
    ]:
        assert ground not in world.grounds(style, index(world, name)), name
        assert "white" in world.grounds(style, index(world, name)), name


def test_the_size_of_a_drawing_is_what_can_be_seen_of_it():
    world = load_world("all")
    pizza, comet = thing(world, "pizza", 0, 0, 30), thing(world, "comet", 0, 0, 30)
    assert world.drawn_size(pizza) == pytest.approx(30 * 30 / 32)
    assert world.drawn_size(comet) < 25  # its tail fades
    assert world.drawn_size(replace(pizza, size=15)) == world.drawn_size(pizza) / 2


# -- records ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 64), st.data())
def test_a_box_within_the_picture_has_a_place_near_its_centre(size, data):
    x, y = (data.draw(st.integers(0, IMAGE_SIZE - size)) for _ in range(2))
    t = SceneObject(0, "noto", x, y, size)
    assert t.centre == (x + size / 2, y + size / 2)
    left, top, right, bottom = REGIONS[t.place]
    if t.place == "middle":
        assert max(abs(t.centre[0] - 32), abs(t.centre[1] - 32)) < 8
    else:
        assert left <= t.centre[0] <= right
        assert top <= t.centre[1] <= bottom


@pytest.mark.parametrize(
    ("x", "y", "size"), [(-1, 0, 20), (0, -1, 20), (45, 0, 20), (0, 45, 20), (0, 0, 65), (10, 10, 0)]
)
def test_a_box_that_leaves_the_picture_is_refused(x, y, size):
    with pytest.raises(ValueError, match=f"a box of side {size} at x={x}, y={y} leaves the picture: .*64x64"):
        SceneObject(0, "noto", x, y, size)


def test_an_unknown_ground_is_refused():
    with pytest.raises(ValueError, match="unknown ground colour 'mauve': choose one of white, grey, black"):
        Scene("mauve")


def test_an_empty_place_holds_nothing():
    scene = Scene("white", (SceneObject(0, "noto", 0, 0, 20),))
    assert scene.at("top left") is scene.objects[0]
    assert scene.at("bottom right") is None
