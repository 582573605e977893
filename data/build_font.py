"""The font: the part of Noto Sans CJK SC that our texts and names need, for Chinese labels in figures."""

import io
from pathlib import Path
from typing import Any

import build_sources as sources

FAMILY = "Noto Sans CJK SC"
MARKS = "·×—–‘’“”…‰℃→←↑↓、。〈〉《》「」『』【】〔〕！（），：；？～￥％＋－＝"
ASCII = "".join(chr(code) for code in range(0x20, 0x7F))


def subset_font(characters: str, cache: Path) -> bytes:
    """An OpenType file with the given characters, ASCII and punctuation, without layout features and hints.

    Raises:
        ValueError: the font lacks a character that a name or text uses.
    """
    from fontTools.subset import Options, Subsetter

    font = _regular(sources.unpacked(sources.FONT, cache))
    wanted = {ord(character) for character in characters + MARKS + ASCII if character.isprintable()}
    if missing := wanted - set(font.getBestCmap()):
        raise ValueError(
            f"{FAMILY} has no {''.join(map(chr, sorted(missing)))}: leave these characters out of the data"
        )
    options = Options()
    options.layout_features = []
    options.hinting = False
    options.name_IDs = ["*"]
    options.name_languages = [0x409]
    options.drop_tables += ["BASE", "VORG", "vhea", "vmtx"]
    subsetter = Subsetter(options)
    subsetter.populate(unicodes=wanted)
    subsetter.subset(font)
    file = io.BytesIO()
    font.save(file)
    return file.getvalue()


def _regular(folder: Path) -> Any:
    from fontTools.ttLib import TTCollection

    fonts = TTCollection(folder / "usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc", lazy=True).fonts
    chosen = next(font for font in fonts if font["name"].getBestFamilyName() == FAMILY)
    chosen.recalcTimestamp = False  # the same bytes on every day
    return chosen
