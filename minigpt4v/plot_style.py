"""The look of every figure in the course: colours, fonts, line breaking, and figures with a description in words.

Figures stand on a solid, nearly white card, not on a transparent ground. A colour that is to be read on white paper
*and* on a black page can have a contrast of at most 4.6 with both, so that small coloured text and pale bars would
suffer on each; pictures, veils and heat maps need a known ground in any case. On a dark page the card looks like a
photograph on a table, on paper its ground prints as white.
"""

from __future__ import annotations

import re
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from einops import rearrange, repeat
from matplotlib import font_manager
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from minigpt4v.paths import data_folder

# Okabe & Ito (2008), "Color Universal Design": told apart with any common colour blindness. Their yellow is left out:
# on a light ground it has a contrast of 1.3. The order puts neighbours far apart in lightness too, for grey prints.
BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7"
PALETTE = (BLUE, ORANGE, GREEN, VERMILLION, SKY, PURPLE)
CARD, PANEL, RULE, QUIET, INK = "#fbfaf7", "#f2f0ea", "#d5d2c9", "#5c5a55", "#1d1d1f"
GOOD, BAD = "#00694c", "#a84300"  # green and vermillion, darkened until small text reads (contrast 6 on the card)
SHARES = LinearSegmentedColormap.from_list("shares", [CARD, "#9cc9e3", BLUE, "#063a5c"])  # light to dark, one hue

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

LATIN_FONT = "DejaVu Sans"  # comes with matplotlib
BUNDLED_FONT = "NotoSansSC-subset"
SYSTEM_FONTS = (
    *("Noto Sans SC", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "Source Han Sans CN"),
    *("PingFang SC", "Hiragino Sans GB", "Heiti SC", "Microsoft YaHei", "SimHei"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS"),
)
CLOSING = "。，、？！：；）》」』”’…,.?!:;)"  # may not begin a line


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
    """Give the figure its description, and let matplotlib make the tick labels now, while the style holds."""
    figure.alt_text = alt
    figure.draw_without_rendering()
    return figure


@cache
def chinese_font() -> str | None:
    """The name of a font family with Chinese characters: the bundled one, else one of the system's, else None.

    Warns:
        UserWarning: there is none; Chinese characters will be drawn as "�".
    """
    for path in sorted((data_folder() / "fonts").glob(f"{BUNDLED_FONT}.[ot]tf")):
        font_manager.fontManager.addfont(path)
        return font_manager.get_font(path).family_name
    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    for family in SYSTEM_FONTS:
        if family in installed:
            return family
    warnings.warn(
        f"no font for Chinese: data/fonts/{BUNDLED_FONT}.otf is missing and none of {', '.join(SYSTEM_FONTS)} is "
        "installed; put the file back or install one, for example with `apt-get install fonts-noto-cjk`",
        stacklevel=2,
    )
    return None


def font_families() -> tuple[str, ...]:
    """The fonts to look for a character in, in this order: Latin first, then Chinese."""
    chinese = chinese_font()
    return (LATIN_FONT, chinese) if chinese else (LATIN_FONT,)


@cache
def _characters_of(family: str) -> frozenset[int]:
    return frozenset(font_manager.get_font(font_manager.findfont(family)).get_charmap())


def missing_characters(text: str) -> str:
    """The characters of the text that no font of ours can draw, each once."""
    families = [_characters_of(family) for family in font_families()]
    drawn = set().union(*families)
    return "".join(dict.fromkeys(letter for letter in text if letter != "\n" and ord(letter) not in drawn))


def drawable(text: str) -> str:
    """The text with every character that no font has (emoji, control characters) replaced by "�", never by a box."""
    return text.translate(dict.fromkeys(map(ord, missing_characters(text)), "�"))


def visible(token: str) -> str:
    """A token as it is drawn: a space at either end, line ends and tabs become signs, and nothing becomes "∅"."""
    middle = token.strip(" ")
    start = len(token) - len(token.lstrip(" "))
    end = len(token) - start - len(middle)
    signs = "␣" * start + middle.replace("\n", "⏎").replace("\t", "⇥") + "␣" * end
    return drawable(signs) or "∅"


def text_width(text: str) -> int:
    """The width in columns: a Chinese character takes two."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def wrap(text: str, width: int) -> str:
    """Break a text into lines of at most `width` columns: between words, or between Chinese characters.

    Closing punctuation stays with what it closes, if need be one sign over the width; a longer word is cut.
    """
    lines = [""]
    for unit in _units(drawable(text), width):
        if unit == "\n":
            lines.append("")
        elif text_width(lines[-1] + unit.rstrip(CLOSING)) <= width:
            lines[-1] += unit
        else:
            lines.append(unit.lstrip(" "))
    return "\n".join(line.rstrip(" ") for line in lines)


def _units(text: str, width: int) -> Iterator[str]:
    """Pieces between which a line may end."""
    closing = re.escape(CLOSING)
    wide = "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uffe6"
    for piece in re.findall(rf"\n|[{wide}][{closing}]*| *[^\s{wide}]+[{closing}]*| ", text):
        yield piece[:width]
        for start in range(width, len(piece), width):
            yield piece[start : start + width]


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
    values = array.astype(np.float32) / (255 if array.dtype == np.uint8 else 1)
    low, high = float(values.min()), float(values.max())
    if not (low >= -1e-5 and high <= 1 + 1e-5):  # written so that NaN fails
        raise ValueError(f"a picture with values from {low:g} to {high:g} cannot be drawn: scale them to 0..1")
    return repeat(values, "h w 1 -> h w c", c=3) if values.shape[2] == 1 else values.clip(0, 1)
