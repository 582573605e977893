"""Training drawn: which tokens the loss counts, many questions packed behind one picture, and runs with several seeds.

Chapter 12 draws all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import (
    BLUE,
    CARD,
    INK,
    ORANGE,
    PALETTE,
    PANEL,
    QUIET,
    RULE,
    CourseFigure,
    finish,
    new_figure,
    style,
)
from minigpt4v.plot.fonts import text_width, visible

_WIDTH, _SIZE, _LINE, _PAD = 7.4, 9.0, 0.52, 0.07  # inches, points, inches a line and around a word


def loss_mask(
    tokens: Sequence[str], counted: Sequence[bool], losses: Sequence[float] | None = None, *, alt: str | None = None
) -> CourseFigure:
    """Tokens in reading order: those that the loss counts are blue, with the loss of each below; the others are grey.

    Args:
        tokens: what each token stands for.
        counted: [tokens], whether the loss counts it.
        losses: [tokens], the loss of predicting each, in nats; numbers of tokens that do not count are not shown.
        alt: the description.

    Raises:
        ValueError: nothing to draw, or the three are not equally long.
    """
    if not len(tokens) or len(tokens) != len(counted) or (losses is not None and len(losses) != len(tokens)):
        numbers = "" if losses is None else f" and {len(losses)} losses"
        raise ValueError(f"{len(tokens)} tokens, {len(counted)} marks{numbers}: give one of each for each token")
    places = _flow(tokens)
    height = _LINE * (places[-1][1] + 1) + 0.34
    with style():
        figure = new_figure(_WIDTH, height, layout="none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, _WIDTH), ylim=(height, 0))
        axes.axis("off")
        for i, (token, (left, line, width)) in enumerate(zip(tokens, places, strict=True)):
            top = 0.08 + _LINE * line
            _draw_token(axes, token, left, top, width, bool(counted[i]))
            if counted[i] and losses is not None:
                below = f"{abs(losses[i]):.2f}"  # a rounded zero may be just below it
                axes.text(left + width / 2, top + 0.37, below, ha="center", va="center", fontsize=7.5, color=BLUE)
        key = [Patch(color=BLUE, label="counts"), Patch(facecolor=PANEL, edgecolor=RULE, label="only read")]
        axes.legend(handles=key, loc="lower left", ncols=2, borderaxespad=0.2)
        return finish(figure, alt or f"{len(tokens)} tokens, of which the loss counts {sum(map(bool, counted))}")


def _flow(tokens: Sequence[str]) -> list[tuple[float, int, float]]:
    """Where each token stands: (left, line, width), broken into lines as text is."""
    places: list[tuple[float, int, float]] = []
    left, line = 0.1, 0
    for token in tokens:
        width = max(0.3, text_width(visible(token), _SIZE) + 2 * _PAD)
        if left + width > _WIDTH - 0.1 and places:
            left, line = 0.1, line + 1
        places.append((left, line, width))
        left += width + 0.05
    return places


def _draw_token(axes: Axes, token: str, left: float, top: float, width: float, counts: bool) -> None:
    box = FancyBboxPatch((left, top), width, 0.28, boxstyle="round,pad=0,rounding_size=0.05", linewidth=0.8)
    box.set(facecolor=BLUE if counts else PANEL, edgecolor=BLUE if counts else RULE)
    axes.add_patch(box)
    colour = CARD if counts else INK
    centre = (left + width / 2, top + 0.145)
    axes.text(*centre, visible(token), ha="center", va="center_baseline", fontsize=_SIZE, color=colour)


def packing(segments: ArrayLike, mask: ArrayLike, *, alt: str | None = None) -> CourseFigure:
    """Conversations about one picture: each behind its own copy, all behind one, and who looks at whom in the latter.

    Args:
        segments: [t], of a packed row: 0 for the picture, then 1, 2, ... for the conversations.
        mask: [t, t], True where the token of the row may look at that of the column.
        alt: the description.

    Raises:
        ValueError: the mask does not fit the segments, or there is no picture or no conversation.
    """
    numbers, allowed = np.asarray(segments), np.asarray(mask, dtype=bool)
    count = int(numbers.max(initial=0))
    if numbers.ndim != 1 or allowed.shape != (numbers.size, numbers.size) or count < 1 or not (numbers == 0).any():
        raise ValueError(
            f"segments of shape {list(numbers.shape)} with a mask of {list(allowed.shape)}: give [t] and [t, t], "
            "with a picture (0) and at least one conversation (1, 2, ...)"
        )
    with style():
        figure = new_figure(7.6, 3.5)
        rows, square = figure.subplots(1, 2, width_ratios=[1.15, 1])
        _draw_rows(rows, numbers, count)
        _draw_mask(square, numbers, allowed)
        return finish(figure, alt or f"{count} conversations behind copies of a picture, and packed behind one")


def _colours(count: int) -> list[str]:
    return [QUIET, *(PALETTE[i % len(PALETTE)] for i in range(count))]


def _draw_rows(axes: Axes, numbers: NDArray[np.int64], count: int) -> None:
    """One bar for each separate row, and the packed one below them, on a common scale of tokens."""
    colours, sizes = _colours(count), np.bincount(numbers[numbers >= 0])
    for row in range(count):
        for start, size, number in ((0, sizes[0], 0), (sizes[0], sizes[row + 1], row + 1)):
            axes.add_patch(Rectangle((start, row), size, 0.7, facecolor=colours[number], edgecolor=CARD))
    starts = np.cumsum([0, *sizes])
    for number, (start, size) in enumerate(zip(starts, sizes, strict=False)):
        axes.add_patch(Rectangle((start, count + 0.6), size, 0.7, facecolor=colours[number], edgecolor=CARD))
    axes.text(sizes[0] / 2, count + 0.95, "picture", ha="center", va="center", fontsize=8, color=CARD)
    separate = int(sizes[0] * count + sizes[1:].sum())
    axes.set(xlim=(0, starts[-1] * 1.02), ylim=(count + 1.6, -0.3), xlabel="tokens")
    axes.set_yticks([(count - 1) / 2 + 0.35, count + 0.95], [f"separate:\n{separate}", f"packed:\n{starts[-1]}"])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.set_title("tokens to compute")


def _draw_mask(axes: Axes, numbers: NDArray[np.int64], allowed: NDArray[np.bool_]) -> None:
    """The mask, each allowed pair in the colour of the segment that looks."""
    shown = np.where(allowed, numbers[:, None] + 1, 0)
    colours = [CARD, *_colours(int(numbers.max()))]
    shades = ListedColormap(colours)
    axes.imshow(shown, cmap=shades, vmin=-0.5, vmax=len(colours) - 0.5, interpolation="nearest")
    edges = np.flatnonzero(np.diff(numbers)) + 0.5
    axes.hlines(edges, -0.5, numbers.size - 0.5, color=RULE, linewidth=0.6)
    axes.vlines(edges, -0.5, numbers.size - 0.5, color=RULE, linewidth=0.6)
    axes.set(xticks=[], yticks=[], xlabel="is looked at", ylabel="looks", title="who looks at whom, packed")
    axes.spines[:].set(visible=True, color=QUIET, linewidth=0.6)


def seed_dots(values: Mapping[str, Sequence[float]], *, x: str, alt: str, title: str = "") -> CourseFigure:
    """One row for each variant: a dot for each of its runs, and a line at their mean.

    Args:
        values: name -> one number for each run; shares in 0..1 are written in percent.
        x: what the numbers are.
        alt: the description.
        title: a sentence that says what to see.

    Raises:
        ValueError: nothing to draw, or a variant without a run.
    """
    if not values or not all(len(runs) for runs in values.values()):
        raise ValueError(f"runs per variant: {[len(runs) for runs in values.values()]}: give at least one of each")
    with style():
        figure = new_figure(6.8, 0.9 + 0.34 * len(values))
        axes = figure.add_subplot()
        for row, runs in enumerate(values.values()):
            axes.plot([np.mean(runs)] * 2, [row - 0.3, row + 0.3], color=ORANGE, linewidth=3, zorder=2)
            axes.plot(runs, [row] * len(runs), "o", color=BLUE, markersize=7, alpha=0.75, zorder=3)
        axes.set_yticks(range(len(values)), [visible(name) for name in values])
        axes.set(ylim=(len(values) - 0.4, -0.6), xlabel=f"{x} (dots: seeds, bars: means)", title=title)
        if all(0 <= value <= 1 for runs in values.values() for value in runs):
            axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.grid(axis="both")
        axes.tick_params(axis="y", length=0)
        return finish(figure, alt)
