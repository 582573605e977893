"""What an answer rests on: several maps of one picture side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from minigpt4v.plot.attention import as_attention, draw_attention
from minigpt4v.plot.base import CourseFigure, as_picture, draw_picture, finish, new_figure, style
from minigpt4v.plot.fonts import visible, wrap

SIDE = 1.75  # of a picture, in inches
LINE = 0.17  # height of a line of a caption
CAPTION_WIDTH = 1.8


def attribution_maps(
    images: Sequence[ArrayLike], captions: Sequence[str], maps: Sequence[Mapping[str, ArrayLike]], *, alt: str
) -> CourseFigure:
    """One row for each picture: the picture with its caption, then the picture lit by each of its maps.

    Every map has its own scale: its strongest cell is fully lit and framed, cells of zero or less are dark.

    Args:
        images: the pictures.
        captions: one for each, such as question and answer.
        maps: for each picture, name -> [rows, columns]; the same names in the same order for all.
        alt: the description.

    Raises:
        ValueError: nothing to draw, numbers of pictures, captions and maps that differ, or other names in one row.
    """
    if not images or not len(images) == len(captions) == len(maps):
        counts = f"{len(images)} pictures, {len(captions)} captions and {len(maps)} sets of maps"
        raise ValueError(f"{counts}: give as many of each, at least one")
    names = list(maps[0])
    if not names or any(list(row) != names for row in maps):
        raise ValueError(f"maps named {[list(row) for row in maps]}: give every picture the same, at least one")
    with style():
        lines = [wrap(caption, CAPTION_WIDTH) for caption in captions]
        tall = SIDE + 0.1 + LINE * max(text.count("\n") + 1 for text in lines)
        figure = new_figure((SIDE + 0.15) * (1 + len(names)), 0.3 + tall * len(images))
        places = figure.subplots(len(images), 1 + len(names), squeeze=False)
        for row, image, caption, drawn in zip(places, images, lines, maps, strict=True):
            picture = as_picture(image)
            draw_picture(row[0], picture, caption)
            for axes, weights in zip(row[1:], drawn.values(), strict=True):
                draw_attention(axes, picture, as_attention(np.maximum(np.asarray(weights, dtype=np.float64), 0)))
        for axes, name in zip(places[0], ["the picture", *names], strict=True):
            axes.set_title(visible(name), loc="center", fontsize=10)
        return finish(figure, alt)
