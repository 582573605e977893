"""Where the project's data lie, and how files are written so that a crash never leaves half of one."""

import os
import tempfile
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).resolve().parent


def data_folder() -> Path:
    """The folder with the emoji atlases, texts and shipped checkpoints.

    An installed library carries it inside the package (`minigpt4v/data`), a checkout beside the package (`data`).

    Raises:
        FileNotFoundError: neither folder exists.
    """
    candidates = (PACKAGE_FOLDER / "data", PACKAGE_FOLDER.parent / "data")
    for folder in candidates:
        if folder.is_dir():
            return folder
    places = " nor ".join(str(folder) for folder in candidates)
    raise FileNotFoundError(f"the data folder is neither {places}: install minigpt4v again or work in a full checkout")


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` to `path` so that a reader sees the old file or the new one, never a part (text as UTF-8).

    The bytes go to a temporary file in the same folder, reach the disk, and then take the name in one step.

    Raises:
        OSError: the folder does not exist, may not be written, or the disk is full; `path` is then unchanged.
    """
    path = Path(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_permissions_for(path))
        temporary.replace(path)
    except BaseException:  # Ctrl-C too: leave no litter behind
        temporary.unlink(missing_ok=True)
        raise


def _permissions_for(path: Path) -> int:
    """The permissions `open(path, "w")` would leave: those of the old file, or 0o666 less the user's umask."""
    if path.exists():
        return path.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
