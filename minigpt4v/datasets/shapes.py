"""Shapes: the simplest pictures that the scenes, questions and answers of EmojiScenes can be about.

A world like those of emoji, in which the things are plain shapes and the drawing styles are colours: `Scene`,
`Renderer`, `ask` and `audit` work unchanged, and the split "style" shows shapes in a colour that training never gives
them. All shapes are of one category, so the families about categories have nothing to ask.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from math import cos, pi, sin

import numpy as np
from PIL import Image, ImageDraw

from minigpt4v.datasets.emoji import TILE_SIZE, Noun
from minigpt4v.datasets.scenes import World

SHAPE_COLOURS = {
    "red": (225, 35, 40),
    "orange": (250, 135, 20),
    "yellow": (255, 215, 45),
    "green": (40, 150, 65),
    "blue": (35, 115, 220),
    "pink": (240, 90, 160),
    "brown": (130, 80, 45),
    "purple": (135, 70, 185),
}
HELD_OUT_COLOUR = "purple"

_FINER = 8  # shapes are drawn so many times larger and reduced, which makes their edges smooth
_MARGIN = 1  # pixels around a shape in its tile, as around an emoji

Outline = Sequence[tuple[float, float]]
"""The corners of a polygon; x to the right, y down."""


def _ellipse(width: float = 1, height: float = 1, right: float = 0) -> Outline:
    turns = [2 * pi * i / 90 for i in range(90)]
    return [(right + width * cos(t), height * sin(t)) for t in turns]


def _around(corners: int, *radii: float) -> Outline:
    """Corners at equal angles, the first at the top, their distances from the centre taken from `radii` in turn."""
    spokes = [(2 * pi * i / corners, radii[i % len(radii)]) for i in range(corners)]
    return [(radius * sin(angle), -radius * cos(angle)) for angle, radius in spokes]


def _heart() -> Outline:
    turns = [2 * pi * i / 90 for i in range(90)]
    return [(16 * sin(t) ** 3, -13 * cos(t) + 5 * cos(2 * t) + 2 * cos(3 * t) + cos(4 * t)) for t in turns]


_CROSS = [(1, 0), (2, 0), (2, 1), (3, 1), (3, 2), (2, 2), (2, 3), (1, 3), (1, 2), (0, 2), (0, 1), (1, 1)]
_ARROW = [(0, 2), (5, 2), (5, 0), (9, 3.5), (5, 7), (5, 5), (0, 5)]

# English name, Chinese name, measure word, outline, and a hole in it; the last four are the held-out concepts
_SHAPES: tuple[tuple[str, str, str, Outline, Outline], ...] = (
    ("circle", "圆形", "个", _ellipse(), ()),
    ("square", "正方形", "个", [(0, 0), (1, 0), (1, 1), (0, 1)], ()),
    ("triangle", "三角形", "个", _around(3, 1), ()),
    ("star", "五角星", "颗", _around(10, 1, 0.42), ()),
    ("heart", "爱心", "颗", _heart(), ()),
    ("cross", "十字", "个", _CROSS, ()),
    ("diamond", "菱形", "个", _around(4, 1, 0.7), ()),
    ("crescent", "月牙", "个", _ellipse(), _ellipse(0.8, 0.8, right=0.5)),
    ("oval", "椭圆形", "个", _ellipse(0.65), ()),
    ("hexagon", "六边形", "个", _around(6, 1), ()),
    ("ring", "圆环", "个", _ellipse(), _ellipse(0.6, 0.6)),
    ("arrow", "箭头", "个", _ARROW, ()),
)
_TRAINED = 8


@lru_cache
def load_shapes(held_out_colour: str = HELD_OUT_COLOUR) -> World:
    """The world of plain shapes: eight in training, four held out; the held-out colour is the style never seen.

    Raises:
        ValueError: the colour is not in `SHAPE_COLOURS`.
    """
    if held_out_colour not in SHAPE_COLOURS:
        raise ValueError(f"unknown colour {held_out_colour!r}: choose one of {', '.join(SHAPE_COLOURS)}")
    nouns = [
        Noun(f"shape-{en}", i, en, zh, "an" if en[0] in "aeiou" else "a", measure, "shape", held_out=i >= _TRAINED)
        for i, (en, zh, measure, _, _) in enumerate(_SHAPES)
    ]
    colours = [colour for colour in SHAPE_COLOURS if colour != held_out_colour]
    return World("shapes", nouns[:_TRAINED], nouns[_TRAINED:], colours, held_out_colour, draw_shapes)


def draw_shapes(colour: str) -> np.ndarray:
    """All shapes in one colour: uint8 RGBA [shapes, 32, 32, 4], smooth at the edges."""
    masks = [_mask(outline, hole) for *_, outline, hole in _SHAPES]
    return np.stack(
        [np.dstack([np.full((TILE_SIZE, TILE_SIZE, 3), SHAPE_COLOURS[colour], np.uint8), m]) for m in masks]
    )


def _mask(outline: Outline, hole: Outline) -> np.ndarray:
    """Where a shape is: uint8 [32, 32], 255 inside. Its longer side fills the tile up to the margin."""
    across, down = zip(*outline, strict=True)
    widest = (TILE_SIZE - 2 * _MARGIN) * _FINER - 1  # from the centre of the first pixel to that of the last
    scale = widest / max(max(across) - min(across), max(down) - min(down))
    middle = (max(across) + min(across)) / 2, (max(down) + min(down)) / 2
    to_tile = partial(_to_tile, scale=scale, middle=middle)
    picture = Image.new("L", (TILE_SIZE * _FINER, TILE_SIZE * _FINER))
    draw = ImageDraw.Draw(picture)
    draw.polygon(to_tile(outline), fill=255)
    if hole:
        draw.polygon(to_tile(hole), fill=0)
    return np.asarray(picture.reduce(_FINER))


def _to_tile(points: Outline, scale: float, middle: tuple[float, float]) -> list[tuple[float, float]]:
    """Points of an outline as pixels of the large drawing, whose pixel centres lie on whole numbers."""
    centre = (TILE_SIZE * _FINER - 1) / 2
    return [(centre + scale * (x - middle[0]), centre + scale * (y - middle[1])) for x, y in points]
