"""The six tables of attention: the numbers in them are those of the library, and nothing is drawn that does not fit."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from PIL import Image

from minigpt4v import plot
from minigpt4v.attention import scaled_dot_product_attention

WORDS = ["the", "dog", "saw", "猫"]
CHANCE = np.random.default_rng(0)
QUERY, KEY, VALUE = CHANCE.normal(size=(4, 2)), CHANCE.normal(size=(4, 2)), CHANCE.normal(size=(4, 3))
CAUSAL = np.tri(4, dtype=bool)


@pytest.fixture(autouse=True)
def _close_figures() -> Iterator[None]:
    yield
    plt.close("all")


def draw(**changes: Any) -> plot.CourseFigure:
    inputs = {"query": QUERY, "key": KEY, "value": VALUE, "words": WORDS, "mask": CAUSAL} | changes
    return plot.attention_steps(**inputs)


def table(axes: Axes) -> np.ndarray:
    return np.asarray(axes.images[0].get_array())


def frames(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle) and not patch.get_fill()]


def test_the_tables_are_those_of_the_library() -> None:
    scores, scaled, masked, weights, values, output = map(table, draw().axes)
    expected, expected_weights = scaled_dot_product_attention(
        *map(torch.from_numpy, (QUERY, KEY, VALUE)), torch.from_numpy(CAUSAL)
    )
    np.testing.assert_allclose(scores, QUERY @ KEY.T)
    np.testing.assert_allclose(scaled * 2**0.5, scores)
    np.testing.assert_allclose(masked, scaled)  # its hidden cells are covered
    np.testing.assert_allclose(weights, expected_weights)
    np.testing.assert_allclose(values, VALUE)
    np.testing.assert_allclose(output, expected)


def test_without_a_mask_all_see_all() -> None:
    expected, _ = scaled_dot_product_attention(*map(torch.from_numpy, (QUERY, KEY, VALUE)))
    figure = draw(mask=None)
    np.testing.assert_allclose(table(figure.axes[5]), expected)
    assert not figure.axes[2].patches


def test_hidden_scores_are_covered_and_called_minus_infinity() -> None:
    axes = draw().axes[2]
    hidden = {(round(patch.get_y() + 0.5), round(patch.get_x() + 0.5)) for patch in axes.patches}
    assert hidden == {(row, column) for row in range(4) for column in range(4) if column > row}
    assert sum(text.get_text() == "−∞" for text in axes.texts) == 6


def test_the_numbers_are_those_of_the_tables() -> None:
    scores = np.array([[4, -2.0], [0.704, -0.25]])
    figure = plot.attention_steps(scores, np.eye(2), np.array([[10.0], [-1.26]]), ["a", "b"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["4", "−2", ".70", "−.25"]
    assert [text.get_text() for text in figure.axes[4].texts if text.get_text() != "×"] == ["10", "−1.3"]


def test_the_same_colour_means_the_same_score_before_and_after_scaling() -> None:
    limits = {axes.images[0].get_clim() for axes in draw().axes[:3]}
    assert len(limits) == 1
    low, high = limits.pop()
    assert -low == high == np.abs(QUERY @ KEY.T).max()


def test_the_row_to_follow_is_framed_in_every_table_of_rows() -> None:
    figure = draw(focus=2)
    framed = [bool(frames(axes)) for axes in figure.axes]
    assert framed == [True, True, True, True, False, True]
    assert {frames(axes)[0].get_y() for axes, has in zip(figure.axes, framed, strict=True) if has} == {1.5}
    assert not any(frames(axes) for axes in draw().axes)


def test_words_and_features_are_written_beside_the_tables() -> None:
    figure = draw(features=["a", "b", "feature"])
    for axes in figure.axes:
        assert [label.get_text() for label in axes.get_yticklabels()] == WORDS
    for axes in figure.axes[:4]:
        assert [label.get_text() for label in axes.get_xticklabels()] == WORDS
    for axes in figure.axes[4:]:
        assert [label.get_text() for label in axes.get_xticklabels()] == ["a", "b", "feature"]
    assert list(draw().axes[4].get_xticks()) == []


@pytest.mark.parametrize("count", [1, 7, 12])
def test_nothing_is_cut_off(count: int) -> None:
    numbers = np.random.default_rng(1).normal(size=(count, 2))
    words = ["Donaudampfschiff", *["word"] * (count - 1)]
    figure = plot.attention_steps(numbers, numbers, numbers, words, focus=0, features=["long feature", "b"])
    buffer = io.BytesIO()
    figure.savefig(buffer)
    drawn = np.asarray(Image.open(buffer).convert("RGB"))
    edge = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])
    assert (edge == edge[0]).all()


def test_description() -> None:
    assert "the dog saw 猫" in draw().alt_text
    assert draw(alt="my words").alt_text == "my words"


def test_all_scores_zero() -> None:
    figure = plot.attention_steps(np.zeros((3, 2)), np.zeros((3, 2)), np.zeros((3, 1)), ["a", "b", "c"])
    np.testing.assert_allclose(table(figure.axes[3]), np.full((3, 3), 1 / 3))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"words": []}, "0 words"),
        ({"words": ["a"] * 13}, "13 words"),
        ({"words": ["a", "b"]}, r"\[2, d\]"),
        ({"key": CHANCE.normal(size=(4, 3))}, r"\[4, 3\]"),
        ({"value": VALUE[0]}, r"\[4, v\]"),
        ({"mask": np.tri(4)}, "float64"),
        ({"mask": np.tri(3, dtype=bool)}, r"\[3, 3\]"),
        ({"mask": np.tri(4, k=-1, dtype=bool)}, "'the' may look nowhere"),
        ({"features": ["a"]}, "1 names for the 3 columns"),
        ({"focus": 4}, "no row 4"),
        ({"focus": -1}, "no row -1"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(**changes)
