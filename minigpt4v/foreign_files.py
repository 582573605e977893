"""Reading files that may come from anybody, and quoting what is in them.

A name is looked at before it is opened, since reading a pipe waits for ever and reading a device never ends; no more is
read than any honest file holds; and what a message takes from a file, or from its name, cannot steer a terminal.
"""

from __future__ import annotations

import json
import reprlib
import stat
from pathlib import Path
from typing import Any

MAX_TEXT_BYTES = 2**26  # of a config, a tokenizer, a history; the largest that ships has 30 kB
LARGEST_NUMBER = 1e30  # far above any time, rate, loss or count, and within a float32
_LONGEST_REASON = 500  # characters
_SHORT = reprlib.Repr()
_SHORT.maxstring, _SHORT.maxlevel, _SHORT.maxlist, _SHORT.maxdict = 200, 3, 4, 4


def plain(text: object, longest: int = 5000) -> str:
    r"""The text on one line, cut if long, with all that a terminal would not print as such as \xNN or \uNNNN."""
    words = str(text)
    shown = words if len(words) <= longest else words[:longest] + "..."
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in shown)


def shown(value: object) -> str:
    """A value from a file as Python writes it, cut where it is long or deep."""
    return _SHORT.repr(value)


def reason(error: BaseException) -> str:
    """An error of another library in words that fit inside a sentence: `plain`, on one line, and cut if long."""
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return plain(" ".join(words.split()), _LONGEST_REASON).rstrip(". ")


def is_finite(value: object) -> bool:
    """Whether a value from a file is a number that one can compute with: NaN, infinity and 10**400 are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


def check_file(path: Path) -> None:
    """Refuse what can be opened and is no file.

    Raises:
        ValueError: a folder, pipe, socket or device has this name.
        OSError: nothing has this name, or it cannot be reached.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
        raise ValueError(f"{plain(path)} is {kind}: give a plain file")


def read_text(path: Path, most: int = MAX_TEXT_BYTES) -> str:
    """A text file, in UTF-8.

    Raises:
        ValueError: it is no file, not UTF-8, or longer than `most` bytes; the message names it.
        OSError: it cannot be read.
    """
    check_file(path)
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{plain(path)} has over {most:,} bytes: more than any such file needs")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{plain(path)} is not UTF-8 text ({reason(error)})") from None


def parse_json(text: str, name: object) -> Any:
    """The value of a JSON text; `name` says where it is from. Raises ValueError where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: also a number of thousands of digits
        raise ValueError(f"{plain(name)} is not a JSON file ({reason(error)})") from None


def read_json(path: Path, most: int = MAX_TEXT_BYTES) -> Any:
    """The value in a JSON file. Raises as `read_text`, and ValueError where it is not JSON."""
    return parse_json(read_text(path, most), path)
