"""Positions as hands of clocks: the waves that are added, the turns of rotary queries and keys, places in a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patches import Circle, FancyArrowPatch, Rectangle, Wedge
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import (
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    PANEL,
    QUIET,
    RULE,
    SHARES,
    CourseFigure,
    finish,
    new_figure,
    number_colour,
    style,
)

DIALS_IN_A_ROW = 3  # of rotary pairs: with more, a page would show their numbers too small


def position_clocks(positions: Sequence[int], frequencies: ArrayLike, *, alt: str | None = None) -> CourseFigure:
    """Every position as a column of clocks, one hand for each frequency; behind the hand, the way since position 0.

    A hand starts at the top and turns to the right: its tip stands at (sin, cos) of its angle.

    Args:
        positions: whole numbers, one for each column.
        frequencies: [hands], radians per position, above zero.
        alt: the description.

    Raises:
        ValueError: no position, no frequency, or a frequency that is not above zero.
    """
    speeds = np.asarray(frequencies, dtype=np.float64)
    if not len(positions) or speeds.ndim != 1 or not speeds.size or not (speeds > 0).all():
        raise ValueError(f"{len(positions)} positions, frequencies {speeds}: give at least one of each, all above zero")
    with style():
        figure = new_figure(0.84 * len(positions) + 1.3, 0.86 * len(speeds) + 0.5)
        places = figure.subplots(len(speeds), len(positions), squeeze=False)
        for row, (line, speed) in enumerate(zip(places, speeds, strict=True)):
            for axes, position in zip(line, positions, strict=True):
                _draw_clock(axes, speed * position, PALETTE[row % len(PALETTE)])
                if row == 0:
                    axes.set_title(f"position {position}", loc="center", fontsize=9.5)
            turn = f"{2 * np.pi / speed:.3g}"
            label = f"one turn in\n{turn} positions"
            line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9, labelpad=8)
        return finish(
            figure, alt or f"{len(speeds)} hands of clocks, from fast to slow, at positions {_listed(positions)}"
        )


def _draw_clock(axes: Axes, angle: float, colour: str) -> None:
    _draw_dial(axes)
    if angle > 0:
        start = 90 - np.degrees(min(angle, 2 * np.pi))  # a whole turn and more fills the dial
        axes.add_patch(Wedge((0, 0), 0.98, start, 90, facecolor=colour, alpha=0.16, linewidth=0))
    _draw_hand(axes, np.array([np.sin(angle), np.cos(angle)]), colour)


def rotary_pair(
    query: ArrayLike, key: ArrayLike, places: Sequence[tuple[int, int]], frequency: float, *, alt: str | None = None
) -> CourseFigure:
    """One pair of channels of a query and a key, turned by their positions, once for each pair of positions.

    The pale hands are the two before they are turned. Below stands their product, the score of this pair.

    Args:
        query: [2].
        key: [2].
        places: (position of the query, position of the key), one for each dial.
        frequency: radians per position.
        alt: the description.

    Raises:
        ValueError: query or key is not one pair of channels, or has no length, or there are no places.
    """
    pair = np.asarray([query, key], dtype=np.float64)
    if pair.shape != (2, 2) or not np.linalg.norm(pair, axis=1).all() or not places:
        raise ValueError(
            f"{len(places)} places for query {query!r} and key {key!r}: give one at least, and two numbers each"
        )
    with style():
        columns, rows = min(len(places), DIALS_IN_A_ROW), ceil(len(places) / DIALS_IN_A_ROW)
        figure = new_figure(1.85 * columns + 0.4, 2.75 * rows)
        spots = list(figure.subplots(rows, columns, squeeze=False).flat)
        for axes in spots[len(places) :]:
            axes.remove()
        for axes, (here, there) in zip(spots, places, strict=False):
            turned = np.stack([_turned(pair[0], here * frequency), _turned(pair[1], there * frequency)])
            _draw_pair(axes, pair, turned)
            axes.set_title(f"query at {here}\nkey at {there}", loc="center", fontsize=9.5)
            numbers = f"distance {here - there}\nscore {turned[0] @ turned[1]:.2f}"
            axes.set_xlabel(numbers.replace("-", "−"), fontsize=9)
        return finish(
            figure,
            alt or f"A query (blue) and a key (orange), turned by their positions: {_listed(places)} (query, key)",
        )


def _draw_pair(axes: Axes, pair: NDArray[np.float64], turned: NDArray[np.float64]) -> None:
    _draw_dial(axes)
    longest = np.linalg.norm(pair, axis=1).max()
    first, second = np.degrees(np.arctan2(turned[:, 1], turned[:, 0]))
    gap = (second - first + 180) % 360 - 180
    start, end = (first, first + gap) if gap > 0 else (first + gap, first)
    axes.add_patch(Wedge((0, 0), 0.45, start, end, facecolor=GREEN, alpha=0.3, linewidth=0))
    for before, after, colour in zip(pair, turned, (BLUE, ORANGE), strict=True):
        _draw_hand(axes, before / longest, colour, alpha=0.25)
        _draw_hand(axes, after / longest, colour)


def patch_similarity(maps: Mapping[str, ArrayLike], patch: tuple[int, int], *, alt: str | None = None) -> CourseFigure:
    """How alike one patch of a grid is to all others, the patch framed; several grids on one scale.

    The numbers stand in the neighbours on the right and below.

    Args:
        maps: title -> [rows, columns], all of one shape; the title may have two lines.
        patch: row and column of the patch.
        alt: the description.

    Raises:
        ValueError: no maps, shapes that differ, or a patch outside the grid.
    """
    tables = {name: np.asarray(table, dtype=np.float64) for name, table in maps.items()}
    shapes = {table.shape for table in tables.values()}
    shape = next(iter(shapes)) if len(shapes) == 1 else ()
    if len(shape) != 2 or not (0 <= patch[0] < shape[0] and 0 <= patch[1] < shape[1]):
        raise ValueError(
            f"patch {patch} in grids {sorted(shapes)}: give grids of one shape [rows, columns] that hold it"
        )
    with style():
        figure = new_figure(2.75 * len(tables) + 0.6, 3.1)
        low = min(table.min() for table in tables.values())
        high = max(table.max() for table in tables.values())
        places = figure.subplots(1, len(tables), squeeze=False)[0]
        for axes, (title, table) in zip(places, tables.items(), strict=True):
            drawn = axes.imshow(table, cmap=SHARES, vmin=low, vmax=high)
            axes.set(title=title, xticks=[], yticks=[])
            axes.title.set_fontsize(10)
            axes.spines[:].set(visible=True, color=QUIET, linewidth=0.6)
            _mark_patch(drawn, table, patch)
        figure.colorbar(drawn, ax=list(places), shrink=0.8, label="similarity")
        rows, columns = shape
        return finish(
            figure,
            alt or f"How alike patch {patch} is to all patches of a {rows}x{columns} grid: {_listed(list(tables))}",
        )


def _mark_patch(image: AxesImage, table: NDArray[np.float64], patch: tuple[int, int]) -> None:
    axes, (row, column) = image.axes, patch
    assert axes is not None
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=ORANGE, linewidth=2.5))
    for place in ((row, column + 1), (row + 1, column)):
        if place[0] < table.shape[0] and place[1] < table.shape[1]:
            number = f"{table[place]:.2f}".replace("0.", ".", 1) if abs(table[place]) < 1 else f"{table[place]:.2f}"
            colour = number_colour(image, table[place])
            axes.text(place[1], place[0], number, ha="center", va="center", fontsize=7, color=colour)


def _draw_dial(axes: Axes) -> None:
    axes.add_patch(Circle((0, 0), 1, facecolor=PANEL, edgecolor=RULE, linewidth=1.2))
    for hour in np.arange(12) * np.pi / 6:
        tip = np.array([np.cos(hour), np.sin(hour)])
        axes.plot(*np.stack([0.9 * tip, tip], axis=1), color=RULE, linewidth=1)
    axes.set(xlim=(-1.12, 1.12), ylim=(-1.12, 1.12), xticks=[], yticks=[], aspect="equal")
    axes.spines[:].set_visible(False)


def _draw_hand(axes: Axes, tip: NDArray[np.float64], colour: str, alpha: float = 1.0) -> None:
    arrow = FancyArrowPatch(
        (0, 0),
        (tip[0], tip[1]),
        arrowstyle="-|>",
        mutation_scale=11,
        shrinkA=0,
        shrinkB=0,
        color=colour,
        linewidth=2,
        alpha=alpha,
    )
    axes.add_patch(arrow)
    axes.plot(0, 0, "o", color=colour, markersize=3.5, alpha=alpha)


def _turned(pair: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, -sine], [sine, cosine]]) @ pair


def _listed(names: Sequence[object]) -> str:
    return ", ".join(str(name).replace("\n", " ") for name in names)
