"""Where the patches of a picture look (chapter 10)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.attention import VEIL, as_attention
from minigpt4v.plot.base import ORANGE, CourseFigure, as_picture, draw_picture, finish, grid, style
from minigpt4v.plot.fonts import visible


def patch_attention(
    image: ArrayLike, maps: Mapping[str, ArrayLike], patch: tuple[int, int], *, columns: int = 5, alt: str | None = None
) -> CourseFigure:
    """A picture with one patch framed, and the same picture once for each map, lit where that patch looks.

    Each map has its own scale: its strongest place is fully lit.

    Args:
        image: the picture.
        maps: title -> [rows, columns], the attention of the patch to every patch; at least 0.
        patch: row and column of the patch that looks.
        columns: how many pictures stand side by side at most.
        alt: the description.

    Raises:
        ValueError: a map is no attention, the patch lies outside it, or the picture cannot be drawn.
    """
    picture = as_picture(image)
    checked = {title: as_attention(weights) for title, weights in maps.items()}
    if not checked or any(not _holds(weights, patch) for weights in checked.values()):
        shapes = [weights.shape for weights in checked.values()]
        raise ValueError(f"patch {patch} for maps of shapes {shapes}: give one map at least, and a patch inside all")
    with style():
        figure, places = grid(1 + len(checked), columns, 1.35, 0.22)
        first = next(iter(checked.values()))
        draw_picture(places[0], picture)
        _frame(places[0], picture, first.shape, patch)
        places[0].set_title("the patch that looks", loc="center", fontsize=9)
        for axes, (title, weights) in zip(places[1:], checked.items(), strict=True):
            draw_picture(axes, picture)
            _veil(axes, picture, weights)
            _frame(axes, picture, weights.shape, patch)
            axes.set_title(visible(title), loc="center", fontsize=9)
        return finish(figure, alt or f"A picture, and where its patch {patch} looks: {', '.join(checked)}")


def _holds(weights: NDArray[np.float64], patch: tuple[int, int]) -> bool:
    return all(0 <= place < length for place, length in zip(patch, weights.shape, strict=True))


def _veil(axes: Axes, picture: NDArray[np.float32], weights: NDArray[np.float64]) -> None:
    """A dark veil that is thinner where there is more attention."""
    height, width = picture.shape[:2]
    veil = np.empty((*weights.shape, 4))
    veil[:, :, :3] = to_rgb(VEIL)
    veil[:, :, 3] = 0.88 * (1 - weights / max(weights.max(), 1e-12))
    axes.imshow(veil, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")


def _frame(axes: Axes, picture: NDArray[np.float32], shape: tuple[int, ...], patch: tuple[int, int]) -> None:
    tall, wide = picture.shape[0] / shape[0], picture.shape[1] / shape[1]
    corner = (patch[1] * wide - 0.5, patch[0] * tall - 0.5)
    axes.add_patch(Rectangle(corner, wide, tall, fill=False, edgecolor=ORANGE, linewidth=2))
