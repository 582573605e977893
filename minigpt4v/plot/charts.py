"""Plain charts for what the chapters measure: curves, bars, and tables of numbers as colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import ArrayLike

from minigpt4v.plot.base import BLUE, CARD, INK, LINES, ORANGE, QUIET, SHARES, CourseFigure, finish, new_figure, style
from minigpt4v.plot.fonts import visible

MARKED_POINTS = 20  # curves with more points have no markers
# Orange below zero, the ground at zero, blue above.
_SIGNED_SHADES = ["#7a4600", ORANGE, "#f6dda6", CARD, "#b9d8ea", BLUE, "#063a5c"]
SIGNED = LinearSegmentedColormap.from_list("signed", _SIGNED_SHADES)
PAGE = 8.0  # inches of tables side by side: a page of the book shows them at three quarters of their size
NUMBERED_CELLS = 150  # more numbers than these in a table would be too small to read


def curves(
    places: ArrayLike | Mapping[str, ArrayLike],
    values: Mapping[str, ArrayLike],
    *,
    x: str,
    y: str,
    alt: str,
    title: str = "",
    log: str = "",
    width: float = 6.0,
    beside: bool = False,
) -> CourseFigure:
    """One or more curves, each with its name.

    Args:
        places: [n], where the values were measured; or one such list for each name.
        values: name -> [n].
        x: what the places are, with their unit.
        y: what the values are, with their unit.
        alt: the description.
        title: a sentence that says what to see.
        log: "x", "y" or "xy" for axes that count in powers.
        width: inches.
        beside: whether the names stand beside the chart, for curves that leave them no room inside.

    Raises:
        ValueError: nothing to draw, a curve whose places and values are not equally many, or another `log`.
    """
    if not values or log not in ("", "x", "y", "xy"):
        raise ValueError(f"{len(values)} curves with log {log!r}: give at least one, and log as '', 'x', 'y' or 'xy'")
    with style():
        figure = new_figure(width, 3.4)
        axes = figure.add_subplot()
        for number, (name, heights) in enumerate(values.items()):
            where = np.asarray(places[name] if isinstance(places, Mapping) else places)
            if where.shape != np.shape(heights):
                raise ValueError(
                    f"{name!r} has {np.shape(heights)} values at {where.shape} places: give as many of each"
                )
            marker = "o" if where.size <= MARKED_POINTS else ""
            axes.plot(where, heights, LINES[number % len(LINES)], marker=marker, markersize=4, label=visible(name))
        axes.set(xlabel=x, ylabel=y, title=title)
        _set_scales(axes, log)
        axes.grid(visible=True)
        if len(values) > 1:
            axes.legend(**({"loc": "upper left", "bbox_to_anchor": (1, 1)} if beside else {}))
        return finish(figure, alt)


def _set_scales(axes: Axes, log: str) -> None:
    if "x" in log:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if "y" in log:
        axes.set_yscale("log")


def bars(
    values: Mapping[str, float], *, y: str, alt: str, title: str = "", highlight: Sequence[str] = ()
) -> CourseFigure:
    """One horizontal bar for each name, with its number.

    Args:
        values: name -> length; at least one.
        y: what the lengths are, with their unit.
        alt: the description.
        title: a sentence that says what to see.
        highlight: the names whose bars are drawn in the second colour.

    Raises:
        ValueError: nothing to draw.
    """
    if not values:
        raise ValueError("no bars to draw: give at least one name with a number")
    with style():
        figure = new_figure(6.4, 0.9 + 0.34 * len(values))
        axes = figure.add_subplot()
        names = [visible(name) for name in values]
        colours = ["C1" if name in highlight else "C0" for name in values]
        drawn = axes.barh(names, list(values.values()), color=colours, height=0.7)
        axes.bar_label(drawn, fmt="%.3g", padding=4, fontsize=9)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.set(xlabel=y, title=title)
        axes.tick_params(axis="y", length=0)
        return finish(figure, alt)


def matrices(
    tables: Mapping[str, ArrayLike],
    *,
    alt: str,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    x: str = "",
    y: str = "",
    digits: int = 2,
) -> CourseFigure:
    """Tables of numbers side by side, each cell in a colour, with its number where there is room.

    Positive tables go from white to blue, each on its own scale; tables with negative numbers from orange over white to
    blue, white being zero. Cells that are NaN stay empty.

    Args:
        tables: title -> [rows, columns].
        alt: the description.
        rows: names of the rows, for all tables.
        columns: names of the columns, for all tables.
        x: what the columns are.
        y: what the rows are.
        digits: how many digits behind the point.

    Raises:
        ValueError: nothing to draw, or a table that has not two dimensions.
    """
    if not tables or any(np.ndim(table) != 2 for table in tables.values()):
        raise ValueError(
            f"tables of shapes {[np.shape(t) for t in tables.values()]}: give at least one of [rows, columns]"
        )
    with style():
        tall, wide = (max(np.shape(table)[axis] for table in tables.values()) for axis in (0, 1))
        cell = max(min(0.62, 5.5 / max(tall, wide), (PAGE / len(tables) - 1.0) / wide), 0.05)
        figure = new_figure(len(tables) * (cell * wide + 1.0) + 0.4, cell * tall + 1.2)
        for number, (axes, (title, table)) in enumerate(
            zip(figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True)
        ):
            _draw_matrix(axes, np.asarray(table, dtype=np.float64), digits)
            axes.set(title=title, xlabel=x, ylabel=y if number == 0 else "")
            _name_ticks(axes, rows if number == 0 else (), columns)
        return finish(figure, alt)


def _draw_matrix(axes: Axes, table: np.ndarray, digits: int) -> None:
    largest = float(np.nanmax(np.abs(table), initial=0)) or 1.0
    signed = bool(np.nanmin(table, initial=0) < 0)
    image = axes.imshow(table, cmap=SIGNED if signed else SHARES, vmin=-largest if signed else 0, vmax=largest)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=QUIET, linewidth=0.6)
    if table.size > NUMBERED_CELLS:
        return
    for (row, column), value in np.ndenumerate(table):
        if not np.isnan(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.6 * green + 0.1 * blue < 0.5
            colour = CARD if dark else INK
            axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", fontsize=8, color=colour)


def _name_ticks(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    if columns:
        steep = max(len(name) for name in columns) > 3
        axes.set_xticks(range(len(columns)), [visible(name) for name in columns], rotation=45 if steep else 0)
    if rows:
        axes.set_yticks(range(len(rows)), [visible(name) for name in rows])
    axes.tick_params(length=0)
