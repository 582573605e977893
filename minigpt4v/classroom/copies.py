"""A learner's own copy of the course, and what a newer course brings to it without touching the learner's work."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from minigpt4v.classroom.notebook_files import (
    Notebook,
    as_file,
    course_notebooks,
    digest_of,
    handed_out,
    read_notebook,
)
from minigpt4v.paths import write_atomically

MANIFEST = "minigpt4v-course.txt"
_HEADING = (
    "# What the course has put here, each with a digest of its cells: it tells which chapters you have changed.\n"
)
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")

NEW, UPDATED, SAME, YOURS, BESIDE = "new", "updated", "unchanged", "yours", "beside"
_SAYS = {
    NEW: "new",
    UPDATED: "updated",
    SAME: "",
    YOURS: "changed by you, kept",
    BESIDE: "changed by you and by the course: yours is kept, the new one is ",
}


@dataclass(frozen=True)
class Change:
    """What became of one chapter.

    Attributes:
        name: of the file in the learner's folder.
        kind: NEW, UPDATED (the learner had not changed it), SAME, YOURS (changed by the learner alone, and kept) or
            BESIDE (changed by both: the learner's is kept, and the course's put beside it).
        beside: the name of the course's version, for BESIDE.
    """

    name: str
    kind: str
    beside: str = ""

    @property
    def says(self) -> str:
        """In words; nothing where there is nothing to tell."""
        return _SAYS[self.kind] + self.beside

    @property
    def brings(self) -> bool:
        """Whether something was written."""
        return self.kind in (NEW, UPDATED, BESIDE)


def is_copy(folder: Path) -> bool:
    """Whether the folder is a copy of the course that can be updated."""
    return (folder / MANIFEST).is_file()


def start_copy(folder: Path) -> list[Change]:
    """Put the course into a folder, which is made if need be.

    The manifest is written first: what is interrupted here can be completed with `update_copy`.
    Raises OSError where the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_manifest(folder, {})
    return update_copy(folder)


def update_copy(folder: Path) -> list[Change]:
    """Bring what is new in the course into a learner's copy. Raises OSError where the folder cannot be written."""
    given = _read_manifest(folder)
    changes = [_bring(folder, path.name, handed_out(read_notebook(path)), given) for path in course_notebooks()]
    _write_manifest(folder, given)  # at the end: without it, what has been brought is found to be the course's own
    return changes


def _bring(folder: Path, name: str, fresh: Notebook, given: dict[str, str]) -> Change:
    """One chapter; `given` then says what the learner was given last."""
    before, here, new = given.get(name), _digest_in(folder / name), digest_of(fresh)
    given[name] = new
    if here == new:
        return Change(name, SAME)
    if here is None or here == before:
        write_atomically(folder / name, as_file(fresh))
        return Change(name, NEW if here is None else UPDATED)
    if before == new:
        return Change(name, YOURS)
    beside = _free_name(folder, Path(name).stem, given, new)
    write_atomically(folder / beside, as_file(fresh))
    given[beside] = new
    return Change(name, BESIDE, beside)


def _free_name(folder: Path, stem: str, given: dict[str, str], new: str) -> str:
    """A name for the course's version, under which no work of the learner lies: "03_attention.new.ipynb"."""
    name, number = f"{stem}.new.ipynb", 1
    while _digest_in(folder / name) not in (None, given.get(name), new):
        number += 1
        name = f"{stem}.new{number}.ipynb"
    return name


def _digest_in(path: Path) -> str | None:
    """The digest of a notebook; None where there is no file, and "" where it is none that can be read."""
    if not path.exists():
        return None
    try:
        return digest_of(read_notebook(path))
    except ValueError:
        return ""


def _read_manifest(folder: Path) -> dict[str, str]:
    """File name -> digest of what was handed out. Lines that are none of ours are passed over."""
    lines = (folder / MANIFEST).read_text(encoding="utf-8", errors="replace").splitlines()
    return {found[2]: found[1] for line in lines if (found := _LINE.fullmatch(line.strip()))}


def _write_manifest(folder: Path, given: dict[str, str]) -> None:
    write_atomically(folder / MANIFEST, _HEADING + "".join(f"{given[name]}  {name}\n" for name in sorted(given)))
