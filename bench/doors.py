"""What the doors of `bench.fuzz_doors` share: files drawn from whole samples with damage, what a refusal must be."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from enum import Enum
from pathlib import Path
from random import Random
from typing import ClassVar

from bench.mutations import damage_for

LONGEST_MESSAGE = 3000  # characters


class Odd(Enum):
    """What can go by a file's name without being a file; GONE is nothing at all."""

    GONE = "nothing"
    FOLDER = "a folder"
    PIPE = "a pipe"  # reading one waits for ever
    DEVICE = "a device"  # reading /dev/zero never ends
    LOOP = "a link to itself"


Files = dict[str, bytes | Odd]


class Door(ABC):
    """A way in for files from strangers.

    samples: whole inputs, each accepted as it is. refusals: the errors that the readers document. reading: a refusal
    must name one of the files, or the folder; `enter` sets it to False when all is read, before it uses that.
    """

    name: ClassVar[str]
    refusals: ClassVar[tuple[type[Exception], ...]] = (ValueError, OSError)
    reading = True
    odd: ClassVar[float] = 0.02  # the share of inputs in which something that is no file has a file's name

    def __init__(self, folder: Path):
        self.folder = folder
        self._there: Files = {}
        self.samples = self.make_samples(folder)

    @abstractmethod
    def make_samples(self, folder: Path) -> list[Files]: ...

    @abstractmethod
    def enter(self) -> None:
        """Read what is in the folder: accept it, and assert that what it gives is sound; or raise one of `refusals`."""

    def draw(self, random: Random) -> Files:
        """A sample, most often with damage to one of its files."""
        files = dict(random.choice(self.samples))
        for name in random.sample([*files], min(len(files), random.choice((1, 1, 1, 1, 2)))):
            files[name] = self.damage(random, name, files[name])
        return files

    def damage(self, random: Random, name: str, content: bytes | Odd) -> bytes | Odd:
        """One file of a sample, damaged; a few are whole, or empty, or something else than a file."""
        if isinstance(content, Odd) or random.random() < self.odd:
            return random.choice((*Odd, b""))
        return random.choice(damage_for(name, content))(random, content)

    def put(self, files: Files) -> None:
        """Make the folder hold these files and no others."""
        for name in self._there.keys() | files.keys():
            if self._there.get(name) != files.get(name):
                _put(self.folder / name, files.get(name, Odd.GONE))
        self._there = dict(files)

    def visit(self, files: Files) -> bool:
        """Whether the input is accepted; False where it is refused in one clear sentence. All else is a crash."""
        self.put(files)
        self.reading = True
        try:
            self.enter()
        except self.refusals as error:
            check_refusal(error)
            self._check_message(str(error), files)
            return False
        return True

    def _check_message(self, message: str, files: Files) -> None:
        assert 8 < len(message) <= LONGEST_MESSAGE, f"a refusal of {len(message)} characters: {message[:300]!r}"
        names = (self.folder.name, *(Path(name).name for name in files))
        assert not self.reading or any(name in message for name in names), f"a refusal that names no file: {message!r}"


def check_refusal(error: Exception) -> None:
    """An error in words of our own, which cannot steer a terminal, on one line."""
    assert not isinstance(error, UnicodeError | json.JSONDecodeError), f"a refusal in Python's words: {error!r}"
    check_printable(str(error))


def check_printable(message: str) -> None:
    """A message that cannot steer a terminal, on one line."""
    assert message.isprintable(), f"a refusal that is not one printable line: {message!r}"


def _put(path: Path, content: bytes | Odd) -> None:
    if path.is_symlink() or path.exists():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is Odd.FOLDER:
        path.mkdir()
    elif content is Odd.PIPE:
        os.mkfifo(path)
    elif content is not Odd.GONE:
        path.symlink_to("/dev/zero" if content is Odd.DEVICE else path.name)
