"""Notebooks for the tests of copies, handouts and grading."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from minigpt4v.classroom.notebook_files import Notebook, course_notebooks, handed_out, read_notebook, source_of

SOLUTIONS = {
    "00.1": "def share_of_right_answers(mine, true):\n    return sum(a == b for a, b in zip(mine, true)) / len(true)",
    "00.2": "def always_guess(true):\n    return max(map(true.count, true)) / len(true)",
    "00.3": "def channels_first(pictures):\n    return pictures.permute(0, 3, 1, 2)",
}


def cell(source: str, kind: str = "code", **more: Any) -> dict[str, Any]:
    code = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": source} | code | more


def notebook(*cells: dict[str, Any] | str) -> Notebook:
    """A notebook of cells, or of the sources of code cells."""
    made = [each if isinstance(each, dict) else cell(each) for each in cells]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return {"cells": made, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def write(path: Path, content: Notebook) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def sources(path: Path) -> list[str]:
    return [source_of(each) for each in read_notebook(path)["cells"]]


def chapter(number: str) -> Notebook:
    """A chapter as a learner gets it."""
    (path,) = [path for path in course_notebooks() if path.name.startswith(f"{number}_")]
    return handed_out(read_notebook(path))


def exercises_only(content: Notebook, answers: dict[str, str]) -> Notebook:
    """The cells of a chapter from its first card on, with other code in place of some stubs."""
    cells = content["cells"]
    begin = next(
        place for place, each in enumerate(cells) if re.search(r'^card\("|^\*\*Exercise', source_of(each), re.M)
    )
    kept = [each for each in cells[begin:] if "progress_widget()" not in source_of(each).splitlines()]
    return content | {"cells": [each | {"source": _answered(source_of(each), answers)} for each in kept]}


def _answered(source: str, answers: dict[str, str]) -> str:
    return next((code for number, code in answers.items() if f'check("{number}"' in source), source)


def use_course(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Take another folder for that of the course's notebooks."""
    monkeypatch.setattr("minigpt4v.classroom.notebook_files.notebooks_folder", lambda: folder)
