"""Texts cut into coloured tokens, drawn along their bytes: below each other, several tokenizers can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

from minigpt4v.datasets.emoji import load_atlas, load_emoji
from minigpt4v.plot.base import CARD, INK, PALETTE, QUIET, CourseFigure, as_picture, finish, new_figure, style
from minigpt4v.plot.fonts import drawable, missing_characters, text_width, visible

MOST_BYTES = 48  # of one text: with more, a byte is too narrow for its two hexadecimal digits
EMOJI_STYLE = "noto"
_NAMES, _COUNTS, _BYTE, _ROW, _GAP = 0.95, 0.8, 0.28, 0.4, 0.42  # inches: columns at the sides, a byte, a row, a title
_DPI = 100
_ROOM = 0.06  # inches between two boxes


class Cutter(Protocol):
    """What a tokenizer must be able to do to be drawn; both of `minigpt4v.tokenizer` can."""

    def encode(self, text: str) -> list[int]:
        """Text to token ids."""
        ...

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for."""
        ...


def token_boxes(
    texts: Sequence[str], tokenizers: Mapping[str, Cutter], *, alt: str | None = None, show_text: bool = True
) -> CourseFigure:
    """Texts in coloured tokens, one row for each tokenizer; each box is as wide as its bytes and holds its id below.

    What can be drawn is: letters, Chinese characters, and emoji as Noto draws them. A token that is part of a
    character, or that no font of ours has, is written as its bytes in hexadecimal. "␣" is a space.

    Args:
        texts: at most 48 bytes each.
        tokenizers: name -> tokenizer; each must know all characters of the texts.
        alt: the description.
        show_text: whether each text stands in full above its rows.

    Raises:
        ValueError: no text or no tokenizer, an empty or a too long text, or what the tokenizers raise.
    """
    sizes = [len(text.encode()) for text in texts]
    if not texts or not tokenizers or not 0 < min(sizes) <= max(sizes) <= MOST_BYTES:
        raise ValueError(
            f"{len(tokenizers)} tokenizers and texts of {sizes} bytes cannot be drawn: give at least one of each, and "
            f"texts of 1 to {MOST_BYTES} bytes"
        )
    gap = _GAP if show_text else 0.16
    unit = min(_BYTE, int(7.2 * _DPI / max(sizes)) / _DPI)  # whole pixels: equal boxes, and a small file
    width = _NAMES + unit * max(sizes) + _COUNTS
    height = len(texts) * (gap + _ROW * len(tokenizers)) + 0.12
    with style():
        figure = new_figure(width, height, layout="none")
        figure.set_dpi(_DPI)
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.axis("off")
        top = 0.0
        for text in texts:
            if show_text:
                _draw_glyphs(axes, text, _NAMES, top + 0.62 * gap, 11, left=True)
            top += gap
            for name, tokenizer in tokenizers.items():
                _draw_row(axes, name, tokenizer, text, top, unit)
                top += _ROW
        names = ", ".join(tokenizers)
        return finish(figure, alt or f"{'; '.join(texts)}: cut into tokens by {names}")


def _draw_row(axes: Axes, name: str, tokenizer: Cutter, text: str, top: float, unit: float) -> None:
    ids = tokenizer.encode(text)
    middle = top + _ROW / 2
    axes.text(_NAMES - 0.12, middle, visible(name), ha="right", va="center_baseline", fontsize=9, color=QUIET)
    left = _NAMES
    for number, token_id in enumerate(ids):
        token = tokenizer.token_bytes(token_id)
        _draw_box(axes, token, token_id, left, top, unit * len(token), PALETTE[number % len(PALETTE)])
        left += unit * len(token)
    count = f"{len(ids)} token{'' if len(ids) == 1 else 's'}"
    axes.text(left + 0.1, middle, count, ha="left", va="center_baseline", fontsize=8.5, color=QUIET)


def _draw_box(axes: Axes, token: bytes, token_id: int, left: float, top: float, width: float, colour: str) -> None:
    pale = 0.3 * np.array(to_rgb(colour)) + 0.7 * np.array(to_rgb(CARD))
    room = min(_ROOM, 0.2 * width)
    axes.add_patch(
        FancyBboxPatch(
            (left + room / 2, top + _ROOM / 2),
            width - room,
            _ROW - _ROOM,
            boxstyle="round,pad=0,rounding_size=0.05",
            facecolor=tuple(pale),
            edgecolor=colour,
            linewidth=0.8,
        )
    )
    centre = left + width / 2
    _draw_glyphs(axes, _label(token), centre, top + 0.4 * _ROW, 9, most=width - room - 0.02)
    size = min(6.0, 5.4 * (width - room) / text_width(str(token_id), 6.0))
    axes.text(centre, top + 0.78 * _ROW, str(token_id), ha="center", va="center_baseline", fontsize=size, color=QUIET)


def _label(token: bytes) -> str:
    """The token's characters if all can be drawn, else its bytes in hexadecimal."""
    try:
        text = _visible_spaces(token.decode())
    except UnicodeDecodeError:
        return token.hex(" ")
    return text if not any(_emoji(letter) is None for letter in missing_characters(text)) else token.hex(" ")


def _visible_spaces(text: str) -> str:
    """Spaces, line ends and tabs as signs."""
    return text.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")


def _draw_glyphs(
    axes: Axes, text: str, place: float, middle: float, size: float, *, most: float = 99.0, left: bool = False
) -> None:
    """A line of letters and emoji around a place, or from it on (`left`), made smaller if it is wider than `most`."""
    size = min(size, size * most / max(_width(text, size), 1e-6))
    x = place if left else place - _width(text, size) / 2
    for run in _runs(text):
        picture = _emoji(run)
        wide = _width(run, size)
        if picture is None:
            axes.text(x, middle, drawable(run), ha="left", va="center_baseline", fontsize=size, color=INK)
        else:
            half = 0.45 * wide
            box = (x + wide / 2 - half, x + wide / 2 + half, middle + half, middle - half)
            axes.imshow(picture, extent=box, interpolation="bilinear", aspect="auto", zorder=3)
        x += wide


def _runs(text: str) -> list[str]:
    """The text in pieces: each emoji alone, the letters between them together."""
    runs: list[str] = []
    for letter in text:
        if runs and _emoji(letter) is None and _emoji(runs[-1]) is None:
            runs[-1] += letter
        else:
            runs.append(letter)
    return runs


def _width(text: str, size: float) -> float:
    return sum(size / 72 * 1.7 if _emoji(letter) is not None else text_width(letter, size) for letter in text)


@cache
def _emoji(character: str) -> NDArray[np.float32] | None:
    """The drawing of an emoji that is one character and that no font of ours has, [32, 32, 4]; else None."""
    tile = _tiles().get(character) if len(character) == 1 and character > "\u2000" else None
    return None if tile is None else as_picture(load_atlas(EMOJI_STYLE)[tile])


@cache
def _tiles() -> dict[str, int]:
    return {record["char"]: tile for tile, record in enumerate(load_emoji()) if EMOJI_STYLE in record["styles"]}
