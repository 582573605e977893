"""Who may look at whom in a sequence of words and picture parts: the mask in its four quadrants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch, Rectangle
from numpy.typing import ArrayLike

from minigpt4v.plot.base import (
    BLUE,
    GREEN,
    ORANGE,
    PANEL,
    PURPLE,
    RULE,
    CourseFigure,
    as_picture,
    finish,
    new_figure,
    style,
)
from minigpt4v.plot.fonts import visible

QUADRANTS = {  # (the one that looks is a picture part, the one that is looked at is) -> words, colour
    (False, False): ("a word looks at a word", BLUE),
    (False, True): ("a word looks at a picture", ORANGE),
    (True, True): ("a picture looks at a picture", GREEN),
    (True, False): ("a picture looks at a word", PURPLE),
}
MOST_TOKENS = 48  # more would be too small to tell apart
CELL = 0.22  # inches, of a long sequence; a short one gets larger cells


def who_sees_whom(mask: ArrayLike, tokens: Sequence[str | ArrayLike], *, alt: str | None = None) -> CourseFigure:
    """A mask as a table: each row a token that looks, each column a token that is looked at.

    A cell is coloured where the row may look at the column; the colour says which of the four quadrants it is in, by
    what the two tokens are: words, or parts of a picture.

    Args:
        mask: boolean [tokens, tokens], True = may look.
        tokens: at most 48; a word, or a small picture [h, w, 3] for a part of a picture.
        alt: the description.

    Raises:
        ValueError: the mask is no such table, there are no tokens or too many, or a part cannot be drawn.
    """
    table, count = np.asarray(mask), len(tokens)
    if not 1 <= count <= MOST_TOKENS:
        raise ValueError(f"{count} tokens are not drawn: give 1 to {MOST_TOKENS}")
    if table.dtype != np.bool_ or table.shape != (count, count):
        raise ValueError(
            f"a mask of {table.dtype} {list(table.shape)} does not fit {count} tokens: give booleans [{count}, {count}]"
        )
    is_part = [not isinstance(token, str) for token in tokens]
    cell = max(CELL, min(0.42, 4 / count))
    with style():
        figure = new_figure(max(5.2, cell * count + 2.0), cell * count + 2.4)
        axes = figure.add_subplot()
        for (row, column), allowed in np.ndenumerate(table):
            colour = QUADRANTS[is_part[row], is_part[column]][1] if allowed else PANEL
            square = Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, facecolor=colour, edgecolor="none")
            axes.add_patch(square)
        for place, token in enumerate(tokens):
            _name(axes, place, token, cell)
        axes.set(xlim=(-1.7, count - 0.4), ylim=(count - 0.4, -1.7), aspect="equal", xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        figure.suptitle("Each row is a token that looks, each column a token that is looked at", fontsize=10)
        _explain(figure, table, np.array(is_part))
        words = sum(map(isinstance, tokens, [str] * count))
        return finish(figure, alt or f"A table of who may look at whom among {words} words and {count - words} parts")


def _name(axes: Axes, place: int, token: str | ArrayLike, cell: float) -> None:
    """The token at the left of its row and on top of its column."""
    if isinstance(token, str):
        size = min(9.0, 36 * cell)
        axes.text(-0.7, place, visible(token), ha="right", va="center", fontsize=size)
        axes.text(place, -0.7, visible(token), ha="center", va="bottom", rotation=90, fontsize=size)
        return
    part = as_picture(token)
    for left, top in ((-1.55, place - 0.45), (place - 0.45, -1.55)):
        axes.imshow(part, extent=(left, left + 0.9, top + 0.9, top), interpolation="nearest", zorder=2)
        axes.add_patch(Rectangle((left, top), 0.9, 0.9, fill=False, edgecolor=RULE, linewidth=0.6, zorder=3))


def _explain(figure: CourseFigure, table: np.ndarray, is_part: np.ndarray) -> None:
    """A legend of the quadrants that the sequence has, with those in which nobody may look."""
    patches = []
    for (looks, looked_at), (words, colour) in QUADRANTS.items():
        if (is_part == looks).any() and (is_part == looked_at).any():
            allowed = table[np.ix_(is_part == looks, is_part == looked_at)].any()
            look = {"facecolor": colour, "edgecolor": colour} if allowed else {"facecolor": PANEL, "edgecolor": RULE}
            patches.append(Patch(label=words + ("" if allowed else ": never"), **look))
    figure.legend(handles=patches, loc="outside lower center", ncols=2)
