"""Colour words against `colorsys`, against what people call colours, and against a second way of measuring."""

import colorsys
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import XKCD_COLORS, to_rgb
from scene_samples import world_called

from minigpt4v.datasets.colours import COLOURS, dominant_colour, hsv, name_pixels
from minigpt4v.datasets.looking import look

channels = st.integers(0, 255)


def name(rgb) -> str | None:
    found = int(name_pixels(np.asarray(rgb)))
    return COLOURS[found] if found >= 0 else None


def tile(*areas: tuple[tuple[int, int, int, int], int]) -> np.ndarray:
    """A 32x32 drawing whose rows are filled from the top: (RGBA, rows) for each area."""
    rows = [np.broadcast_to(np.array(rgba, np.uint8), (count, 32, 4)) for rgba, count in areas]
    return np.concatenate(rows)


@given(st.tuples(channels, channels, channels))
def test_hue_saturation_and_value_are_those_of_colorsys(rgb):
    rgb = np.array(rgb) / 255
    hue, saturation, value = hsv(rgb)
    assert (hue / 360, saturation, value) == pytest.approx(colorsys.rgb_to_hsv(*rgb), abs=1e-12)


def survey() -> dict[str, tuple[str, tuple[float, float, float]]]:
    """Names that thousands of people gave to colours (the xkcd survey), where they hold one of our words."""
    found = {}
    for full_name, code in XKCD_COLORS.items():
        words = [w for w in COLOURS if re.search(rf"\b{w}\b", full_name.replace("gray", "grey"))]
        if len(words) == 1:
            found[full_name.removeprefix("xkcd:")] = (words[0], to_rgb(code))
    return found


@pytest.mark.parametrize("word", COLOURS)
def test_plain_colour_words_mean_what_people_mean_by_them(word):
    assert name(survey()[word][1]) == word


def test_people_agree_with_most_names():
    named = [(word, name(rgb)) for word, rgb in survey().values() if name(rgb)]
    assert len(named) > 200
    assert np.mean([word == ours for word, ours in named]) > 0.9


# Each was called by a word that most people would not use: the pixels of the drawings that showed it.
ARGUED_ABOUT = {
    "a tan egg": (242, 178, 97),
    "a brown horse": (184, 133, 92),
    "a golden key": (237, 169, 83),
    "a crimson boot": (200, 10, 76),
    "a salmon ticket": (224, 99, 85),
    "a peach": (255, 136, 107),
    "an indigo umbrella": (92, 107, 192),
    "a green-yellow pear": (205, 214, 77),
    "a brown vase": (186, 124, 41),
}


@pytest.mark.parametrize("thing", ARGUED_ABOUT)
def test_colours_that_people_argue_about_have_no_name(thing):
    assert name(np.array(ARGUED_ABOUT[thing]) / 255) is None


def test_names_keep_the_shape_of_the_picture():
    assert name_pixels(np.zeros((5, 4, 3))).shape == (5, 4)
    assert (name_pixels(np.zeros((5, 4, 3))) == COLOURS.index("black")).all()


RED, BLUE, CLEAR = (220, 20, 20, 255), (20, 90, 220, 255), (20, 90, 220, 100)


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ([(RED, 32)], "red"),
        ([(RED, 17), (BLUE, 15)], "red"),
        ([(RED, 15), (BLUE, 17)], "blue"),
        ([(RED, 10), (CLEAR, 22)], "red"),  # what is not opaque does not count
        ([(RED, 15), ((92, 107, 192, 255), 17)], None),  # indigo has no name, but counts
        ([(CLEAR, 32)], None),
    ],
)
def test_the_word_for_a_drawing_fits_half_of_it(areas, expected):
    assert dominant_colour(tile(*areas)) == expected


def test_the_share_that_a_word_must_fit_can_be_chosen():
    picture = tile((RED, 20), (BLUE, 12))
    assert dominant_colour(picture, share=0.6) == "red"
    assert dominant_colour(picture, share=0.7) is None


@pytest.mark.parametrize("world", ["all", "shapes"])
def test_two_ways_of_measuring_agree_on_every_drawing(world):
    world = world_called(world)
    coloured = [(style, i) for style in world.tiles for i in range(len(world.nouns)) if world.colour(style, i)]
    assert len(coloured) > 90
    wrong = [(style, world.nouns[i].en) for style, i in coloured if look(world, style, i)[0] != world.colour(style, i)]
    assert wrong == []
