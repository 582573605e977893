"""The figures of training: what is drawn is what was given."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import FancyBboxPatch, Rectangle

from minigpt4v import plot
from minigpt4v.plot.base import BLUE, PANEL

TOKENS = ["<user>", "How", " many", "?", "<assistant>", "Two", "<end>"]
COUNTED = [False] * 5 + [True] * 2
SEGMENTS = [0, 0, 1, 1, 1, 2, 2]
MASK = [[s == 0 or (s == r and k <= q) for k, s in enumerate(SEGMENTS)] for q, r in enumerate(SEGMENTS)]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def boxes(axes):
    return [patch for patch in axes.patches if isinstance(patch, FancyBboxPatch)]


def test_counted_tokens_are_blue_and_have_their_loss():
    figure = plot.loss_mask(TOKENS, COUNTED, [9, 9, 9, 9, 9, 0.25, 1.5])
    (axes,) = figure.axes
    assert [to_hex(box.get_facecolor()) for box in boxes(axes)] == [PANEL] * 5 + [BLUE.lower()] * 2
    written = [text.get_text() for text in axes.texts]
    assert {"␣many", "Two", "0.25", "1.50"} <= set(written)
    assert "9.00" not in written
    assert figure.alt_text == "7 tokens, of which the loss counts 2"
    nearly = plot.loss_mask(TOKENS, COUNTED, [0, 0, 0, 0, 0, -1e-9, -0.0])
    assert not any("-" in text.get_text() for text in nearly.axes[0].texts)
    plain = plot.loss_mask(TOKENS, COUNTED)
    assert len(plain.axes[0].texts) == len(TOKENS)


def test_a_long_conversation_is_broken_into_lines_inside_the_figure():
    figure = plot.loss_mask(TOKENS * 6, COUNTED * 6)
    lefts = [box.get_x() for box in boxes(figure.axes[0])]
    assert sum(later < earlier for earlier, later in pairwise(lefts)) >= 2
    assert max(box.get_x() + box.get_width() for box in boxes(figure.axes[0])) <= figure.get_figwidth()


@pytest.mark.parametrize(
    ("given", "words"),
    [(([], []), "0 tokens"), ((TOKENS, COUNTED[1:]), "6 marks"), ((TOKENS, COUNTED, [1.0]), "1 losses")],
)
def test_tokens_that_cannot_be_drawn(given, words):
    with pytest.raises(ValueError, match=words):
        plot.loss_mask(*given)


def test_packing_shows_the_lengths_and_the_mask():
    figure = plot.packing(SEGMENTS, MASK)
    rows, square = figure.axes
    widths = [patch.get_width() for patch in rows.patches if isinstance(patch, Rectangle)]
    assert widths == [2, 3, 2, 2, 2, 3, 2]  # picture and first, picture and second, then the packed row
    assert [label.get_text() for label in rows.get_yticklabels()] == ["separate:\n9", "packed:\n7"]
    drawn = np.asarray(square.images[0].get_array())
    assert ((drawn > 0) == np.array(MASK)).all()
    assert drawn[4, 3] == 2
    assert drawn[6, 5] == 3


@pytest.mark.parametrize(
    ("segments", "mask"), [(SEGMENTS, np.ones((3, 3))), ([0, 0], np.ones((2, 2))), ([1, 1], np.ones((2, 2)))]
)
def test_what_is_no_packed_row(segments, mask):
    with pytest.raises(ValueError, match="at least one conversation"):
        plot.packing(segments, mask)


def test_seeds_are_dots_and_their_mean_a_bar():
    figure = plot.seed_dots({"a": [0.25, 0.75], "b": [1.0]}, x="right", alt="Two rows.", title="a varies")
    (axes,) = figure.axes
    mean, dots, *_ = axes.lines
    assert list(mean.get_xdata()) == [0.5, 0.5]
    assert list(dots.get_xdata()) == [0.25, 0.75]
    assert axes.xaxis.get_major_formatter()(0.5) == "50%"
    assert plot.seed_dots({"a": [3.0]}, x="steps", alt="One row.").axes[0].xaxis.get_major_formatter()(3.0) != "300%"


@pytest.mark.parametrize("values", [{}, {"a": []}])
def test_no_runs_no_figure(values):
    with pytest.raises(ValueError, match="at least one of each"):
        plot.seed_dots(values, x="right", alt="")
