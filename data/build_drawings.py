"""The drawings: one SVG per emoji and style out of the packages, rendered to one atlas of 32x32 tiles per style."""

import io
import json
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import build_sources as sources

ICON_SETS = {
    "noto": sources.NOTO,
    "blob": sources.BLOB,
    "fluent": sources.FLUENT,
    "emojitwo": sources.EMOJITWO,
}
MISTAKEN = {"1f997"}  # the insect: the older sets draw the ball game under the name "cricket"
TILE_SIZE = 32
COLUMNS = ROWS = 32
RENDER_SIZE = 256
MARGIN = 1.06  # the drawing's longer side fills 1 / 1.06 of its tile
FAINTEST_ALPHA = 6  # fainter pixels are left out


def emoji_key(code_points: str) -> str:
    """The id of an emoji: its code points in lower-case hex, joined by "-", without the variation selector fe0f."""
    return "-".join(point for point in code_points.lower().split("-") if point != "fe0f")


def collect_drawings(records: list[dict[str, Any]], cache: Path) -> dict[str, dict[str, str]]:
    """For each style, the SVG text of every emoji that the style draws, by emoji id."""
    folders = {style: sources.unpacked(source, cache) for style, source in ICON_SETS.items()}
    names = _names_by_id(records, [folders["noto"], folders["fluent"]])
    drawings = {style: _from_icon_set(folder, names) for style, folder in folders.items()}
    svg_folder = sources.unpacked(sources.TWEMOJI, cache) / "dist" / "svg"
    files = {emoji_key(path.stem): path for path in svg_folder.glob("*.svg")}
    drawings["twemoji"] = {id_: files[id_].read_text(encoding="utf-8") for id_ in names if id_ in files}
    return drawings


def render_atlas(drawings: dict[str, str], ids: list[str]) -> bytes:
    """A PNG file with the drawing of `ids[i]` in tile i, row by row; tiles without a drawing stay transparent."""
    from PIL import Image

    atlas = Image.new("RGBA", (COLUMNS * TILE_SIZE, ROWS * TILE_SIZE))
    for index, id_ in enumerate(ids):
        if id_ in drawings:
            place = (index % COLUMNS * TILE_SIZE, index // COLUMNS * TILE_SIZE)
            atlas.paste(_render_tile(drawings[id_]), place)
    file = io.BytesIO()
    atlas.save(file, "PNG", optimize=True)
    return file.getvalue()


def _render_tile(svg: str) -> Any:
    """The drawing cut to its visible part, centred on a square and scaled down to one tile."""
    import resvg_py
    from PIL import Image

    rendered = resvg_py.svg_to_bytes(svg_string=svg, width=RENDER_SIZE, skip_system_fonts=True)
    picture = Image.open(io.BytesIO(bytes(rendered))).convert("RGBA")
    picture = picture.crop(picture.getchannel("A").point(lambda alpha: 255 * (alpha > 12)).getbbox())
    side = int(max(picture.size) * MARGIN) + 1
    square = Image.new("RGBA", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    tile = square.resize((TILE_SIZE, TILE_SIZE), Image.Resampling.LANCZOS)
    faint = tile.getchannel("A").point(lambda alpha: 255 * (alpha < FAINTEST_ALPHA))
    tile.paste((0, 0, 0, 0), mask=faint)
    return tile


def _names_by_id(records: list[dict[str, Any]], folders: Iterable[Path]) -> dict[str, list[str]]:
    """Every name under which a set may hold an emoji, best first: Unicode's list, CLDR, other sets, old names."""
    names = {record["id"]: [record["unicode_name"], record["en"]] for record in records}
    for folder in folders:
        for code_points, name in _read(folder, "chars.json").items():
            if emoji_key(code_points) in names:
                names[emoji_key(code_points)].append(name)
    for id_, found in names.items():
        if "-" not in id_:
            found.append(unicodedata.name(chr(int(id_, 16)), ""))
    return {id_: [_squeezed(name) for name in found] for id_, found in names.items()}


def _from_icon_set(folder: Path, names: dict[str, list[str]]) -> dict[str, str]:
    """SVG texts by emoji id: by code point where the set has a table of them, else by name."""
    icon_set = _read(folder, "icons.json")
    icons = dict(icon_set["icons"])
    for alias, target in icon_set.get("aliases", {}).items():
        if set(target) == {"parent"}:
            icons[alias] = icons[target["parent"]]
    names_by_code = {emoji_key(code): name for code, name in _read(folder, "chars.json").items()}
    if names_by_code:
        return {id_: _svg(icons[names_by_code[id_]], icon_set) for id_ in names if names_by_code.get(id_) in icons}
    icons = {_squeezed(name): icon for name, icon in reversed(icons.items())}
    chosen = {id_: next((name for name in found if name in icons), None) for id_, found in names.items()}
    return {id_: _svg(icons[name], icon_set) for id_, name in chosen.items() if name and id_ not in MISTAKEN}


def _svg(icon: dict[str, Any], icon_set: dict[str, Any]) -> str:
    def number(key: str, default: int) -> Any:
        return icon.get(key, icon_set.get(key, default))

    box = f"{number('left', 0)} {number('top', 0)} {number('width', 16)} {number('height', 16)}"
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {spaces} viewBox="{box}">{icon["body"]}</svg>'


def _squeezed(name: str) -> str:
    """Only the letters and digits of a name, without accents: "piñata" and "Pinata" are one."""
    plain = unicodedata.normalize("NFKD", name.lower().replace("&", "and"))
    return re.sub(r"[^a-z0-9]", "", plain)


def _read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
    return content
