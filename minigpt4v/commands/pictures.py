"""Pictures that commands write: PNG files, whole or not at all, and no window on any screen."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from minigpt4v.commands.output import BadInput

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def png_path(out: str) -> Path:
    """The path of a picture to be written. Raises `BadInput` where none can be written there."""
    path = Path(out)
    if path.suffix.lower() != ".png":
        raise BadInput(f"--out {out!r}: the picture is a PNG, so give a name that ends in .png")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise BadInput(f"--out {out!r} cannot be written: give the name of a file in a folder that exists")
    return path


def save_figure(draw: Callable[[], Figure], path: Path) -> None:
    """Draw a figure and write it to a PNG file."""
    import matplotlib as mpl

    mpl.use("agg")  # draws into memory, wherever this runs
    from matplotlib import pyplot as plt

    from minigpt4v.paths import write_atomically

    figure, file = draw(), io.BytesIO()
    figure.savefig(file, format="png")
    plt.close(figure)
    write_atomically(path, file.getvalue())
