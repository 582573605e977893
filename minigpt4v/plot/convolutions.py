"""A kernel at work on a picture, and how much of a picture one number of a deep map can see."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import (
    BLUE,
    GREEN,
    ORANGE,
    PALETTE,
    QUIET,
    SHARES,
    VERMILLION,
    CourseFigure,
    as_picture,
    draw_picture,
    finish,
    new_figure,
    number_colour,
    style,
)
from minigpt4v.plot.charts import SIGNED
from minigpt4v.plot.fonts import visible

_WRITTEN = 150  # more numbers than these would be too small to read


def kernel_at_work(
    image: ArrayLike, kernel: ArrayLike, row: int = 0, column: int = 0, *, digits: int = 0, alt: str | None = None
) -> CourseFigure:
    """A picture, a kernel, and the map it makes; one window and the number that comes of it are framed.

    Args:
        image: [height, width], one number for each pixel.
        kernel: [k, k'], no larger than the picture. It slides by single pixels and stays inside.
        row: of the framed window's upper left pixel.
        column: likewise.
        digits: how many digits behind the point are written.
        alt: the description.

    Raises:
        ValueError: the kernel does not fit, or there is no such window.
    """
    pixels, weights = np.asarray(image, dtype=np.float64), np.asarray(kernel, dtype=np.float64)
    if pixels.ndim != 2 or weights.ndim != 2 or any(k > n for k, n in zip(weights.shape, pixels.shape, strict=True)):
        raise ValueError(f"a kernel of shape {weights.shape} does not fit on a picture of shape {pixels.shape}")
    windows = np.lib.stride_tricks.sliding_window_view(pixels, weights.shape)  # [rows, columns, k, k']
    made = np.tensordot(windows, weights, axes=2)
    if not (0 <= row < made.shape[0] and 0 <= column < made.shape[1]):
        raise ValueError(f"no window begins at ({row}, {column}): there are {made.shape[0]} x {made.shape[1]} of them")
    with style():
        figure = new_figure(8.2, 3.3)
        widths = [pixels.shape[1], 1.15 * weights.shape[1], made.shape[1]]
        left, middle, right = figure.subplots(1, 3, width_ratios=widths)
        _draw_numbers(left, pixels, digits, signed=False)
        _draw_numbers(middle, weights, digits, signed=True)
        _draw_numbers(right, made, digits, signed=True)
        _frame(left, row, column, *weights.shape)
        _frame(right, row, column, 1, 1)
        left.set_title(f"picture, {pixels.shape[0]}x{pixels.shape[1]}")
        middle.set_title("kernel")
        right.set_title(f"map, {made.shape[0]}x{made.shape[1]}")
        return finish(figure, alt or _describe(pixels, weights, row, column))


def _describe(pixels: NDArray[np.float64], weights: NDArray[np.float64], row: int, column: int) -> str:
    return (
        f"A picture of {pixels.shape[0]}x{pixels.shape[1]} numbers, a kernel of {weights.shape[0]}x{weights.shape[1]} "
        f"and the map it makes; the window at row {row}, column {column} and the number it becomes are framed"
    )


def _draw_numbers(axes: Axes, table: np.ndarray, digits: int, *, signed: bool) -> None:
    largest = float(abs(table).max()) or 1.0
    colours, low = (SIGNED, -largest) if signed else (SHARES, 0.0)
    image = axes.imshow(table, cmap=colours, vmin=low, vmax=largest)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(visible=True, color=QUIET, linewidth=0.6)
    if table.size > _WRITTEN:
        return
    for (row, column), value in np.ndenumerate(table):
        written = f"{value + 0.0:.{digits}f}"  # + 0.0: no "-0"
        axes.text(column, row, written, ha="center", va="center", fontsize=8, color=number_colour(image, value))


def _frame(axes: Axes, row: float, column: float, height: float, width: float, colour: str = VERMILLION) -> None:
    corner = (column - 0.5, row - 0.5)
    axes.add_patch(Rectangle(corner, width, height, fill=False, edgecolor=colour, linewidth=2.5, clip_on=False))


def receptive_fields(
    image: ArrayLike, fields: Mapping[str, tuple[int, int, int]], *, influence: ArrayLike | None = None, alt: str
) -> CourseFigure:
    """What single numbers of a stack of layers see: squares on a picture, one for each layer.

    Args:
        image: the picture that the layers read.
        fields: name of a layer -> (top, left, side) of the square it sees, in pixels; the part outside is cut off.
        influence: [height, width], how much the last number depends on each pixel; drawn beside the picture.
        alt: the description.

    Raises:
        ValueError: nothing to draw, or an influence that does not fit the picture.
    """
    picture = as_picture(image)
    height, width = picture.shape[:2]
    shades = None if influence is None else np.asarray(influence)
    if not fields or (shades is not None and shades.shape != (height, width)):
        size = "none" if shades is None else f"shape {shades.shape}"
        raise ValueError(
            f"{len(fields)} squares on a picture of {height}x{width} and an influence of {size}: give at least one"
            " square, and an influence for each pixel"
        )
    with style():
        panels = 1 if shades is None else 2
        figure = new_figure(3.6 * panels + 0.2, 4.3)
        first, *others = figure.subplots(1, panels, squeeze=False)[0]
        draw_picture(first, picture)
        colours = (VERMILLION, BLUE, GREEN, ORANGE, *PALETTE[4:])
        for number, (name, (top, left, side)) in enumerate(fields.items()):
            bottom, right = min(top + side, height), min(left + side, width)
            top, left = max(top, 0), max(left, 0)
            colour = colours[number % len(colours)]
            _frame(first, top, left, bottom - top, right - left, colour)
            first.plot([], [], color=colour, label=f"{visible(name)}: {side} px")
        first.legend(loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=2)
        for axes in others:
            axes.imshow(shades, cmap=SHARES)
            axes.set(xticks=[], yticks=[], title="how much it depends on each pixel")
            axes.spines[:].set(visible=True, color=QUIET, linewidth=0.6)
        return finish(figure, alt)
