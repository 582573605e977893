"""`start`: a copy of the course of one's own; `handout`: the course without solutions, for a class."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from minigpt4v.commands.options import examples
from minigpt4v.commands.output import BadInput, is_full, note, say

if TYPE_CHECKING:
    from minigpt4v.classroom.copies import Change


@click.command(epilog=examples("minigpt4v start my-course", "minigpt4v start my-course --update"))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--update", is_flag=True, help="Bring new and changed chapters into the copy that FOLDER is.")
def start(folder: Path, update: bool) -> None:
    """Begin the course in a folder of your own.

    The notebooks of this installation are copied, without outputs. A newer version of the course changes nothing there
    until you say --update, and then keeps what you have written: a chapter that you have changed stays as it is. If the
    course has changed it too, its version is put beside yours, as 03_attention.new.ipynb. Running a chapter does not
    change it; to get one afresh, delete it or give it another name before the update.
    """
    from minigpt4v.classroom import copies

    if update and not copies.is_copy(folder):
        raise BadInput(f"{str(folder)!r} is no copy of the course (it has no {copies.MANIFEST}): leave out --update")
    if not update and copies.is_copy(folder):
        raise BadInput(f"{str(folder)!r} is a copy of the course already: add --update to bring what is new")
    if not update:
        _check_empty(folder)
    with _writing(folder):
        changes = copies.update_copy(folder) if update else copies.start_copy(folder)
    _report(changes)
    note(f"To open it: {_how_to_open(folder)}")
    note(
        "What you solve is remembered in a file in that folder; there, `minigpt4v progress` shows it. "
        f"What a newer course brings: minigpt4v start {shlex.quote(str(folder))} --update"
    )


@click.command(epilog=examples("minigpt4v handout class", "minigpt4v handout week-3 --chapter 03 --chapter 04"))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--chapter", "chapters", multiple=True, metavar="NN", help="Only this one; may be repeated.")
def handout(folder: Path, chapters: tuple[str, ...]) -> None:
    """Write the notebooks without solutions, for a class.

    FOLDER is new or empty. Each card is replaced by a text with its task, hint and help; there are no outputs.

    This hides the solutions and does not lock them away. The checks need the library, and the solutions are in it:
    whoever has it installed can read them in minigpt4v/exercises, or show them with card("03.2").
    """
    from minigpt4v.classroom.handouts import write_handouts

    _check_empty(folder)
    with _writing(folder):
        for name in write_handouts(folder, chapters):
            say(str(folder / name))


def _check_empty(folder: Path) -> None:
    """Raise `BadInput` unless the folder is empty or not there yet."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{str(folder)!r} is a file: name a new folder")
    with _writing(folder):
        if folder.is_dir() and any(folder.iterdir()):
            raise BadInput(f"{str(folder)!r} is not empty: name a new folder")


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None or is_full(error):  # none of the system's: the library has lost its notebooks
            raise
        raise BadInput(f"{str(folder)!r} cannot be written ({error.strerror}): name a folder of yours") from error


def _report(changes: list[Change]) -> None:
    """A line for each chapter that is not as it was."""
    for change in changes:
        if change.says:
            say(f"{change.name}: {change.says}")
    if not any(change.brings for change in changes):
        note("Nothing is new.")


def _how_to_open(folder: Path) -> str:
    """A command line that opens the folder with the JupyterLab of this Python."""
    here, named = Path(sys.executable).parent, shlex.quote(str(folder))
    if importlib.util.find_spec("jupyterlab") is None:
        return f'pip install "minigpt4v[course]", then: jupyter lab {named}'
    program = shutil.which("jupyter-lab")
    if program and Path(program).parent == here:
        return f"jupyter lab {named}"
    python = Path(os.path.relpath(sys.executable)) if here.is_relative_to(Path.cwd()) else Path(sys.executable)
    return f"{shlex.quote(str(python))} -m jupyterlab {named}"
