"""Bring your own data: conversations about pictures as JSON lines, or plain text for a language model.

A conversation is one JSON object on one line; pictures are named from the folder of the file:

    {"images": ["cat.png"], "turns": [{"question": "What is it doing?", "answer": "sleeping", "family": "action"}]}
    {"images": ["dog.png"], "turns": [{"caption": "a brown dog"}]}
    {"images": ["猫.png"], "turns": [{"answer": "一只猫"}], "family": "naming"}

A turn without a question answers the default question, in the language of its answer. "family" groups the scores of
an evaluation; written beside "turns" it holds for every turn that has none of its own. A file may come from a stranger:
everything in it, each picture included, is checked before the first record is handed out, all faults are reported at
once, and what a message quotes from the file is escaped, so that no control sequence reaches a terminal.
"""

from __future__ import annotations

import codecs
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from minigpt4v.datasets.conversation import Turn
from minigpt4v.datasets.folder_line import (
    LineError,
    Pictures,
    Record,
    check_length,
    parse_line,
    read_conversation,
    shown,
)
from minigpt4v.paths import write_atomically

__all__ = ["DataError", "Record", "Turn", "kind_of", "load_conversations", "load_plain_text", "save_conversations"]

MAX_FILE_BYTES = 2**30  # a file is read whole
FAULTS_SHOWN = 20


class DataError(ValueError):
    """A data file that cannot be used. The message is one sentence that names the file, the faults and the fix.

    Attributes:
        faults: every faulty line as (number, what is wrong), also those that the message has no room for; empty if
            the fault is not in a line.
    """

    def __init__(self, message: str, faults: Iterable[tuple[int, str]] = ()) -> None:
        super().__init__(message)
        self.faults = tuple(faults)


def kind_of(path: str | os.PathLike[str]) -> Literal["jsonl", "txt"]:
    """Whether a data file holds conversations ("jsonl") or plain text ("txt"), by the end of its name.

    Raises:
        DataError: the name ends in neither.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".jsonl":
        return "jsonl"
    if suffix == ".txt":
        return "txt"
    raise DataError(
        f"{shown(os.fspath(path))} is no data file by its name: it must end in .jsonl (conversations, "
        "one JSON object a line) or .txt (plain text)"
    )


def load_plain_text(path: str | os.PathLike[str], *, context_length: int | None = None) -> str:
    """A UTF-8 text for a language model; a byte order mark is dropped and line ends become a single newline.

    Args:
        path: the text file.
        context_length: tokens in a window of the model. A token is at least one byte, so a text of no more bytes than
            this is refused here; the exact check, in tokens, is `TextDataset`'s.

    Raises:
        DataError: the file is missing, not a file, over 1 GiB, empty, not UTF-8 text, or too short for the context.
    """
    name = shown(os.fspath(path))
    data = _read_bytes(Path(path))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 text: the byte 0x{data[error.start]:02x} at offset {error.start} does not fit; "
            "save the file as UTF-8"
        ) from None
    if "\0" in text:
        raise DataError(f"{name} is not a text: it has a zero byte at offset {data.index(0)}; give a plain text file")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise DataError(f"{name} is empty: there is nothing to learn from")
    size = len(text.encode())
    if context_length is not None and size <= context_length:
        raise DataError(
            f"{name} has {size} bytes, too short for a context of {context_length} tokens and the token after it: "
            "give a longer text or a smaller context"
        )
    return text


def load_conversations(
    path: str | os.PathLike[str], *, root: str | os.PathLike[str] | None = None, allow_outside: bool = False
) -> list[Record]:
    """The conversations of a JSON-lines file, in order; blank lines are skipped.

    Every picture is decoded once, by the processor that training uses, so that none can stop a run later.

    Args:
        path: the JSON-lines file, in UTF-8.
        root: the folder from which pictures are named; the file's own folder if None.
        allow_outside: whether a picture may lie outside `root` (`..`, an absolute path, a link that leads out).

    Returns:
        The records. Their pictures are absolute paths.

    Raises:
        DataError: the file cannot be read, holds no conversation, or has faulty lines; all of these are in the one
            error, and nothing is returned.
    """
    path = Path(path)
    pictures = Pictures(path.parent if root is None else Path(root), allow_outside)
    records, faults = [], []
    lines = _read_bytes(path).removeprefix(codecs.BOM_UTF8).split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(read_conversation(parse_line(line), number, pictures))
        except LineError as fault:
            faults.append((number, str(fault)))
    _raise_faults(path, faults)
    if not records:
        raise DataError(f"{shown(os.fspath(path))} has no conversations: write one JSON object on each line")
    return records


def save_conversations(
    path: str | os.PathLike[str],
    records: Iterable[Record],
    *,
    root: str | os.PathLike[str] | None = None,
    allow_outside: bool = False,
) -> None:
    """Write records as JSON lines: the inverse of `load_conversations` with the same `root` and `allow_outside`.

    Only what would load again is written, so pictures must exist and, unless `allow_outside`, lie in the folder of the
    file (or in `root`). The lines are numbered anew from 1.

    Raises:
        DataError: there are no records, or some would not load; `path` is then unchanged.
        OSError: the file cannot be written; `path` is then unchanged.
    """
    path = Path(path)
    folder = path.parent if root is None else Path(root)
    pictures = Pictures(folder, allow_outside)
    lines, faults = [], []
    for number, record in enumerate(records, start=1):
        content = _content(record, folder)
        try:
            read_conversation(content, number, pictures)
            lines.append(json.dumps(content, ensure_ascii=False).encode())
            check_length(lines[-1])
        except LineError as fault:
            faults.append((number, str(fault)))
    _raise_faults(path, faults)
    if not lines:
        raise DataError(f"there are no conversations to save in {shown(os.fspath(path))}: give at least one record")
    write_atomically(path, b"\n".join(lines) + b"\n")


def _content(record: Record, folder: Path) -> dict[str, Any]:
    """The JSON object of a record."""
    turns = [
        {"question": turn.question, "answer": turn.answer} | ({} if turn.family is None else {"family": turn.family})
        for turn in record.turns
    ]
    return {"images": [_name_from(folder, image) for image in record.images], "turns": turns}


def _name_from(folder: Path, image: Path) -> str:
    """The path of a picture as seen from the folder, or its absolute path if it lies outside."""
    folder, image = folder.absolute(), Path(image).absolute()
    return (image.relative_to(folder) if image.is_relative_to(folder) else image).as_posix()


def _raise_faults(path: Path, faults: list[tuple[int, str]]) -> None:
    if not faults:
        return
    described = [f"line {number}: {fault}" for number, fault in faults[:FAULTS_SHOWN]]
    if len(faults) > FAULTS_SHOWN:
        described.append(f"and {len(faults) - FAULTS_SHOWN} more")
    count = "1 faulty line" if len(faults) == 1 else f"{len(faults)} faulty lines"
    raise DataError(f"{shown(path.name)[1:-1]} has {count}: {'; '.join(described)}", faults)


def _read_bytes(path: Path) -> bytes:
    name = shown(str(path))
    try:
        if not path.exists():
            raise DataError(f"there is no file {name}: check name and folder")
        if not path.is_file():  # asked before it is opened: reading a pipe would wait for ever
            raise DataError(f"{name} is not a file: give the path of a .jsonl or .txt file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DataError(f"{name} has over {MAX_FILE_BYTES:,} bytes: split it")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{name} cannot be read: {error.strerror}") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise DataError(f"{name} is UTF-16 text: save it as UTF-8")
    return data
