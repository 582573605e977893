"""The emoji drawings and their names: 32x32 tiles in five styles, and the nouns that scenes may show.

The files lie in `data/emoji/`; `data/README.md` says where the drawings and the names come from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange
from PIL import Image

from minigpt4v.paths import data_folder

STYLES = ("noto", "blob", "fluent", "emojitwo")
HELD_OUT_STYLE = "twemoji"  # never seen in training: the test of generalisation
CATEGORIES = ("animal", "food", "vehicle", "object", "nature")
WORLDS = ("core64", "all")
TILE_SIZE = 32
TILES_PER_ROW = 32


@dataclass(frozen=True)
class Noun:
    """A thing that scenes may show.

    `tile` is its index in every atlas, `article` the English "a" or "an", `measure` the Chinese measure word;
    `held_out` nouns never appear in a training scene of the world they were loaded for.
    """

    id: str
    tile: int
    en: str
    zh: str
    article: str
    measure: str
    category: str
    held_out: bool


@lru_cache(maxsize=len(STYLES) + 1)
def load_atlas(style: str) -> np.ndarray:
    """All drawings of one style, as read-only uint8 [tiles, 32, 32, 4], RGBA, colour not multiplied by alpha.

    A tile whose alpha is 0 everywhere has no drawing in this style.

    Raises:
        ValueError: `style` is neither in `STYLES` nor the held-out style.
    """
    known = (*STYLES, HELD_OUT_STYLE)
    if style not in known:
        raise ValueError(f"unknown drawing style {style!r}: choose one of {', '.join(known)}")
    with Image.open(_emoji_folder() / f"{style}.png") as picture:
        sheet = np.asarray(picture.convert("RGBA"))
    rows, columns = sheet.shape[0] // TILE_SIZE, sheet.shape[1] // TILE_SIZE
    if columns != TILES_PER_ROW or sheet.shape[:2] != (rows * TILE_SIZE, columns * TILE_SIZE):
        raise ValueError(f"{style}.png is {sheet.shape[1]}x{sheet.shape[0]}: an atlas has 32 tiles of 32x32 in a row")
    tiles = rearrange(sheet, "(row y) (column x) rgba -> (row column) y x rgba", y=TILE_SIZE, x=TILE_SIZE)
    tiles = np.ascontiguousarray(tiles)
    tiles.flags.writeable = False  # the cache hands the same array to everyone
    return tiles


def load_nouns(world: str = "core64") -> tuple[Noun, ...]:
    """The nouns that training scenes of a world may show.

    `core64` has 64 nouns that nobody confuses at 24 pixels; `all` has every usable noun but the held-out tenth.

    Raises:
        ValueError: `world` is not in `WORLDS`.
    """
    _check_world(world)
    return tuple(
        _to_noun(row, held_out=False)
        for row in _noun_rows()
        if (row["core"] if world == "core64" else not row["held_out"])
    )


def held_out_nouns(world: str = "core64") -> tuple[Noun, ...]:
    """The nouns that training scenes of a world never show: 7 beside `core64`, a tenth of the rest beside `all`.

    Raises:
        ValueError: `world` is not in `WORLDS`.
    """
    _check_world(world)
    key = "core_held_out" if world == "core64" else "held_out"
    return tuple(_to_noun(row, held_out=True) for row in _noun_rows() if row[key])


def load_emoji() -> tuple[dict[str, Any], ...]:
    """Every emoji with a tile, in tile order: the records of `emoji.jsonl` (id, char, group, subgroup, names, ...)."""
    return _read_lines("emoji.jsonl")


def _to_noun(row: dict[str, Any], held_out: bool) -> Noun:
    names = ("id", "tile", "en", "zh", "article", "measure", "category")
    return Noun(**{name: row[name] for name in names}, held_out=held_out)


def _check_world(world: str) -> None:
    if world not in WORLDS:
        raise ValueError(f"unknown world {world!r}: choose one of {', '.join(WORLDS)}")


def _noun_rows() -> tuple[dict[str, Any], ...]:
    return _read_lines("nouns.jsonl")


def _read_lines(name: str) -> tuple[dict[str, Any], ...]:
    text = (_emoji_folder() / name).read_text(encoding="utf-8")
    return tuple(json.loads(line) for line in text.splitlines())


def _emoji_folder() -> Path:
    return data_folder() / "emoji"
