"""The whole of attention on one sentence: scores, scaled, masked, weights, values, output."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import (
    CARD,
    ORANGE,
    PANEL,
    QUIET,
    SHARES,
    CourseFigure,
    finish,
    new_figure,
    number_colour,
    style,
)
from minigpt4v.plot.charts import SIGNED
from minigpt4v.plot.fonts import text_width, visible

Table = NDArray[np.float64]
MOST_WORDS = 12  # the numbers of more words would be too small to read
CELL = 0.36  # inches
DOTS_PER_INCH = 90  # fewer than usual: some three hundred small numbers make a large file


def attention_steps(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    words: Sequence[str],
    mask: ArrayLike | None = None,
    *,
    focus: int | None = None,
    features: Sequence[str] = (),
    alt: str | None = None,
) -> CourseFigure:
    """Scaled dot-product attention as six tables: each row is a word that looks, each column a word looked at.

    Scores are orange below zero and blue above, on one scale before and after the division, so that one sees them
    shrink. What the mask hides is grey.

    Args:
        query: [words, d].
        key: [words, d].
        value: [words, v].
        words: the words of the sentence, at most 12.
        mask: boolean [words, words], True = may look; every word must see at least one. None = all see all.
        focus: the row to follow through the tables, in a frame.
        features: names of the v columns of the values.
        alt: the description.

    Raises:
        ValueError: shapes do not fit, there are more than 12 words or none, a word sees nothing, or no such row.
    """
    query, key, value = (np.asarray(each, dtype=np.float64) for each in (query, key, value))
    count = len(words)
    may_look = np.ones((count, count), dtype=bool) if mask is None else np.asarray(mask)
    _check(query, key, value, may_look, words, features, focus)
    scores = query @ key.T
    scaled = scores / math.sqrt(query.shape[1])
    weights = softmax_rows(np.where(may_look, scaled, -np.inf))

    with style():
        longest = max(text_width(visible(word), 9) for word in (*words, *features))
        side = CELL * max(count, 4)
        figure = new_figure(3 * (side + longest + 0.4) + 0.5, 2 * (side + 0.75 * longest + 0.75))
        figure.set_dpi(DOTS_PER_INCH)
        panels = figure.subplots(2, 3)
        limit = float(np.abs(scores).max())
        for axes, title, table, seen in (
            (panels[0, 0], "1  scores: query · key", scores, None),
            (panels[0, 1], "2  divided by √d", scaled, None),
            (panels[0, 2], "3  masked", scaled, may_look),
        ):
            _draw(axes, title, table, limit, signed=True, seen=seen)
            _name(axes, words, words)
        _draw(panels[1, 0], "4  softmax: the weights", weights, 1.0, seen=may_look)
        _name(panels[1, 0], words, words)
        _draw_values(panels[1, 1], panels[1, 2], value, weights @ value, words, features)
        panels[0, 0].set_ylabel("the word that looks …")
        panels[1, 0].set_ylabel("the word that looks …")
        for axes in panels.flat:
            axes.set_anchor("N")
        panels[1, 0].set_xlabel("… and the word it looks at")
        if focus is not None:
            for axes in (*panels[0], panels[1, 0], panels[1, 2]):
                _frame(axes, focus)
        described = f"Six tables for the words “{' '.join(words)}”: scores, scaled, masked, weights, values, output"
        return finish(figure, alt or described)


def softmax_rows(scores: Table) -> Table:
    """Rows that sum to 1; a score of minus infinity gets a weight of 0."""
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def _check(
    query: Table,
    key: Table,
    value: Table,
    mask: NDArray[Any],
    words: Sequence[str],
    features: Sequence[str],
    focus: int | None,
) -> None:
    count = len(words)
    if not 1 <= count <= MOST_WORDS:
        raise ValueError(f"{count} words cannot be drawn readably: give 1 to {MOST_WORDS}")
    shapes = [list(each.shape) for each in (query, key, value)]
    if any(len(shape) != 2 or shape[0] != count for shape in shapes) or shapes[0] != shapes[1]:
        raise ValueError(f"query, key and value of shapes {shapes}: give [{count}, d], [{count}, d] and [{count}, v]")
    if mask.shape != (count, count) or mask.dtype != np.bool_:
        raise ValueError(f"a mask of shape {list(mask.shape)} and {mask.dtype}: give booleans [{count}, {count}]")
    if not mask.any(axis=1).all():
        raise ValueError(f"{words[int(mask.any(axis=1).argmin())]!r} may look nowhere: let each word see itself")
    if features and len(features) != value.shape[1]:
        raise ValueError(f"{len(features)} names for the {value.shape[1]} columns of the values: give one for each")
    if focus is not None and not 0 <= focus < count:
        raise ValueError(f"there is no row {focus} among {count} words: choose 0 to {count - 1}")


def _draw(
    axes: Axes, title: str, table: Table, limit: float, *, signed: bool = False, seen: NDArray[Any] | None = None
) -> None:
    """A table of numbers as colours; cells that are not seen are grey."""
    limit = limit or 1.0
    image = axes.imshow(table, cmap=SIGNED if signed else SHARES, vmin=-limit if signed else 0, vmax=limit)
    axes.set_title(title, pad=8)
    axes.spines[:].set(visible=True, color=QUIET, linewidth=0.6)
    for (row, column), number in np.ndenumerate(table):
        if seen is not None and not seen[row, column]:
            corner = (column - 0.5, row - 0.5)
            axes.add_patch(Rectangle(corner, 1, 1, facecolor=PANEL, edgecolor=CARD, linewidth=0.8))
            axes.text(column, row, "−∞" if signed else "", ha="center", va="center", fontsize=8, color=QUIET)
            continue
        ink = number_colour(image, number)
        axes.text(column, row, _short(number), ha="center", va="center", fontsize=8.5, color=ink)


def _short(number: float) -> str:
    """Two digits behind the point, or none for a whole number: "4", "−1.41", ".70"."""
    if abs(number - round(number)) < 1e-9:
        return f"{round(number)}".replace("-", "−")
    text = f"{number:.2f}" if abs(number) < 1 else f"{number:.1f}"
    return text.replace("-", "−").replace("0.", ".", 1) if abs(number) < 1 else text.replace("-", "−")


def _draw_values(
    left: Axes, right: Axes, value: Table, output: Table, words: Sequence[str], features: Sequence[str]
) -> None:
    limit, signed = float(np.abs(value).max()), bool(value.min() < 0)
    for axes, title, table, sign in ((left, "5  the values", value, "×"), (right, "6  the output", output, "=")):
        _draw(axes, title, table, limit, signed=signed)
        _name(axes, words, features)
        place = axes.get_yaxis_transform()  # x in widths of the table, y in rows
        axes.text(-2.6 / value.shape[1], (len(words) - 1) / 2, sign, transform=place, fontsize=22, ha="center")


def _name(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    axes.set_yticks(range(len(rows)), [visible(word) for word in rows])
    if columns:
        steep = max(map(len, columns)) > 3
        names = [visible(word) for word in columns]
        axes.set_xticks(range(len(names)), names, rotation=45 if steep else 0, ha="right" if steep else "center")
        axes.tick_params(axis="x", pad=1)
    else:
        axes.set_xticks([])
    axes.tick_params(length=0)


def _frame(axes: Axes, row: int) -> None:
    """A frame around one row, and its word in bold."""
    left, right = axes.get_xlim()
    axes.add_patch(
        Rectangle((left, row - 0.5), right - left, 1, fill=False, edgecolor=ORANGE, linewidth=2.2, clip_on=False)
    )
    axes.get_yticklabels()[row].set_fontweight("bold")
