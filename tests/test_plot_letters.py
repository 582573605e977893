"""letter_map draws every character at its point."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minigpt4v import plot


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_every_character_stands_at_its_point_inside_the_frame():
    points = np.array([[0.0, 0.0], [1.0, 2.0], [-3.0, 1.0], [0.5, 0.5]])
    figure = plot.letter_map(points, ["a", "b", " ", "\n"], title="letters")
    axes = figure.axes[0]
    drawn = {text.get_text(): text.get_position() for text in axes.texts}
    assert drawn == {"a": (0, 0), "b": (1, 2), "␣": (-3, 1), "↵": (0.5, 0.5)}
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    assert left < -3 < 1 < right
    assert bottom < 0 < 2 < top


def test_no_character_covers_another():
    points = np.random.default_rng(0).normal(size=(40, 2)) * (3, 1)
    figure = plot.letter_map(points, list("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMN"))
    figure.canvas.draw()
    texts = figure.axes[0].texts
    moved = np.array([text.get_position() for text in texts]) - points
    assert np.abs(moved / np.ptp(points, axis=0)).max() < 0.1
    middles = [text.get_window_extent().get_points().mean(axis=0) / figure.dpi for text in texts]
    assert min(np.linalg.norm(a - b) for a, b in combinations(middles, 2)) > 0.13  # inches


def test_kinds_have_their_colours():
    axes = plot.letter_map(np.eye(2)[[0, 1, 0, 1, 0]], list("aAbB,")).axes[0]
    a, capital_a, b, capital_b, comma = (text.get_color() for text in axes.texts)
    assert a == capital_a
    assert b == capital_b
    assert len({a, b, comma}) == 3
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["vowels", "consonants", "neither"]


def test_description():
    assert plot.letter_map([[0, 0]], ["a"], alt="one letter").alt_text == "one letter"
    assert "1 characters" in plot.letter_map([[0, 0]], ["a"]).alt_text


def test_refuses_another_number_of_points():
    with pytest.raises(ValueError, match="2 characters"):
        plot.letter_map([[0, 0]], ["a", "b"])
