"""What stands in which head, and where each head looks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import (
    CARD,
    INK,
    ORANGE,
    PALETTE,
    QUIET,
    SHARES,
    CourseFigure,
    finish,
    new_figure,
    style,
)
from minigpt4v.plot.fonts import visible

HATCHES = ("", "////", "....", "xxxx")  # a pattern for each head, for those who cannot tell it by the number
CELL = 0.36  # inches


def heads_and_tokens(
    tokens: ArrayLike, tables: Mapping[str, ArrayLike], words: Sequence[str], *, alt: str
) -> CourseFigure:
    """Which token (colour) and which head's part of it (number and pattern) stands in each cell after a reshape.

    A cell holds a whole number, token * heads + head, that says where it comes from.

    Args:
        tokens: [t, h * d], the cells before.
        tables: title -> [h, t, d], the cells after; side by side, the heads of each one below the other, and every row
            named after the token that should be there.
        words: t names, at most as many as the palette has colours.
        alt: the description.

    Raises:
        ValueError: tables that differ in shape or do not fit the tokens and words, or too many tokens or heads.
    """
    before, after = np.asarray(tokens), {title: np.asarray(table) for title, table in tables.items()}
    heads, length, width = _heads_shape(before, after, words)
    with style():
        wide = heads * width * CELL + 0.8, *([width * CELL + 0.9] * len(after))
        figure = new_figure(sum(wide), heads * (length * CELL + 0.55) + 0.2)
        layout = figure.add_gridspec(heads, 1 + len(after), width_ratios=wide)
        columns = [("the tokens", [before])] + [(title, list(array)) for title, array in after.items()]
        for column, (title, parts) in enumerate(columns):
            for head, part in enumerate(parts):
                axes = figure.add_subplot(layout[head, column] if column else layout[:, 0])
                _draw_origins(axes, part, heads)
                axes.set_yticks(range(length), [visible(word) for word in words])
                below = f"head {head}" if column else ""
                axes.set_title("\n".join(filter(None, ("" if head else title, below))), fontsize=10)
        return finish(figure, alt)


def _heads_shape(before: NDArray, after: Mapping[str, NDArray], words: Sequence[str]) -> tuple[int, int, int]:
    """Heads, tokens and width of a head. Raises ValueError if something does not fit."""
    shapes = sorted({array.shape for array in after.values()})
    if len(shapes) != 1 or len(shapes[0]) != 3:
        raise ValueError(f"tables of shapes {shapes}: give one or more, all of one shape [heads, tokens, width]")
    heads, length, width = shapes[0]
    if before.shape != (length, heads * width) or len(words) != length:
        raise ValueError(
            f"tokens of shape {list(before.shape)} and {len(words)} words for heads of shape {list(shapes[0])}: give"
            f" tokens [{length}, {heads * width}] and {length} words"
        )
    if length > len(PALETTE) or heads > len(HATCHES):
        raise ValueError(f"{length} tokens in {heads} heads: draw at most {len(PALETTE)} in {len(HATCHES)}")
    return heads, length, width


def _draw_origins(axes: Axes, origins: NDArray, heads: int) -> None:
    """One head [t, d]: a coloured, numbered cell for each number."""
    for (row, column), origin in np.ndenumerate(origins):
        token, head = divmod(int(origin), heads)
        axes.add_patch(
            Rectangle(
                (column - 0.5, row - 0.5),
                1,
                1,
                facecolor=PALETTE[token],
                edgecolor=CARD,
                linewidth=1.2,
                hatch=HATCHES[head],
            )
        )
        ground = {"boxstyle": "circle,pad=0.12", "facecolor": CARD, "edgecolor": "none"}
        axes.text(column, row, str(head), ha="center", va="center", fontsize=8, color=INK, bbox=ground)
    rows, columns = origins.shape
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5), xticks=[], aspect="equal")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def head_maps(
    weights: Mapping[str, ArrayLike],
    tokens: Sequence[str] = (),
    *,
    alt: str,
    columns: int = 4,
    framed: Mapping[str, Sequence[tuple[int, int]]] | None = None,
    x: str = "looked at",
    y: str = "looking",
) -> CourseFigure:
    """One map for each head: a row for every token that looks, a column for every token that is looked at.

    Args:
        weights: title -> [t, s], at least 0; all share one scale from 0 to 1.
        tokens: names of rows and columns.
        alt: the description.
        columns: how many maps stand side by side at most.
        framed: title -> cells (row, column) that get a frame.
        x: what the columns are.
        y: what the rows are.

    Raises:
        ValueError: no maps, or one that has not two dimensions.
    """
    arrays = {title: np.asarray(table, dtype=np.float64) for title, table in weights.items()}
    if not arrays or any(array.ndim != 2 for array in arrays.values()):
        raise ValueError(f"maps of shapes {[array.shape for array in arrays.values()]}: give at least one of [t, s]")
    columns = min(columns, len(arrays))
    rows = ceil(len(arrays) / columns)
    with style():
        figure = new_figure(columns * 2.9, rows * 3.1)
        places = figure.subplots(rows, columns, squeeze=False)
        drawn = list(rearrange(places, "rows columns -> (rows columns)"))
        for axes in drawn[len(arrays) :]:
            axes.remove()
        for number, (axes, (title, array)) in enumerate(zip(drawn, arrays.items(), strict=False)):
            axes.imshow(array, cmap=SHARES, vmin=0, vmax=1)
            axes.set(title=title, xlabel=x, ylabel=y if number % columns == 0 else "", xticks=[], yticks=[])
            axes.spines[:].set(visible=True, color=QUIET, linewidth=0.6)
            for row, column in (framed or {}).get(title, ()):
                corner = (column - 0.5, row - 0.5)
                axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=ORANGE, linewidth=1.8))
            if tokens:
                axes.set_xticks(range(array.shape[1]), map(visible, tokens[: array.shape[1]]), fontsize=7)
                axes.set_yticks(range(array.shape[0]), map(visible, tokens[: array.shape[0]]), fontsize=7)
                axes.tick_params(length=0)
        return finish(figure, alt)
