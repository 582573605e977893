"""The model alive on a page: all that `book/live/` needs beside its scripts, for the book (`make book`).

The runtime that computes in the browser comes from npm, one pinned and checked version, and is not committed. Without
npm, or without a network, the book is built all the same: its page then says what is missing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange, repeat
from PIL import Image

from minigpt4v import GPT4V
from minigpt4v.datasets.emoji import TILE_SIZE
from minigpt4v.datasets.scenes import GROUNDS, IMAGE_SIZE, World, load_world
from minigpt4v.export import export
from minigpt4v.paths import write_atomically

SCRIPTS = Path(__file__).parent / "live"
RUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
RUNTIME_FOLDER = Path(sys.prefix) / "share" / "onnxruntime-web"  # beside all else that was installed
RUNTIME_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def main() -> None:
    """Fetch the runtime now, as `make setup` does, so that nothing later needs the network; say so where it fails."""
    runtime_is_here()


def add_live_model(book: Path, model: str = "laptop") -> bool:
    """Put a model, the drawings and the runtime into BOOK/live, beside the scripts; False where there is no runtime."""
    if not runtime_is_here():
        return False
    folder = book / "live"
    shutil.copytree(RUNTIME_FOLDER, folder / "runtime", dirs_exist_ok=True)
    sizes = export(GPT4V.from_pretrained(model), folder)
    world = load_world()
    write_atomically(folder / "tiles.png", tile_sheet(world))
    to_wake = sum(sizes.values()) + (folder / "runtime" / RUNTIME_FILES[-1]).stat().st_size
    write_atomically(folder / "world.json", json.dumps(facts(world) | {"bytes": to_wake}, ensure_ascii=False) + "\n")
    return True


def runtime_is_here() -> bool:
    """Whether the runtime is in its folder, or could be fetched; says on stderr why not."""
    try:
        fetch_runtime(RUNTIME_FOLDER)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Without the live model in the book, for which npm must fetch {RUNTIME}: {error}", file=sys.stderr)
        return False
    return True


def fetch_runtime(folder: Path) -> None:
    """The files of the runtime into a folder, unless they are there.

    Raises OSError where there is no npm or the package is not the pinned one, CalledProcessError where npm fails.
    """
    if all((folder / name).is_file() for name in RUNTIME_FILES):
        return
    folder.mkdir(parents=True, exist_ok=True)
    command = ["npm", "pack", RUNTIME, "--silent", "--pack-destination", str(folder)]
    archive = folder / subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()
    content = archive.read_bytes()
    archive.unlink()
    found = base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != RUNTIME_SHA512:
        raise OSError(f"{archive.name} has the SHA-512 {found} instead of {RUNTIME_SHA512}")
    unpack(content, folder)


def unpack(archive: bytes, folder: Path) -> None:
    """The files of the runtime out of npm's package."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as package:
        for name in RUNTIME_FILES:
            part = package.extractfile(f"package/dist/{name}")
            assert part is not None, f"{name} is not a file"
            write_atomically(folder / name, part.read())


def tile_sheet(world: World) -> bytes:
    """Every drawing as a PNG: a row a style, colours above, alphas as grey below.

    Apart, because a browser's canvas would round the colours of half transparent pixels.
    """
    tiles = np.stack([world.tiles[style][: world.trained] for style in _styles(world)])
    sheet = rearrange(tiles, "style noun y x channel -> (style y) (noun x) channel")
    alpha = repeat(sheet[:, :, 3], "y x -> y x channel", channel=3)
    file = io.BytesIO()
    Image.fromarray(np.concatenate([sheet[:, :, :3], alpha])).save(file, "PNG", optimize=True)
    return file.getvalue()


def facts(world: World) -> dict[str, Any]:
    """What the scripts must know of a world: world.json."""
    nouns = range(world.trained)
    visible = {
        style: [sorted(world.grounds(style, noun), key=list(GROUNDS).index) for noun in nouns]
        for style in _styles(world)
    }
    return {
        "imageSize": IMAGE_SIZE,
        "tileSize": TILE_SIZE,
        "grounds": GROUNDS,
        "styles": world.styles,
        "allStyles": _styles(world),
        "nouns": [{"en": noun.en, "zh": noun.zh} for noun in world.nouns[: world.trained]],
        "visible": visible,
    }


def _styles(world: World) -> tuple[str, ...]:
    return (*world.styles, world.held_out_style)


if __name__ == "__main__":
    main()
