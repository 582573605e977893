"""Figures of positions: hands stand where the formulas say, scores are those of the turned pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from einops import rearrange
from matplotlib.patches import FancyArrowPatch, Rectangle, Wedge

from minigpt4v import plot
from minigpt4v.position import apply_rotary, sinusoidal_positions, wave_frequencies


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def hands(axes) -> list[np.ndarray]:
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    return [np.asarray(arrow._posA_posB[1]) for arrow in arrows]


def wedges(axes) -> list[Wedge]:
    return [patch for patch in axes.patches if isinstance(patch, Wedge)]


def test_hands_of_clocks_are_the_sinusoidal_positions():
    places = [0, 3, 9]
    figure = plot.position_clocks(places, wave_frequencies(6, 50))
    table = rearrange(sinusoidal_positions(10, 6, 50)[places], "t (i two) -> (i t) two", two=2)
    assert len(figure.axes) == 9
    for axes, tip in zip(figure.axes, table, strict=True):
        np.testing.assert_allclose(hands(axes), [tip.numpy()], atol=1e-6)
    assert [axes.get_title() for axes in figure.axes[:3]] == ["position 0", "position 3", "position 9"]
    assert figure.axes[0].get_ylabel() == "one turn in\n6.28 positions"
    assert figure.alt_text == "3 hands of clocks, from fast to slow, at positions 0, 3, 9"


def test_the_way_behind_a_hand_ends_at_the_hand():
    (start, half, round_) = plot.position_clocks([0, 1, 5], [math.pi / 2]).axes
    assert wedges(start) == []
    assert (wedges(half)[0].theta1, wedges(half)[0].theta2) == pytest.approx((0, 90))
    assert wedges(round_)[0].theta2 - wedges(round_)[0].theta1 == pytest.approx(360)


def test_rotary_pairs_are_turned_and_scored_as_the_library_does():
    query, key, places = [0.6, -0.3], [-0.2, 1.0], [(2, 0), (9, 7), (3, 8)]
    figure = plot.rotary_pair(query, key, places, 0.7, alt="pairs")
    assert figure.alt_text == "pairs"
    longest = math.hypot(*key)
    for axes, (here, there) in zip(figure.axes, places, strict=True):
        q = apply_rotary(torch.tensor(query), torch.tensor([0.7 * here]))
        k = apply_rotary(torch.tensor(key), torch.tensor([0.7 * there]))
        drawn = hands(axes)
        np.testing.assert_allclose(drawn, np.array([query, q.tolist(), key, k.tolist()]) / longest, atol=1e-6)
        assert axes.get_xlabel() == f"distance {here - there}\nscore {q @ k:.2f}".replace("-", "−")
        (gap,) = wedges(axes)
        between = math.degrees(math.acos(q @ k / q.norm() / k.norm()))
        assert gap.theta2 - gap.theta1 == pytest.approx(between, abs=1e-3)


def test_many_rotary_pairs_stand_in_rows_that_fit_a_page():
    figure = plot.rotary_pair([1, 0], [0, 1], [(place, 0) for place in range(5)], 0.4)
    assert len(figure.axes) == 5
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 3)
    assert figure.get_size_inches()[0] < 7


def test_the_patch_is_framed_and_its_neighbours_are_numbered():
    table = np.arange(12.0).reshape(3, 4)
    figure = plot.patch_similarity({"one\nline": table, "two": -table}, (1, 2))
    first, second, _ = figure.axes
    assert [text.get_text() for text in first.texts] == ["7.00", "10.00"]
    assert [text.get_position() for text in second.texts] == [(3, 1), (2, 2)]
    (frame,) = [patch for patch in first.patches if isinstance(patch, Rectangle)]
    assert frame.get_xy() == (1.5, 0.5)
    assert first.images[0].get_clim() == second.images[0].get_clim() == (-11, 11)
    assert figure.alt_text == "How alike patch (1, 2) is to all patches of a 3x4 grid: one line, two"
    small, _ = plot.patch_similarity({"small": table / 24 - 0.4}, (1, 2)).axes
    assert [text.get_text() for text in small.texts] == ["-.11", ".02"]
    corner, _ = plot.patch_similarity({"corner": table}, (2, 3)).axes
    assert list(corner.texts) == []


def test_what_cannot_be_drawn_is_named():
    for places, frequencies in (([], [1.0]), ([1], []), ([1], [0.5, 0.0])):
        with pytest.raises(ValueError, match="at least one of each, all above zero"):
            plot.position_clocks(places, frequencies)
    for query, key, places in (([1, 2, 3], [1, 2, 3], [(0, 0)]), ([0, 0], [1, 2], [(0, 0)]), ([1, 2], [1, 2], [])):
        with pytest.raises(ValueError, match="two numbers each"):
            plot.rotary_pair(query, key, places, 1.0)
    for maps, patch in (
        ({}, (0, 0)),
        ({"a": np.ones((2, 2))}, (2, 0)),
        ({"a": np.ones((2, 2)), "b": np.ones((2, 3))}, (0, 0)),
    ):
        with pytest.raises(ValueError, match="grids of one shape"):
            plot.patch_similarity(maps, patch)
