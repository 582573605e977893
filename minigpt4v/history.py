"""The history of a training run: history.jsonl, an entry on each line; a run that goes on takes it up (chapter 12)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from minigpt4v.foreign_files import LARGEST_NUMBER, read_text
from minigpt4v.paths import write_atomically

HISTORY = "history.jsonl"

Entry = dict[str, Any]
"""What was measured after a step: "step", "seconds", and numbers by name, or by name and group."""


def add_entry(folder: Path, entry: Entry) -> None:
    """Add a line to the history of the run in a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / HISTORY).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry) + "\n")


def entries_until(folder: Path, step: int) -> list[Entry]:
    """The entries up to a step; none where there is no history. Lines that are none of ours are passed over.

    Raises ValueError where the file is no text.
    """
    path = folder / HISTORY
    lines = read_text(path).splitlines() if path.exists() else []
    return [entry for line in lines if (entry := _parse(line)) and entry["step"] <= step]


def replace_entries(folder: Path, entries: list[Entry]) -> None:
    """Make these the history, whole or not at all, if there is one."""
    if (folder / HISTORY).exists():
        write_atomically(folder / HISTORY, "".join(json.dumps(entry) + "\n" for entry in entries))


def _parse(line: str) -> Entry | None:
    """A line of the history; None where the writing of it was cut off, or where it is none of ours."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or type(entry.get("step")) is not int or "seconds" not in entry:
        return None
    groups = [value.values() if isinstance(value, dict) else [value] for value in entry.values()]
    return entry if all(_is_number(value) for values in groups for value in values) else None


def _is_number(value: Any) -> bool:
    """Whether a value from a file is a float, or a whole number that is not too large for one."""
    return type(value) is float or (type(value) is int and abs(value) < LARGEST_NUMBER)
