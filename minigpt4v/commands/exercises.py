"""`progress` and `check`: the exercises of the course, from the command line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from minigpt4v.commands.options import examples
from minigpt4v.commands.output import note, say


@click.command(epilog=examples("minigpt4v progress"))
def progress() -> None:
    """Show which exercises are done, chapter by chapter.

    The file lies in the folder of the notebooks; $MINIGPT4V_PROGRESS names another.
    """
    from minigpt4v.exercises.progress import Progress, progress_file

    say(repr(Progress()))
    note(f"kept in {progress_file()}")


@click.command(epilog=examples("minigpt4v check 03", "minigpt4v check 3 --notebook my/03_attention.ipynb"))
@click.argument("chapter")
@click.option(
    "--notebook", type=click.Path(path_type=Path), metavar="FILE", help="The notebook; default: that of the course."
)
def check(chapter: str, notebook: Path | None) -> None:
    """Run a chapter's notebook and say how its exercises stand.

    CHAPTER is a number. The notebook is run from top to bottom as it lies on the disk, and not changed; what passes is
    remembered. The exit code is 1 as long as an exercise is open.
    """
    from minigpt4v.exercises.catalogue import exercises_of

    with notebook_packages():
        from minigpt4v.exercises.notebooks import check_notebook, find_notebook
    exercises = exercises_of(chapter.zfill(2))
    said = check_notebook(notebook or find_notebook(chapter))
    for text in said:
        say(text)
    done = sum(text.startswith("✓") for text in said)
    note(f"{done} of {len(exercises)} exercises pass")
    sys.exit(done < len(exercises))


@contextmanager
def notebook_packages() -> Iterator[None]:
    """Say how to install what runs notebooks where it is missing."""
    try:
        yield
    except ImportError as error:
        raise click.ClickException(
            f'notebooks need more packages: pip install "minigpt4v[course]" ({error})'
        ) from error
