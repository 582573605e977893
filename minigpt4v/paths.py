"""Where the project's data and records lie, and how files are written so that a crash never leaves half of one."""

import json
import os
import tempfile
from pathlib import Path
from typing import Any

PACKAGE_FOLDER = Path(__file__).resolve().parent
_HALF = ".part"


def data_folder() -> Path:
    """The folder with the emoji atlases, texts and shipped checkpoints.

    An installed library carries it inside the package (`minigpt4v/data`), a checkout beside the package (`data`).

    Raises:
        FileNotFoundError: neither folder exists.
    """
    return _first_folder("data", PACKAGE_FOLDER / "data", PACKAGE_FOLDER.parent / "data")


def notebooks_folder() -> Path:
    """The folder with the notebooks of the course: inside an installed library, beside the package in a checkout.

    Raises:
        FileNotFoundError: neither folder exists.
    """
    return _first_folder("notebooks", PACKAGE_FOLDER / "notebooks", PACKAGE_FOLDER.parent / "notebooks")


def load_record(name: str) -> Any:
    """What an experiment that is too long for a chapter has recorded: bench/results/NAME.json, "fusion" for example.

    Raises:
        ValueError: there is no such record.
        FileNotFoundError: there are no records at all.
    """
    folder = _first_folder("records", PACKAGE_FOLDER / "results", PACKAGE_FOLDER.parent / "bench" / "results")
    names = sorted(path.stem for path in folder.glob("*.json"))
    if name not in names:
        raise ValueError(f"there is no record {name!r}: choose one of {', '.join(names)}")
    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))


def _first_folder(what: str, *candidates: Path) -> Path:
    for folder in candidates:
        if folder.is_dir():
            return folder
    places = " nor ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(f"the {what} folder is neither {places}: install minigpt4v again or use a full checkout")


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part (text as UTF-8).

    The bytes go to a temporary file in the same folder, reach the disk, and then take the name in one step.

    Raises:
        OSError: the folder does not exist, may not be written, or the disk is full; `path` is then unchanged.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_HALF)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_permissions_for(path))
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException:  # Ctrl-C too: leave no litter behind
        temporary.unlink(missing_ok=True)
        raise


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder would outlive a power cut. Windows has no way to say so."""
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_litter(path: Path) -> bool:
    """Whether the file is what `write_atomically` leaves where its process is killed: a half-written one."""
    return path.name.startswith(".") and path.name.endswith(_HALF)


def _permissions_for(path: Path) -> int:
    """The permissions `open(path, "w")` would leave: those of the old file, or 0o666 less the user's umask."""
    if path.exists():
        return path.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
