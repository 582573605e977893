"""One line of a JSON-lines file: from bytes to a conversation, or to the sentence that says what is wrong with it.

Nothing here trusts the line. `folder.py` gathers the faults of a whole file and describes the format.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigpt4v.datasets.conversation import Turn
from minigpt4v.processor import PictureError, PictureProcessor

DEFAULT_QUESTIONS = {"en": "What is in the picture?", "zh": "图里有什么？"}
MAX_LINE_BYTES = 2**20
MAX_NAME_LENGTH = 1000  # characters in the name of a picture

_HAN = re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")
# Control characters but for tab and line ends, and halves of UTF-16 pairs: no keyboard writes them, a model that learns
# them would send them to its user's terminal, and the halves are not even text.
_UNFIT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_CONVERSATION_KEYS = ("images", "turns", "family")
_TURN_KEYS = ("question", "answer", "caption", "family")


class LineError(Exception):
    """What is wrong with one line."""


@dataclass(frozen=True)
class Record:
    """One conversation: its pictures, its turns in order, and the number of its line in the file, from 1."""

    images: tuple[Path, ...]
    turns: tuple[Turn, ...]
    line: int = 0


class Pictures:
    """Finds and checks the pictures of one file, each name once."""

    def __init__(self, folder: Path, allow_outside: bool) -> None:
        self.folder = folder.absolute()
        self.allow_outside = allow_outside
        self._processor = PictureProcessor()
        self._known: dict[str, Path | str] = {}  # name -> path, or what is wrong with it

    def find(self, name: str) -> Path:
        """The path of a picture that can be used.

        Raises:
            LineError: it is not allowed, missing or damaged.
        """
        if name not in self._known:
            try:
                self._known[name] = self._check(name)
            except LineError as fault:
                self._known[name] = str(fault)
        found = self._known[name]
        if isinstance(found, str):
            raise LineError(found)
        return found

    def _check(self, name: str) -> Path:
        if not name.strip() or len(name) > MAX_NAME_LENGTH or _UNFIT.search(name):
            raise LineError(f"{shown(name)} in \"images\" is no file name: write a path such as 'cat.png'")
        path = self.folder / name
        if not self.allow_outside and not self._is_inside(path):
            raise LineError(
                f"the picture {shown(name)} is outside the folder of the data: move it there "
                "or allow pictures outside (allow_outside)"
            )
        try:
            self._processor(path)
        except PictureError as error:
            raise LineError(str(error)) from None
        return path

    def _is_inside(self, path: Path) -> bool:
        try:
            return path.resolve().is_relative_to(self.folder.resolve())
        except (OSError, RuntimeError):  # links in a circle: it leads nowhere
            return False


def parse_line(line: bytes) -> Any:
    """The JSON value on one line.

    Raises:
        LineError: the line is too long, not UTF-8, not JSON, or has the same key twice in one object.
    """
    check_length(line)
    try:
        return json.loads(line.decode("utf-8"), object_pairs_hook=_without_duplicates)
    except UnicodeDecodeError as error:
        raise LineError(
            f"is not UTF-8 (byte 0x{line[error.start]:02x}, place {error.start + 1}): save the file as UTF-8"
        ) from None
    except json.JSONDecodeError as error:
        raise LineError(
            f"is not JSON ({error.msg}, column {error.colno}): write one JSON object, whole, on the line"
        ) from None
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        raise LineError("is nested too deeply or holds a huge number: no conversation needs either") from None


def check_length(line: bytes) -> None:
    """Refuse a line of more than a megabyte.

    Raises:
        LineError: it is longer.
    """
    if len(line) > MAX_LINE_BYTES:
        raise LineError(f"is {len(line):,} bytes long, over the limit of {MAX_LINE_BYTES:,}: split the conversation")


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object. By default the last of two equal keys wins, and an answer is lost without a word."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise LineError(f"has the key {shown(key)} twice in one object: keep one")
        content[key] = value
    return content


def read_conversation(content: Any, line: int, pictures: Pictures) -> Record:
    """The conversation in a JSON value; `line` is its number.

    Raises:
        LineError: anything is missing, unknown, empty or of the wrong type, or a picture cannot be used.
    """
    _check_object(content, "the conversation", _CONVERSATION_KEYS)
    names = _list(content, "images")
    if strange := [name for name in names if not isinstance(name, str)]:
        raise LineError(f'"images" must list file names, not {_kind(strange[0])}')
    turns = _list(content, "turns")
    if not turns:
        raise LineError('"turns" is empty: write at least one question and answer')
    family = _family(content, "the conversation", None)
    parsed = [_turn(turn, f"turn {place}", bool(names), family) for place, turn in enumerate(turns, start=1)]
    return Record(tuple(pictures.find(name) for name in names), tuple(parsed), line)


def _turn(content: Any, place: str, has_picture: bool, family: str | None) -> Turn:
    _check_object(content, place, _TURN_KEYS)
    if "caption" in content and (others := {"question", "answer"} & content.keys()):
        raise LineError(
            f'{place} has a "caption" and a "{min(others)}": write one of them (a caption answers the default question)'
        )
    answer = _words(content, "caption" if "caption" in content else "answer", place)
    if "question" in content:
        question = _words(content, "question", place)
    elif has_picture:
        question = DEFAULT_QUESTIONS["zh" if _HAN.search(answer) else "en"]
    else:
        raise LineError(f'{place} has no "question", and "images" is empty: the default question needs a picture')
    return Turn(question, answer, _family(content, place, family))


def _family(content: dict[str, Any], place: str, default: str | None) -> str | None:
    if "family" not in content:
        return default
    family = _words(content, "family", place)
    if not family.isprintable():
        raise LineError(f'the "family" of {place} must stand on one line: {shown(family)}')
    return family


def _words(content: dict[str, Any], key: str, place: str) -> str:
    """The text under a key: present, a text, with something to see in it and nothing that is not writing."""
    if key not in content:
        raise LineError(f'{place} has no "{key}"')
    words = content[key]
    if not isinstance(words, str):
        raise LineError(f'the "{key}" of {place} must be a text, not {_kind(words)}')
    if unfit := _UNFIT.search(words):
        raise LineError(
            f'the "{key}" of {place} holds the character {shown(unfit[0])}, which is not writing '
            f"(place {unfit.start() + 1}): take it out"
        )
    if not any(letter.isprintable() and not letter.isspace() for letter in words):
        raise LineError(f'the "{key}" of {place} is empty')
    return words


def _list(content: dict[str, Any], key: str) -> list[Any]:
    if key not in content:
        raise LineError(f'the conversation has no "{key}"')
    if not isinstance(content[key], list):
        raise LineError(f'"{key}" must be a list, not {_kind(content[key])}: write it in [ ]')
    return content[key]


def _check_object(content: Any, place: str, keys: Sequence[str]) -> None:
    if not isinstance(content, dict):
        raise LineError(f"{place} must be an object in {{ }}, not {_kind(content)}")
    for key in content:
        if key not in keys:
            close = difflib.get_close_matches(key[:40], keys, n=1)
            known = ", ".join(f'"{known}"' for known in keys)
            fix = f'did you mean "{close[0]}"?' if close else f"known keys are {known}"
            raise LineError(f"{place} has the unknown key {shown(key)}: {fix}")


def _kind(value: Any) -> str:
    """What a JSON value is, in words."""
    words = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return words.get(type(value), "a number")


def shown(text: str, limit: int = 200) -> str:
    """A text from outside in quotes: cut if long, with everything that a terminal would not print as such escaped."""
    return repr(text if len(text) <= limit else text[:limit] + "...")
