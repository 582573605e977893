"""Letters that are never boxes: which fonts draw a text, how wide it is, where its lines break.

Latin letters come from DejaVu Sans, which matplotlib brings along, Chinese characters from the font in data/fonts.
matplotlib looks for each character in the first font, then in the second. What neither has is replaced by "�".
"""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from functools import cache

from matplotlib import font_manager
from matplotlib.font_manager import FontProperties
from matplotlib.ft2font import FT2Font

from minigpt4v.paths import data_folder

LATIN_FONT = "DejaVu Sans"  # comes with matplotlib
BUNDLED_FONT = "NotoSansSC-subset"
SYSTEM_FONTS = (
    *("Noto Sans SC", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC", "Source Han Sans CN"),
    *("PingFang SC", "Hiragino Sans GB", "Heiti SC", "Microsoft YaHei", "SimHei"),
    *("WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Droid Sans Fallback", "Arial Unicode MS"),
)


@cache
def chinese_font() -> str | None:
    """The name of a font family with Chinese characters: the bundled one, else one of the system's, else None.

    Warns:
        UserWarning: there is none; Chinese characters will be drawn as "�".
    """
    for path in sorted((data_folder() / "fonts").glob(f"{BUNDLED_FONT}.[ot]tf")):
        # Under a name of its own, so that every machine draws with this very file; and as bold too, because there is
        # no bold cut, and matplotlib would say so in its log at each bold word.
        entry = font_manager.ttfFontProperty(font_manager.get_font(path))
        font_manager.fontManager.ttflist += [replace(entry, name=BUNDLED_FONT, weight=weight) for weight in (400, 700)]
        return BUNDLED_FONT
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


def missing_characters(text: str) -> str:
    """The characters of the text that no font of ours can draw, each once."""
    drawn = [_characters_of(family) for family in font_families()]
    return "".join(
        letter for letter in dict.fromkeys(text) if letter != "\n" and not any(ord(letter) in each for each in drawn)
    )


@cache
def _characters_of(family: str) -> frozenset[int]:
    """The code points that a font family can draw, plain and bold."""
    return frozenset(_font(family, False).get_charmap()) & frozenset(_font(family, True).get_charmap())


def _font(family: str, bold: bool) -> FT2Font:
    weight = "bold" if bold else "normal"
    return font_manager.get_font(font_manager.findfont(FontProperties(family=family, weight=weight)))


def drawable(text: str) -> str:
    """The text with every character that no font has (emoji, control characters) replaced by "�", never by a box."""
    return text.translate(dict.fromkeys(map(ord, missing_characters(text)), "�"))


def visible(token: str) -> str:
    """A token as it is drawn: outer spaces, line ends and tabs become signs, and nothing at all becomes "∅"."""
    middle = token.strip(" ")
    start = len(token) - len(token.lstrip(" "))
    end = len(token) - start - len(middle)
    signs = "␣" * start + middle.replace("\n", "⏎").replace("\t", "⇥") + "␣" * end
    return drawable(signs) or "∅"


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """The width of a one-line text in inches, at a font size in points."""
    return sum(_advance(letter, bold) for letter in text) * size / 72


@cache
def _advance(letter: str, bold: bool) -> float:
    """How far a character moves the pen, as a share of the font size."""
    for family in font_families():
        if ord(letter) in _characters_of(family):
            font = _font(family, bold)
            font.set_size(100, 72)
            return font.load_char(ord(letter)).linearHoriAdvance / 65536 / 100
    return 1.0


# Pieces between which a line may end: a Chinese character with the punctuation that closes it, a word, a space.
_WIDE, _CLOSING = "\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\uff00-\uffe6", "。，、？！：；）》」』”’…"
_PIECES = re.compile(rf"\n|[{_WIDE}][{_CLOSING}]*| *[^\s{_WIDE}]+| ")


def wrap(text: str, width: float, size: float = 10, *, bold: bool = False) -> str:
    """Break a text into lines of at most `width` inches: between words or Chinese characters, else inside a word."""
    lines = [""]
    for piece in _PIECES.findall(drawable(re.sub(r"[^\S\n]", " ", text))):
        if piece == "\n":
            lines.append("")
            continue
        if lines[-1] and text_width(lines[-1] + piece, size, bold=bold) > width:
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip(" ")
        while len(lines[-1]) > 1 and text_width(lines[-1], size, bold=bold) > width:  # one word, wider than the line
            word = lines[-1]
            end = next(
                n for n in range(len(word) - 1, 0, -1) if n == 1 or text_width(word[:n], size, bold=bold) <= width
            )
            lines[-1:] = [word[:end], word[end:]]
    return "\n".join(line.rstrip(" ") for line in lines)
