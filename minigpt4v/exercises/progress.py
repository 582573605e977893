"""Which exercises are done: a plain file in the learner's own folder, and how far that is."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from minigpt4v.exercises.catalogue import chapters, exercises_of
from minigpt4v.foreign_files import check_file
from minigpt4v.paths import write_atomically

FILE_NAME = "minigpt4v-progress.txt"
_HEADING = "# The exercises you have passed. Take a line out to forget it.\n"
_LINE = re.compile(r"(\d\d\.\d+) passed \d{4}-\d\d-\d\d")
_BAR = 20  # characters


def progress_file() -> Path:
    """Where progress is kept: $MINIGPT4V_PROGRESS, else in ./notebooks if that is the course, else in this folder."""
    named = os.environ.get("MINIGPT4V_PROGRESS")
    if named:
        return Path(named)
    course = Path("notebooks")
    return (course if (course / "00_welcome.ipynb").is_file() else Path()) / FILE_NAME


def passed() -> set[str]:
    """The ids of the exercises that were passed. Lines that are none of ours are passed over."""
    return passed_in(progress_file())


def passed_in(file: Path) -> set[str]:
    """The same of any file; nothing where it cannot be read."""
    try:
        check_file(file)
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        return set()
    return {found[1] for line in lines if (found := _LINE.fullmatch(line.strip()))}


def record(number: str) -> None:
    """Note that an exercise was passed; all other lines of the file stay as they are.

    Raises OSError where the file cannot be written; it is then as it was.
    """
    if number in passed():
        return
    file = progress_file()
    if file.exists() and not file.is_file():
        raise OSError(f"{str(file)!r} is no file")
    before = file.read_text(encoding="utf-8", errors="replace") if file.exists() else _HEADING
    write_atomically(file, f"{before.rstrip()}\n{number} passed {date.today().isoformat()}\n")


@dataclass(frozen=True)
class ChapterProgress:
    """How many exercises of one chapter are done."""

    chapter: str
    title: str
    done: int
    total: int


class Progress:
    """How far the learner is, chapter by chapter, with a bar for each."""

    def __init__(self) -> None:
        done = passed()
        self.chapters = [
            ChapterProgress(chapter, title, len(done & ids), len(ids))
            for chapter, title in chapters().items()
            if (ids := {exercise.id for exercise in exercises_of(chapter)})
        ]

    def __repr__(self) -> str:
        width = max(len(row.title) for row in self.chapters)
        rows = [f"{row.chapter} {row.title:<{width}} {_bar(row)} {row.done}/{row.total}" for row in self.chapters]
        done, total = sum(row.done for row in self.chapters), sum(row.total for row in self.chapters)
        return "\n".join([*rows, f"{done} of {total} exercises done"])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td>{row.chapter}</td><td style='text-align: left'>{row.title}</td>"
            f"<td><progress value='{row.done}' max='{row.total}'></progress></td><td>{row.done}/{row.total}</td></tr>"
            for row in self.chapters
        )
        return f"<table>{cells}</table>"


def _bar(row: ChapterProgress) -> str:
    full = _BAR * row.done // row.total
    return "█" * full + "░" * (_BAR - full)


def progress_widget() -> Any:
    """The bars of `Progress` with a button that reads the file again, as an ipywidget."""
    import ipywidgets

    bars = ipywidgets.HTML(Progress()._repr_html_())
    button = ipywidgets.Button(description="Refresh", icon="refresh")
    button.on_click(lambda _: bars.set_trait("value", Progress()._repr_html_()))
    words = "<the bars of your progress, with a button that reads them again>"  # for a page, which shows no widgets
    return type("ProgressBox", (ipywidgets.VBox,), {"__repr__": lambda _: words})([bars, button])
