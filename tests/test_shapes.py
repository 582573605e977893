"""Plain shapes: drawn as geometry says, and as good for scenes and questions as emoji."""

from collections import Counter

import numpy as np
import pytest
from scene_samples import asked, index, sample

from minigpt4v.datasets.colours import dominant_colour
from minigpt4v.datasets.emoji import load_nouns
from minigpt4v.datasets.scenes import GROUNDS, SPLITS
from minigpt4v.datasets.shapes import HELD_OUT_COLOUR, SHAPE_COLOURS, draw_shapes, load_shapes

WORLD = load_shapes()
TILES = draw_shapes("red")
AREAS = {  # of the square around the longer side
    "circle": np.pi / 4,
    "square": 1,
    "diamond": 0.7 / 2,
    "cross": 5 / 9,
    "oval": 0.65 * np.pi / 4,
    "ring": np.pi / 4 * (1 - 0.6**2),
    "hexagon": 3 * 3**0.5 / 2 / 4,
    "triangle": 3**0.5 / 4,
}


def mask(name: str) -> np.ndarray:
    return TILES[index(WORLD, name)][..., 3].astype(float) / 255


# -- drawings ---------------------------------------------------------------------------------------------------------


def test_tiles_are_like_those_of_emoji():
    assert TILES.shape == (12, 32, 32, 4)
    assert TILES.dtype == np.uint8
    assert set(WORLD.tiles) == set(SHAPE_COLOURS)
    assert all((tile[..., :3] == SHAPE_COLOURS["red"]).all() for tile in TILES)


@pytest.mark.parametrize("noun", WORLD.nouns, ids=lambda noun: noun.en)
def test_a_shape_fills_its_tile_up_to_a_margin_of_one_pixel(noun):
    rows, columns = np.nonzero(mask(noun.en) > 0.25)
    extent = [rows.min(), rows.max(), columns.min(), columns.max()]
    longer = max(np.ptp(rows), np.ptp(columns)) + 1
    assert longer == 30
    assert min(extent) >= 1
    assert max(extent) <= 30
    assert abs((rows.min() + rows.max()) / 2 - 15.5) <= 0.5  # in the middle, both ways
    border = np.ones((32, 32), bool)
    border[1:-1, 1:-1] = False
    assert mask(noun.en)[border].max() < 8 / 255


@pytest.mark.parametrize("name", AREAS)
def test_a_shape_has_the_area_that_geometry_gives_it(name):
    assert mask(name).sum() / 30**2 == pytest.approx(AREAS[name], abs=0.02)


@pytest.mark.parametrize(
    ("name", "symmetries"),
    [
        ("circle", "hvd"),
        ("square", "hvd"),
        ("cross", "hvd"),
        ("ring", "hvd"),
        ("diamond", "hv"),
        ("oval", "hv"),
        ("hexagon", "hv"),
        ("triangle", "h"),
        ("star", "h"),
        ("heart", "h"),
        ("crescent", "v"),
        ("arrow", "v"),
    ],
)
def test_shapes_have_their_symmetries_and_no_others(name, symmetries):
    picture = mask(name)
    mirrored = {"h": picture[:, ::-1], "v": picture[::-1], "d": picture.T}
    for symmetry, other in mirrored.items():
        assert (np.abs(picture - other).mean() < 0.02) == (symmetry in symmetries), symmetry


def test_shapes_stand_upright():
    rows = {name: mask(name).sum(1) for name in ("triangle", "star", "heart")}
    assert rows["triangle"][4] < rows["triangle"][25]  # a tip above, the base below
    assert rows["star"][3] < 5 < rows["star"][27]  # one tip above, two legs below
    assert rows["heart"][27] < 5 < rows["heart"][5]
    columns = {name: mask(name).sum(0) for name in ("arrow", "crescent")}
    assert columns["arrow"][29] < columns["arrow"][5] < columns["arrow"][18]  # a tip, a shaft, the back of the head
    assert columns["crescent"][4:10].sum() > columns["crescent"][22:28].sum()


def test_edges_are_smooth_and_no_two_shapes_are_alike():
    for i, tile in enumerate(TILES):
        partly = (tile[..., 3] > 0) & (tile[..., 3] < 255)
        assert partly.any() or WORLD.nouns[i].en in ("square", "cross", "arrow")
        for other in TILES[:i]:
            assert (np.abs(tile[..., 3].astype(float) - other[..., 3]) > 127).mean() > 0.04


@pytest.mark.parametrize("colour", SHAPE_COLOURS)
def test_a_colour_has_its_name_and_stands_out_from_every_other_ground(colour):
    assert {dominant_colour(tile) for tile in draw_shapes(colour)} == {colour}
    for noun in range(12):
        assert WORLD.colour(colour, noun) == colour
        assert WORLD.grounds(colour, noun) == set(GROUNDS) - {colour}


# -- the world --------------------------------------------------------------------------------------------------------


def test_eight_shapes_are_learnt_and_four_held_out():
    assert WORLD.trained == 8
    assert [noun.held_out for noun in WORLD.nouns] == [False] * 8 + [True] * 4
    assert WORLD.held_out_style == HELD_OUT_COLOUR
    assert set(WORLD.styles) == set(SHAPE_COLOURS) - {HELD_OUT_COLOUR}
    assert not {noun.id for noun in WORLD.nouns} & {noun.id for noun in load_nouns("all")}
    assert any(WORLD.is_held_out_pair(a, b) for a in range(8) for b in range(a))


def test_another_colour_can_be_held_out():
    world = load_shapes("red")
    assert world.held_out_style == "red"
    assert "purple" in world.styles
    assert load_shapes() is WORLD
    with pytest.raises(ValueError, match="unknown colour 'mauve': choose one of red, orange"):
        load_shapes("mauve")


@pytest.mark.parametrize("split", SPLITS)
def test_every_split_shows_what_it_promises(split):
    for scene in sample("shapes", split, 200):
        assert {t.style for t in scene.objects} <= ({HELD_OUT_COLOUR} if split == "style" else set(WORLD.styles))
        assert all((t.noun >= 8) == (split == "concepts") for t in scene.objects)
        assert WORLD.has_held_out_pair(scene) == (split == "pairs")
        assert all(t.colour == t.style for t in scene.objects)


def test_shapes_are_asked_about_as_emoji_are_but_for_their_kind():
    families = Counter(turn.family for _, conversation in asked("shapes", "train", 300) for turn in conversation)
    kinds = {"category", "how_many_category", "same_category"}
    assert not kinds & set(families)
    assert min(families.values()) > 50
    assert len(families) == 10
    answers = [c[-1].answer for _, c in asked("shapes", "train", 300) if c[-1].family == "what"]
    assert {"A heart.", "一颗爱心。", "A cross.", "一个十字。"} <= set(answers)
