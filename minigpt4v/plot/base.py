"""The look of every figure in the course: colours, sizes, and figures with a description in words.

Figures stand on a solid, nearly white card, not on a transparent ground. A colour that is to be read on white paper
*and* on a black page can have a contrast of at most 4.6 with both, so that small coloured text and pale bars would
suffer on each; pictures, veils and heat maps need a known ground in any case. On a dark page the card looks like a
photograph on a table, on paper its ground prints as white.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from einops import rearrange, repeat
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.fonts import font_families

# Okabe & Ito (2008), "Color Universal Design": told apart with any common colour blindness. Their yellow is left out:
# on a light ground it has a contrast of 1.3. The order puts neighbours far apart in lightness too, for grey prints.
BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE)
LINES = ("-", "--", "-.", ":")  # curves differ in these too, for grey prints
CARD, PANEL, RULE, QUIET, INK = "#fbfaf7", "#f2f0ea", "#d5d2c9", "#5c5a55", "#1d1d1f"
GOOD, BAD = "#00694c", "#a84300"  # green and vermillion, darkened until small text reads (a contrast of 5.8 at least)
# Light to dark in one hue, steep at the start: one mistake in a hundred is to be seen.
_SHADES = [(0, CARD), (0.05, "#d6e8f3"), (0.3, "#8fc1e0"), (0.7, BLUE), (1, "#063a5c")]
SHARES = LinearSegmentedColormap.from_list("shares", _SHADES)

STYLE: dict[str, Any] = {
    "figure.facecolor": CARD,
    "figure.dpi": 120,
    "figure.constrained_layout.h_pad": 0.1,
    "figure.constrained_layout.w_pad": 0.1,
    "savefig.facecolor": CARD,
    "axes.facecolor": CARD,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=PALETTE),
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 2,
    "text.color": INK,
    "text.parse_math": False,  # "$5 and $6" in somebody's question is no formula
    "font.size": 10,
}


class CourseFigure(Figure):
    """A figure with a description in words.

    Its `repr` is the description: a notebook saves it beside the picture, where the book finds the alternative text.
    """

    alt_text: str = ""

    def __repr__(self) -> str:
        return f"<Figure: {self.alt_text}>"


@contextmanager
def style() -> Iterator[None]:
    """Everything drawn inside looks like the rest of the course; afterwards matplotlib's settings are as before."""
    with plt.style.context(["default", STYLE, {"font.family": list(font_families())}]):
        yield


def finish(figure: CourseFigure, alt: str) -> CourseFigure:
    """Give the figure its description in words; returns it."""
    figure.alt_text = alt
    return figure


def as_picture(image: ArrayLike) -> NDArray[np.float32]:
    """A picture as matplotlib draws it: float32 [h, w, 3] or [h, w, 4] in 0..1.

    Args:
        image: [h, w], [h, w, c] or, if only that can be meant, [c, h, w], with 1, 3 or 4 channels; uint8 or floats in
            0..1; an array, a PIL image, or a tensor on the CPU.

    Raises:
        ValueError: another shape, or numbers out of range.
    """
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = rearrange(array, "c h w -> h w c")
    if array.ndim == 2:
        array = rearrange(array, "h w -> h w 1")
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4) or array.size == 0:
        raise ValueError(f"a picture of shape {list(np.shape(image))} cannot be drawn: give [h, w, 3] or [3, h, w]")
    values = array.astype(np.float32) / np.float32(255 if array.dtype == np.uint8 else 1)
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-5 and high <= 1 + 1e-5):  # written so that NaN fails
        raise ValueError(f"a picture with values from {low:g} to {high:g} cannot be drawn: scale them to 0..1")
    return repeat(values, "h w 1 -> h w c", c=3) if values.shape[2] == 1 else values.clip(0, 1)


def new_figure(width: float, height: float, layout: str = "constrained") -> CourseFigure:
    """A figure of pyplot, width and height in inches."""
    figure = plt.figure(figsize=(width, height), layout=layout, FigureClass=CourseFigure)
    assert isinstance(figure, CourseFigure)
    return figure


def grid(count: int, columns: int, side: float, extra: float) -> tuple[CourseFigure, list[Axes]]:
    """Axes for `count` pictures of `side` inches with `extra` inches of text each, row by row."""
    if count < 1 or columns < 1:
        raise ValueError(f"{count} pictures in {columns} columns: give at least one of each")
    columns = min(columns, count)
    rows = ceil(count / columns)
    figure = new_figure(columns * (side + 0.2), rows * (side + 0.2 + extra))
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes in places[count:]:
        axes.remove()
    return figure, list(places[:count])


def draw_picture(axes: Axes, picture: NDArray[np.float32], caption: str = "") -> None:
    """A picture as `as_picture` makes it, without ticks, with a thin frame and its caption below."""
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[], xlabel=caption)
    axes.spines[:].set(visible=True, color=RULE)  # or a white picture would have no edge


def badge(colour: str) -> dict[str, Any]:
    """The ground that keeps a number on a picture readable."""
    return {"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none", "alpha": 0.8}
