"""Pictures with captions, and pictures cut into patches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from einops import rearrange
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import (
    CARD,
    INK,
    CourseFigure,
    as_picture,
    badge,
    draw_picture,
    finish,
    grid,
    new_figure,
    style,
)
from minigpt4v.plot.fonts import wrap

LINE = 0.17  # height of a line of a caption, in inches
NUMBERED_PATCHES = 64  # more numbers than these would be too small to read
SEQUENCE = 16  # patches shown of the sequence


def show_picture(image: ArrayLike, caption: str = "", *, alt: str | None = None) -> CourseFigure:
    """One picture with its caption below.

    Raises:
        ValueError: the picture cannot be drawn.
    """
    picture = as_picture(image)
    with style():
        caption_lines = wrap(caption, 3.1)
        figure = new_figure(3.4, 3.4 + LINE * _count_lines(caption_lines))
        draw_picture(figure.add_subplot(), picture, caption_lines)
        return finish(figure, alt or f"A picture: {caption or 'no caption'}")


def show_pictures(
    images: Sequence[ArrayLike], captions: Sequence[str] = (), columns: int = 4, *, alt: str | None = None
) -> CourseFigure:
    """Pictures in a grid, row by row, each with its caption below.

    Args:
        images: at least one picture.
        captions: one for each picture, or none at all.
        columns: how many pictures stand side by side at most.
        alt: the description.

    Raises:
        ValueError: the numbers of pictures and captions differ, there is no picture, or one cannot be drawn.
    """
    if captions and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} pictures: give one for each, or none")
    pictures = [as_picture(image) for image in images]
    with style():
        lines = [wrap(caption, 1.75) for caption in captions] or [""] * len(pictures)
        figure, places = grid(len(pictures), columns, 1.8, LINE * max(map(_count_lines, lines), default=0))
        for axes, picture, caption in zip(places, pictures, lines, strict=True):
            draw_picture(axes, picture, caption)
        described = "; ".join(captions) if captions else "no captions"
        return finish(figure, alt or f"{len(pictures)} pictures: {described}")


def patch_grid(image: ArrayLike, patch_size: int, *, alt: str | None = None) -> CourseFigure:
    """A picture, its patches, and the patches in a row: the sequence that a vision transformer reads.

    Args:
        image: the picture; its height and width are multiples of patch_size.
        patch_size: height and width of a patch, in pixels.
        alt: the description.

    Raises:
        ValueError: the patches do not tile the picture, or it cannot be drawn.
    """
    picture = as_picture(image)
    height, width = picture.shape[:2]
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(f"patches of {patch_size} pixels do not tile a picture of {width}x{height}: choose a divisor")
    patches = rearrange(picture, "(r p) (c q) ch -> r c p q ch", p=patch_size, q=patch_size)
    rows, columns = patches.shape[:2]
    first = rearrange(patches, "r c p q ch -> 1 (r c) p q ch")[:, :SEQUENCE]
    with style():
        figure = new_figure(7.2, 4.9)
        layout = figure.add_gridspec(2, 2, height_ratios=[6, 1])
        whole, cut, row = (figure.add_subplot(layout[place]) for place in ((0, 0), (0, 1), (1, slice(None))))
        draw_picture(whole, picture)
        whole.hlines(np.arange(1, rows) * patch_size - 0.5, -0.5, width - 0.5, color=INK, linewidth=0.5)
        whole.vlines(np.arange(1, columns) * patch_size - 0.5, -0.5, height - 0.5, color=INK, linewidth=0.5)
        whole.set_title(f"{width}x{height} pixels")
        _draw_patches(cut, patches)
        cut.set_title(f"{columns}x{rows} patches of {patch_size}x{patch_size} pixels")
        _draw_patches(row, first)
        shown = "" if rows * columns == first.shape[1] else f" (the first {SEQUENCE} are shown)"
        row.set_title(f"a sequence of {rows * columns} tokens{shown}")
        return finish(figure, alt or f"A picture cut into {rows} rows of {columns} patches, then laid out in a row")


def _draw_patches(axes: Axes, patches: NDArray[np.float32]) -> None:
    """patches [r, c, p, q, channels], drawn apart and numbered."""
    rows, columns, size, _, channels = patches.shape
    gap = max(1, size // 8)
    spaced = np.zeros((rows, columns, size + gap, size + gap, 4), dtype=np.float32)  # transparent between the patches
    spaced[:, :, :size, :size, 3] = 1
    spaced[:, :, :size, :size, :channels] = patches
    mosaic = rearrange(spaced, "r c p q ch -> (r p) (c q) ch")[:-gap, :-gap]
    axes.imshow(mosaic, extent=(0, mosaic.shape[1], mosaic.shape[0], 0), interpolation="nearest")
    axes.axis("off")
    if rows * columns <= NUMBERED_PATCHES:
        for number in range(rows * columns):
            row, column = divmod(number, columns)
            place = (column * (size + gap), row * (size + gap))
            axes.text(*place, str(number), fontsize=6.5, ha="left", va="top", bbox=badge(CARD))


def _count_lines(caption: str) -> int:
    return caption.count("\n") + 1 if caption else 0
