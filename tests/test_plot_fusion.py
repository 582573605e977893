"""plot/fusion.py: what was drawn is read back from the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from minigpt4v import plot
from minigpt4v.plot.base import PANEL
from minigpt4v.plot.fusion import QUADRANTS

PART = np.zeros((4, 4, 3))
TOKENS = ["say", PART, PART, "dog"]
MASK = np.tril(np.ones((4, 4), dtype=bool))
MASK[1, 2] = True


def cells(figure) -> dict[tuple[int, int], str]:
    """(row, column) -> colour of every cell of the table."""
    squares = [patch for patch in figure.axes[0].patches if isinstance(patch, Rectangle) and patch.get_fill()]
    corners = [(square.get_xy(), to_hex(square.get_facecolor())) for square in squares]
    return {(round(y + 0.45), round(x + 0.45)): colour for (x, y), colour in corners}


def test_every_cell_has_the_colour_of_its_quadrant_where_one_may_look():
    drawn = cells(plot.who_sees_whom(MASK, TOKENS))
    assert len(drawn) == 16
    for (row, column), colour in drawn.items():
        kinds = (row in (1, 2), column in (1, 2))
        assert colour.lower() == (QUADRANTS[kinds][1] if MASK[row, column] else PANEL).lower(), (row, column)


def test_words_and_parts_stand_at_rows_and_columns():
    axes = plot.who_sees_whom(MASK, TOKENS).axes[0]
    assert sorted(text.get_text() for text in axes.texts) == ["dog", "dog", "say", "say"]
    assert len(axes.images) == 4
    assert {tuple(np.round(image.get_extent(), 2)) for image in axes.images} >= {(-1.55, -0.65, 1.45, 0.55)}


def test_the_legend_says_where_nobody_looks():
    mask = np.tril(np.ones((2, 2), dtype=bool))
    legend = plot.who_sees_whom(mask, [PART, "dog"]).legends[0]
    said = [text.get_text() for text in legend.get_texts()]
    assert "a picture looks at a word: never" in said
    assert "a word looks at a picture" in said


def test_a_text_without_pictures_has_one_quadrant():
    figure = plot.who_sees_whom([[True]], ["dog"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a word looks at a word"]
    assert "1 words and 0 parts" in repr(figure)
    assert "a dog" in repr(plot.who_sees_whom([[True]], ["dog"], alt="a dog"))


@pytest.mark.parametrize(
    ("mask", "tokens", "says"),
    [
        (np.ones((2, 2)), ["a", "b"], "float64"),
        (MASK, ["a"], r"does not fit 1 tokens"),
        (np.zeros((0, 0), dtype=bool), [], "0 tokens are not drawn"),
        (np.ones((49, 49), dtype=bool), ["a"] * 49, "49 tokens are not drawn"),
    ],
)
def test_what_cannot_be_drawn_is_refused(mask, tokens, says):
    with pytest.raises(ValueError, match=says):
        plot.who_sees_whom(mask, tokens)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")
