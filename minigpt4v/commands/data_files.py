"""Reading one's own data for `train` and `evaluate`, with every faulty line reported before anything is done."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minigpt4v.commands.output import BadInput, note

if TYPE_CHECKING:
    from minigpt4v.datasets.folder import DataError, Record


def read_conversations(*paths: str, allow_outside: bool) -> list[list[Record]]:
    """The conversations of each file.

    Raises `BadInput` where there are faulty lines, after a report of each line of each file on stderr; ValueError where
    a file cannot be read at all.
    """
    from minigpt4v.datasets.folder import DataError, load_conversations

    found, faulty = [], []
    for path in paths:
        try:
            found.append(load_conversations(path, allow_outside=allow_outside))
        except DataError as error:
            if not error.faults:
                raise
            report(error, Path(path).name)
            faulty.append(f"{Path(path).name} has {len(error.faults)} faulty line{'s' * (len(error.faults) > 1)}")
    if faulty:
        raise BadInput(f"{' and '.join(faulty)}: correct what is listed above")
    return found


def report(error: DataError, name: str) -> None:
    """Each fault on a line of its own."""
    for number, fault in error.faults:
        note(f"{name}:{number}: {fault}")
