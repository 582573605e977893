"""Where in a notebook an exercise is asked and answered.

The answer to an exercise is what stands between its card and the next one, under the name that the course's own
notebook gives to `check`: whatever a learner has done to the cell with the check, or printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from minigpt4v.classroom.notebook_files import Cell, Notebook, course_notebooks, read_notebook, source_of

CARD = re.compile(r'^card\("(\d\d\.\d+)"\)$', re.MULTILINE)
_CHECK = re.compile(r'^check\("(\d\d\.\d+)", (\w+)\)$', re.MULTILINE)
_MENTION = r"""^(card|check)\(\s*["']{0}["']|^\*\*Exercise {0} """  # in a code cell; in the text of a handout


@dataclass(frozen=True)
class Asked:
    """An exercise as the course asks for it: the name that the answer goes by, and the ids of the card and the stub."""

    number: str
    name: str
    cells: frozenset[str]


@dataclass(frozen=True)
class Region:
    """The cells of a notebook, `start` to before `end`, that belong to an exercise (several if merged)."""

    asked: list[Asked]
    start: int
    end: int


def asked_in(chapter: str) -> list[Asked]:
    """The exercises of a chapter, as the course's own notebook of it asks for them."""
    cells = [
        (source_of(cell), cell["id"])
        for path in course_notebooks()
        if path.name.startswith(f"{chapter}_")
        for cell in read_notebook(path)["cells"]
        if cell["cell_type"] == "code"
    ]
    cards = {found[1]: name for source, name in cells for found in CARD.finditer(source)}
    return [
        Asked(found[1], found[2], frozenset({cards[found[1]], name}))
        for source, name in cells
        for found in _CHECK.finditer(source)
    ]


def regions_of(notebook: Notebook, exercises: list[Asked]) -> list[Region]:
    """The regions of the exercises that a learner's notebook has cells of, from top to bottom."""
    cells = notebook["cells"]
    found: dict[int, list[Asked]] = {}
    for asked in exercises:
        start = _start(asked, cells)
        if start is not None:
            found.setdefault(start, []).append(asked)
    starts = sorted(found)
    ends = [*starts[1:], len(cells)]
    return [Region(found[start], start, end) for start, end in zip(starts, ends, strict=False)]


def _start(asked: Asked, cells: list[Cell]) -> int | None:
    """The first of the cells that the course made for the exercise; else the first that names it."""
    mention = re.compile(_MENTION.format(re.escape(asked.number)), re.MULTILINE)
    ours = [place for place, cell in enumerate(cells) if cell.get("id") in asked.cells]
    named = [place for place, cell in enumerate(cells) if mention.search(source_of(cell))]
    return min(ours or named, default=None)
