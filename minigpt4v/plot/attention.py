"""Where the model looks in a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import (
    CARD,
    ORANGE,
    QUIET,
    CourseFigure,
    as_picture,
    badge,
    draw_picture,
    finish,
    grid,
    new_figure,
    style,
)
from minigpt4v.plot.fonts import visible

VEIL = "#101c2c"  # laid over the parts of a picture that were not looked at
NUMBERED_PLACES = 16  # more numbers than these would hide the picture


def attention_over_picture(image: ArrayLike, weights: ArrayLike, word: str, *, alt: str | None = None) -> CourseFigure:
    """A picture, and beside it the same picture lit where the model looked when it said (or read) a word.

    Args:
        image: the picture.
        weights: [rows, columns], the attention from the word to each image token; at least 0. The strongest place is
            fully lit and framed; numbers are percent of all the attention of the word.
        word: the word.
        alt: the description.

    Raises:
        ValueError: weights have another shape, are negative or not finite, or the picture cannot be drawn.
    """
    picture, weights = as_picture(image), as_attention(weights)
    with style():
        figure = new_figure(6.4, 3.7)
        left, right = figure.subplots(1, 2)
        draw_picture(left, picture)
        left.set_title("the picture")
        draw_attention(right, picture, weights)
        right.set_title(f"the attention of “{visible(word)}”")
        right.set_xlabel(f"{weights.sum():.0%} is on the picture")
        if weights.size <= NUMBERED_PLACES:
            _number_places(right, picture, weights)
            right.set_xlabel(f"{weights.sum():.0%} is on the picture (numbers in %)")
        rows, columns = weights.shape
        return finish(figure, alt or f"A picture, and the {rows}x{columns} map of where the model looks for “{word}”")


def attention_over_sentence(
    image: ArrayLike, weights: ArrayLike, words: Sequence[str], columns: int = 6, *, alt: str | None = None
) -> CourseFigure:
    """The picture once for each word of a sentence, lit where the model looked at that word.

    Each word has its own scale, so that words which hardly look at the picture can be read too; the share of their
    attention that is on the picture stands below.

    Args:
        image: the picture.
        weights: [words, rows, columns], as in `attention_over_picture`.
        words: one word or token for each map.
        columns: how many pictures stand side by side at most.
        alt: the description.

    Raises:
        ValueError: the numbers of words and maps differ, or as in `attention_over_picture`.
    """
    maps = [as_attention(each) for each in np.asarray(weights, dtype=np.float64)]
    if len(maps) != len(words):
        raise ValueError(f"{len(words)} words for {len(maps)} attention maps: give one word for each map")
    picture = as_picture(image)
    with style():
        figure, places = grid(len(maps), columns, 1.45, 0.4)
        for axes, word, each in zip(places, words, maps, strict=True):
            draw_attention(axes, picture, each)
            axes.set_title(visible(word), loc="center")
            axes.set_xlabel(f"{each.sum():.0%} on the picture", fontsize=8.5, color=QUIET)
        sentence = " ".join(word.strip() for word in words)
        return finish(figure, alt or f"Where the model looks in the picture at each word of “{sentence}”")


def as_attention(weights: ArrayLike) -> NDArray[np.float64]:
    """Checked weights [rows, columns]. Raises ValueError if they are no map of attention."""
    array = np.asarray(weights, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"attention of shape {list(array.shape)} is no map: give [rows, columns]")
    if not (np.isfinite(array).all() and array.min() >= 0):
        raise ValueError(f"attention from {array.min():g} to {array.max():g}: give finite weights of at least 0")
    return array


def draw_attention(axes: Axes, picture: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
    """The picture under a dark veil that is thinner where there is more attention, the strongest place framed.

    A veil keeps the colours of what was looked at; a heat map would hide them, and needs colours that all can see.
    """
    height, width = picture.shape[:2]
    rows, columns = weights.shape
    draw_picture(axes, picture)
    strength = weights / max(weights.max(), 1e-12)
    veil = np.empty((rows, columns, 4))
    veil[:, :, :3] = to_rgb(VEIL)
    veil[:, :, 3] = 0.85 * (1 - strength)
    axes.imshow(veil, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")
    row, column = divmod(int(weights.argmax()), columns)
    corner = (column * width / columns - 0.5, row * height / rows - 0.5)
    axes.add_patch(Rectangle(corner, width / columns, height / rows, fill=False, edgecolor=ORANGE, linewidth=2))


def _number_places(axes: Axes, picture: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
    height, width = picture.shape[:2]
    rows, columns = weights.shape
    for (row, column), weight in np.ndenumerate(weights):
        x, y = (column + 0.93) * width / columns - 0.5, (row + 0.93) * height / rows - 0.5
        axes.text(x, y, f"{100 * weight:.0f}", ha="right", va="bottom", fontsize=7.5, color=CARD, bbox=badge(VEIL))
