"""Figures of heads: every cell has the colour and the number of where it comes from."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from einops import rearrange
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from minigpt4v import plot

WORDS = ["a", "b", "c", "d"]
ORIGIN = rearrange(np.repeat(np.arange(8), 3), "(t h d) -> t (h d)", t=4, h=2)  # token * 2 + head
RIGHT = rearrange(ORIGIN, "t (h d) -> h t d", h=2)


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def test_colour_is_the_token_and_the_number_is_the_head() -> None:
    figure = plot.heads_and_tokens(ORIGIN, {"right": RIGHT, "wrong": ORIGIN.reshape(2, 4, 3)}, WORDS, alt="heads")
    tokens, *panels = figure.axes
    assert figure.alt_text == "heads"
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "the tokens",
        *("right\nhead 0", "head 1", "wrong\nhead 0", "head 1"),
    ]
    assert len(tokens.patches) == 24
    for axes, origins in zip(panels, [*RIGHT, *ORIGIN.reshape(2, 4, 3)], strict=True):
        assert [text.get_text() for text in axes.texts] == [str(cell % 2) for cell in origins.flat]
        assert [cell.get_facecolor() for cell in axes.patches] == [
            to_rgba(plot.PALETTE[cell // 2]) for cell in origins.flat
        ]
        assert len({cell.get_hatch() for cell in axes.patches}) == len({cell % 2 for cell in origins.flat})
        assert [label.get_text() for label in axes.get_yticklabels()] == WORDS


@pytest.mark.parametrize(
    ("tokens", "tables", "words", "message"),
    [
        (ORIGIN, {}, WORDS, "one or more"),
        (ORIGIN, {"right": RIGHT, "other": RIGHT[:1]}, WORDS, "one shape"),
        (ORIGIN, {"flat": ORIGIN}, WORDS, "one shape"),
        (ORIGIN[:3], {"right": RIGHT}, WORDS, r"give tokens \[4, 6\] and 4 words"),
        (ORIGIN, {"right": RIGHT}, WORDS[:3], "3 words"),
        (np.zeros((7, 2), int), {"long": np.zeros((2, 7, 1), int)}, list("abcdefg"), "7 tokens"),
        (np.zeros((2, 5), int), {"many": np.zeros((5, 2, 1), int)}, ["a", "b"], "5 heads"),
    ],
)
def test_what_does_not_fit(tokens: np.ndarray, tables: dict, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plot.heads_and_tokens(tokens, tables, words, alt="heads")


def test_maps_share_a_scale_and_have_their_names_and_frames() -> None:
    maps = {"one": np.eye(3), "two": np.full((3, 3), 1 / 3), "three": np.tri(3) / 3}
    figure = plot.head_maps(maps, ["x", "y", "z"], alt="maps", columns=2, framed={"two": [(0, 2)]})
    assert figure.alt_text == "maps"
    assert [axes.get_title(loc="left") for axes in figure.axes] == list(maps)
    for axes, weights in zip(figure.axes, maps.values(), strict=True):
        (image,) = axes.images
        assert np.array_equal(image.get_array(), weights)
        assert image.get_clim() == (0, 1)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["x", "y", "z"]
    (frame,) = figure.axes[1].patches
    assert isinstance(frame, Rectangle)
    assert frame.get_xy() == (1.5, -0.5)
    assert not figure.axes[0].patches


@pytest.mark.parametrize("weights", [{}, {"line": np.ones(3)}])
def test_what_is_no_map(weights: dict) -> None:
    with pytest.raises(ValueError, match="at least one"):
        plot.head_maps(weights, alt="maps")
