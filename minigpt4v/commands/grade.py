"""`grade`: which exercises the learners of a class have solved."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from minigpt4v.commands.exercises import notebook_packages
from minigpt4v.commands.options import examples
from minigpt4v.commands.output import BadInput, is_full, note, printable, say

if TYPE_CHECKING:
    from minigpt4v.classroom.grading import Grade
    from minigpt4v.classroom.submissions import Submission

_COLUMNS = ("learner", "exercise", "status", "says")
_FORMULA = ("=", "+", "-", "@")  # with which a spreadsheet would take a text for a formula, and compute it


@click.command(
    epilog=examples(
        "minigpt4v grade submissions --out grades.csv",
        "minigpt4v grade submissions --chapter 03 --seconds 300 --memory 2",
    )
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--chapter", "chapters", multiple=True, metavar="NN", help="May be repeated. Default: all that anybody handed in."
)
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE", help="The CSV file; default: stdout.")
@click.option(
    "--seconds",
    type=click.IntRange(1),
    default=600,
    show_default=True,
    metavar="N",
    help="For the cells of one notebook together; no single cell gets more than half of what is left.",
)
@click.option(
    "--memory",
    type=click.FloatRange(0, 1024, min_open=True),
    default=4.0,
    show_default=True,
    metavar="GIB",
    help="For one notebook, above what Python and PyTorch take; limited on Linux only.",
)
def grade(folder: Path, chapters: tuple[str, ...], out: Path | None, seconds: int, memory: float) -> None:
    """Say which exercises the learners of a class have solved.

    FOLDER holds a folder or a notebook of each learner, named as the learner is. Each notebook is copied to a scratch
    folder and run there in a process of its own. The status of an exercise is passed, wrong, not attempted, missing (no
    such notebook, or none of its cells), or stopped (too long, too much memory, not readable).

    What a notebook prints counts for nothing. The answer is what goes by the name that the exercise asks for, after the
    cells from its card to the next one; this program's own check judges it.

    THIS IS NO SANDBOX. The limits keep accidents in bounds, not attacks: the cells run with your rights, and can read
    your files and use the network. Grade strangers in a container or a virtual machine. And who means to cheat can:
    copy a solution, or change the judge's process from inside. Read what you grade.
    """
    with notebook_packages():
        from minigpt4v.classroom.grading import grade as grade_one
        from minigpt4v.classroom.limited_kernel import Limits
        from minigpt4v.classroom.submissions import submissions_in
    submissions = submissions_in(folder)
    wanted = _choose(chapters, submissions)
    grades: list[Grade] = []
    _save(grades, out)
    for submission in submissions:
        for chapter in wanted:
            new = grade_one(submission, chapter, Limits(seconds, memory))
            grades += new
            _save(grades, out)
            if not out:
                say(_table(new), end="")
            note(f"{submission.learner}, chapter {chapter}: {_counted(new)}")


def _choose(chapters: tuple[str, ...], submissions: list[Submission]) -> list[str]:
    """The chapters to grade. Raises ValueError where one has no exercises, and `BadInput` where there is none."""
    from minigpt4v.exercises.catalogue import chapters as all_chapters
    from minigpt4v.exercises.catalogue import exercises_of

    wanted = {chapter.zfill(2) for chapter in chapters}
    for chapter in wanted:
        exercises_of(chapter)
    handed_in = {chapter for submission in submissions for chapter in submission.notebooks} & set(all_chapters())
    if not wanted | handed_in:
        raise BadInput("no notebook with exercises was handed in: name the chapters that are due with --chapter")
    return sorted(wanted or handed_in)


def _save(grades: list[Grade], out: Path | None) -> None:
    """Write the grades so far: whatever happens later, these are kept."""
    from minigpt4v.paths import write_atomically

    if out:
        try:
            write_atomically(out, f"{','.join(_COLUMNS)}\n{_table(grades)}")
        except OSError as error:
            if is_full(error):
                raise
            raise BadInput(
                f"--out {str(out)!r} cannot be written ({error.strerror}): name a file in a folder of yours"
            ) from error
    elif not grades:
        say(",".join(_COLUMNS))


def _table(grades: list[Grade]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_harmless(getattr(grade, column)) for column in _COLUMNS] for grade in grades)
    return text.getvalue()


def _harmless(text: str) -> str:
    """A text of a stranger's on one line, and never a formula."""
    flat = printable(" ".join(text.split()))
    return f"'{flat}" if flat.startswith(_FORMULA) else flat


def _counted(grades: list[Grade]) -> str:
    counts = Counter(grade.status for grade in grades)
    return ", ".join(f"{count} {status}" for status, count in counts.most_common())
