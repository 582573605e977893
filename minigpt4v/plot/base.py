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
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from einops import rearrange, repeat
from matplotlib import rc_params_from_file
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.fonts import font_families

# matplotlib's own form, so that the look stands in one place and any drawing can use it
_FILE = Path(__file__).with_name("course.mplstyle")
STYLE: dict[str, Any] = {
    str(name): value for name, value in rc_params_from_file(_FILE, use_default_template=False).items()
}
PALETTE: tuple[str, ...] = tuple(STYLE["axes.prop_cycle"].by_key()["color"])
BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE = PALETTE
LINES = ("-", "--", "-.", ":")  # curves differ in these too, for grey prints
CARD, RULE, QUIET, INK = (STYLE[name] for name in ("axes.facecolor", "grid.color", "axes.edgecolor", "text.color"))
PANEL = "#f2f0ea"  # a ground that is a little darker than the card
GOOD, BAD = "#00694c", "#a84300"  # green and vermillion, darkened until small text reads (a contrast of 5.8 at least)
READABLE = 4.5  # the least contrast of small text (WCAG 2.2)
# Light to dark in one hue, steep at the start: one mistake in a hundred is to be seen.
_SHADES = [(0, CARD), (0.05, "#d6e8f3"), (0.3, "#8fc1e0"), (0.7, BLUE), (1, "#063a5c")]
SHARES = LinearSegmentedColormap.from_list("shares", _SHADES)


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


def text_colour(colour: str) -> str:
    """The colour, darkened until small text in it reads on the card."""
    shade = to_hex(colour)
    while (_luminance(CARD) + 0.05) / (_luminance(shade) + 0.05) < READABLE:
        red, green, blue = (0.97 * channel for channel in to_rgb(shade))
        shade = to_hex((red, green, blue))
    return shade


def number_colour(image: AxesImage, value: float) -> str:
    """Black or white, whichever reads better on the shade that a value has in the image: a contrast of 4.5 at least."""
    red, green, blue, _ = image.cmap(image.norm(np.asarray(value)))
    ground = _luminance(to_hex((red, green, blue)))
    return "black" if (ground + 0.05) ** 2 > 1.05 * 0.05 else "white"


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance: 0 is black, 1 is white."""
    channels = np.array(to_rgb(colour))
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
