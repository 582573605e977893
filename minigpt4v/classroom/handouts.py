"""Notebooks without solutions, for a class: each card becomes text with the task, the hint and the help."""

from __future__ import annotations

import re
from pathlib import Path

from minigpt4v.classroom.notebook_files import (
    Cell,
    Notebook,
    as_file,
    course_notebooks,
    handed_out,
    read_notebook,
    source_of,
)
from minigpt4v.classroom.regions import CARD
from minigpt4v.exercises import card
from minigpt4v.paths import write_atomically

_IMPORT = re.compile(r"^from minigpt4v\.exercises import (.+)$", re.MULTILINE)
# What the chapters say of their cards, as it holds without solutions.
_SAYS = (
    (re.compile(r"a hint, help for the likely error, and the\s+solution"), "a hint and help for the likely error"),
    (re.compile(r"a hint, help and the\s+solution"), "a hint and help"),
)


def write_handouts(folder: Path, chapters: tuple[str, ...] = ()) -> list[str]:
    """Write the handouts of some chapters, "03" or "3" (default: of all), into a folder; returns the files' names.

    Raises ValueError where a chapter does not exist, and OSError where the folder cannot be made or written.
    """
    paths = _choose(chapters)
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        write_atomically(folder / path.name, as_file(without_solutions(handed_out(read_notebook(path)))))
    return [path.name for path in paths]


def without_solutions(notebook: Notebook) -> Notebook:
    """The same notebook with its cards as text, and nothing in it that would show a solution when it is run."""
    return notebook | {"cells": [new for cell in notebook["cells"] for new in _without_solution(cell)]}


def _without_solution(cell: Cell) -> list[Cell]:
    """The cells that stand for one cell. The text of a card has the id of the card's cell: graders look for it."""
    source = source_of(cell)
    if cell["cell_type"] != "code":
        for pattern, text in _SAYS:
            source = pattern.sub(text, source)
        return [cell | {"source": source}]
    rest = _IMPORT.sub(_import_without_card, CARD.sub("", source)).strip()
    shown = [_card_as_text(number, cell["id"]) for number in CARD.findall(source)]
    kept = cell | {"source": rest} | ({"id": f"{cell['id']}-rest"} if shown else {})
    return [kept, *shown] if rest else shown


def _card_as_text(number: str, name: str) -> Cell:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": card(number).markdown(solution=False)}


def _import_without_card(found: re.Match[str]) -> str:
    names = [name for name in found[1].split(", ") if name != "card"]
    return f"from minigpt4v.exercises import {', '.join(names)}" if names else ""


def _choose(chapters: tuple[str, ...]) -> list[Path]:
    by_number = {path.name.partition("_")[0]: path for path in course_notebooks()}
    wanted = [chapter.zfill(2) if chapter.isdigit() else chapter for chapter in chapters]
    for number in wanted:
        if number not in by_number:
            raise ValueError(f"there is no chapter {number!r}: choose from {', '.join(by_number)}")
    return [path for number, path in by_number.items() if number in wanted or not wanted]
