"""One run at a time in a folder: a lock that the operating system takes back from a process that dies, however it dies.

The lock is on the file `run.lock`, which holds the process id and goes when the run ends. The file means nothing by
itself: one that a killed process has left stops nobody.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import BinaryIO

LOCK_NAME = "run.lock"
# Windows lets nobody read the bytes that are locked, and locks bytes that are not there: so one far behind the id.
_FAR = 1 << 30
_held: ContextVar[frozenset[Path]] = ContextVar("held", default=frozenset())


class FolderInUse(ValueError):
    """Another run holds the folder."""


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which is made where it is not there, and removed again if nothing comes into it.

    Who holds it already may hold it again: a command holds what its trainer holds.

    Raises FolderInUse where a run of another process, or of another thread, holds it.
    """
    resolved = folder.resolve()
    if resolved in _held.get():
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file = _hold(folder)
    token = _held.set(_held.get() | {resolved})
    try:
        yield
    finally:
        _held.reset(token)
        if sys.platform == "win32":  # which removes no file that is open
            file.close()
        with suppress(OSError):  # somebody else looks at it just now: it means nothing by itself
            (folder / LOCK_NAME).unlink()
        file.close()
        with suppress(OSError):  # those that are not empty stay
            for path in made:
                path.rmdir()


def _hold(folder: Path) -> BinaryIO:
    """The lock file of a folder, open and locked, with our process id in it."""
    path = folder / LOCK_NAME
    while True:
        file = _open(path)
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            holder = _holder(file)
            file.close()
            raise FolderInUse(
                f"{holder} is training in {str(folder)!r} already: wait until it is done, stop it with Ctrl-C and "
                "resume it, or name another folder"
            ) from None
        except OSError as error:
            print(
                f"{str(folder)!r} cannot be locked ({error.strerror}): take care to start no second run in it",
                file=sys.stderr,
            )
        if _is_at(file, path):
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            return file
        file.close()  # the run before has removed it between our opening and our locking: ours would be nobody's lock


def _open(path: Path) -> BinaryIO:
    """The file for reading and writing, made where it is not there, and not passed on to programs that we start."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b")


def _lock(file: BinaryIO) -> None:
    """Lock the file.

    Raises BlockingIOError (on Windows PermissionError) where it is locked, other OSErrors where nothing can be.
    """
    if sys.platform == "win32":
        import msvcrt

        file.seek(_FAR)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(file: BinaryIO) -> str:
    file.seek(0)
    identity = file.read(20)
    return f"process {int(identity)}" if identity.isdigit() else "another process"


def _is_at(file: BinaryIO, path: Path) -> bool:
    """Whether the file that is open is the one of that name still."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
