"""Rebuild every data file of the project from named package versions.

    python data/build.py            build all files and `checksums.json` again
    python data/build.py --check    build, compare with the committed files, write nothing

Needs Linux on x86-64 for the same bytes, Python 3.11 or newer with pip, npm, and Debian's apt-get and dpkg-deb with
Debian 12 as a package source. About 3 minutes, a download of 180 MB and 750 MB of cache the first time.
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import build_drawings
import build_font
import build_names
import build_text
from build_sources import HERE, add_tools

BY_HAND = ("LICENSES/*", "emoji/*.tsv", "text/*.tsv")


def build(cache: Path) -> Iterator[tuple[str, bytes]]:
    """Every built file, one after the other: its path inside `data` and its content."""
    records = build_names.emoji_records(cache)
    drawings = build_drawings.collect_drawings(records, cache)
    ids = [record["id"] for record in records]
    for style, drawn in drawings.items():
        yield f"emoji/{style}.png", build_drawings.render_atlas(drawn, ids)
    nouns = build_names.noun_lines(records)
    yield "emoji/emoji.jsonl", build_names.emoji_lines(records, drawings).encode()
    yield "emoji/nouns.jsonl", nouns.encode()
    poems = build_text.tang_quatrains(cache)
    yield "text/shakespeare.txt", build_text.shakespeare().encode()
    yield "text/tang_quatrains.txt", poems.encode()
    characters = "".join([*build_text.COMMON, build_names.names_of(records), nouns, poems])
    yield "fonts/NotoSansSC-subset.otf", build_font.subset_font(characters, cache)


def checksums(built: dict[str, str]) -> str:
    """`checksums.json`: the SHA-256 of the built files and of the files that were written or copied by hand."""
    paths = sorted(path for pattern in BY_HAND for path in HERE.glob(pattern))
    by_hand = {path.relative_to(HERE).as_posix(): sha256(path.read_bytes()) for path in paths}
    content: dict[str, Any] = {"built": dict(sorted(built.items())), "by_hand": by_hand}
    return json.dumps(content, indent=2) + "\n"


def sha256(content: bytes) -> str:
    """The checksum in hex."""
    return hashlib.sha256(content).hexdigest()


def main() -> int:
    """Build or check, as the command line says: exit code 1 where a committed file differs from the built one."""
    parser = argparse.ArgumentParser(description="Rebuild the data files from named package versions.")
    parser.add_argument("--cache", type=Path, default=HERE.parent / "build" / "data", help="folder for the packages")
    parser.add_argument("--check", action="store_true", help="compare with the committed files and write nothing")
    arguments = parser.parse_args()
    arguments.cache.mkdir(parents=True, exist_ok=True)
    cache = arguments.cache.resolve()
    add_tools(cache)

    built: dict[str, str] = {}
    different = []
    for name, content in build(cache):
        path = HERE / name
        built[name] = sha256(content)
        same = path.is_file() and path.read_bytes() == content
        print(f"{name:32} {len(content):>9,} bytes  {'same' if same else 'different'}")
        if not same:
            different.append(name)
            if not arguments.check:
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content)
    if not arguments.check:
        (HERE / "checksums.json").write_text(checksums(built), encoding="utf-8")
        return 0
    if (HERE / "checksums.json").read_text(encoding="utf-8") != checksums(built):
        different.append("checksums.json")
    print(f"not as built: {', '.join(different)}" if different else "every committed file is as built")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
