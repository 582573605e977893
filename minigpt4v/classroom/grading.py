"""Grading what learners have handed in: each notebook in a process of its own, each exercise judged by the grader.

Nothing that a notebook prints counts. After the cells of an exercise the grader itself judges what goes by the name
that the exercise asks for, with the checks of its own installation.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from minigpt4v.classroom.inside import UNDEFINED
from minigpt4v.classroom.limited_kernel import KernelStopped, Limits, Outcome, limited_kernel
from minigpt4v.classroom.notebook_files import Cell, read_notebook, source_of
from minigpt4v.classroom.regions import Asked, Region, asked_in, regions_of
from minigpt4v.classroom.submissions import Submission
from minigpt4v.exercises.catalogue import exercises_of
from minigpt4v.exercises.examination import NOT_ATTEMPTED, NOT_YET_RIGHT, PASSED

MISSING, STOPPED = "missing", "stopped"
_STATUS = {PASSED: "passed", NOT_YET_RIGHT: "wrong", NOT_ATTEMPTED: "not attempted"}

Run = Callable[[str], Outcome]
Verdict = tuple[str, str]  # status, and why


@dataclass(frozen=True)
class Grade:
    """One row of the result; status is passed, wrong, not attempted, missing or stopped, and `says` why."""

    learner: str
    exercise: str
    status: str
    says: str


def grade(submission: Submission, chapter: str, limits: Limits) -> list[Grade]:
    """A grade for each exercise of a chapter. What is wrong with a submission is in its grades; nothing is raised."""
    numbers = [exercise.id for exercise in exercises_of(chapter)]
    verdicts = _verdicts(submission, chapter, limits, numbers)
    return [Grade(submission.learner, number, *verdicts[number]) for number in numbers]


def _verdicts(submission: Submission, chapter: str, limits: Limits, numbers: list[str]) -> dict[str, Verdict]:
    paths = submission.notebooks.get(chapter, [])
    if not paths and submission.unreadable:
        return dict.fromkeys(numbers, (STOPPED, submission.unreadable[0]))
    if not paths:
        return dict.fromkeys(numbers, (MISSING, "there is no notebook of the chapter"))
    if len(paths) > 1:
        names = ", ".join(str(path.relative_to(submission.place)) for path in paths)
        return dict.fromkeys(numbers, (STOPPED, f"there is more than one notebook of the chapter: {names}"))
    missing = dict.fromkeys(numbers, (MISSING, "none of its cells is left in the notebook"))
    try:
        return missing | _judge_notebook(submission.place, paths[0], chapter, limits)
    except Exception as error:  # whatever is wrong with this one, the others are to be graded
        why = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        return dict.fromkeys(numbers, (STOPPED, why))


def _judge_notebook(place: Path, path: Path, chapter: str, limits: Limits) -> dict[str, Verdict]:
    """The verdicts on a copy of what was handed in."""
    cells = read_notebook(path)["cells"]
    regions = regions_of({"cells": cells}, asked_in(chapter))
    verdicts: dict[str, Verdict] = {}
    with TemporaryDirectory(prefix="minigpt4v-grade-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "work"
        _copy(place, folder)
        here = folder / path.relative_to(place).parent if place.is_dir() else folder
        try:
            with limited_kernel(here, Path(scratch), limits) as run:
                for number, verdict in _judge_regions(cells, regions, run):
                    verdicts |= {number: verdict}
        except KernelStopped as stopped:
            numbers = [asked.number for region in regions for asked in region.asked]
            return dict.fromkeys(numbers, (STOPPED, str(stopped))) | verdicts
    return verdicts


def _judge_regions(cells: list[Cell], regions: list[Region], run: Run) -> Iterator[tuple[str, Verdict]]:
    _run_cells(cells[: regions[0].start] if regions else [], run)
    for region in regions:
        for asked in region.asked:
            _call(run, "forget", asked.name)
        failed = _run_cells(cells[region.start : region.end], run)
        for asked in region.asked:
            yield asked.number, _judge(asked, failed, run)


def _run_cells(cells: list[Cell], run: Run) -> Outcome | None:
    """Run all, errors or not; returns how the first ended that failed."""
    outcomes = [run(source_of(cell)) for cell in cells if cell["cell_type"] == "code" and source_of(cell).strip()]
    return next((outcome for outcome in outcomes if outcome.error), None)


def _call(run: Run, function: str, *arguments: str) -> Outcome:
    """Call a function of `inside`, by a name that no notebook uses."""
    return run(f"import minigpt4v.classroom.inside as _inside\n_inside.{function}{arguments!r}")


def _judge(asked: Asked, failed: Outcome | None, run: Run) -> Verdict:
    key = secrets.token_hex(16)
    judged = _call(run, "judge", asked.number, asked.name, key)
    told = [verdict for verdict in judged.told if isinstance(verdict, dict) and verdict.get("key") == key]
    if not told:
        return STOPPED, judged.error or "the notebook kept the grader from judging"
    if told[0]["state"] != UNDEFINED:
        return _STATUS[told[0]["state"]], told[0]["says"]
    if failed and failed.error:
        return (STOPPED if failed.too_long else _STATUS[NOT_YET_RIGHT]), failed.error
    return _STATUS[NOT_ATTEMPTED], f"`{asked.name}` is not defined between its card and the next"


def _copy(place: Path, folder: Path) -> None:
    """Copy what was handed in, without links, which lead elsewhere, and what is neither file nor folder."""
    if place.is_dir():
        shutil.copytree(place, folder, ignore=_uncopied)
    else:
        folder.mkdir()
        shutil.copy(place, folder)


def _uncopied(folder: str, names: list[str]) -> list[str]:
    paths = [Path(folder) / name for name in names]
    return [path.name for path in paths if path.is_symlink() or not (path.is_file() or path.is_dir())]
