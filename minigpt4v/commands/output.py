"""What reaches the terminal: answers on stdout, everything else on stderr, and no control sequence from anywhere."""

from __future__ import annotations

import errno
import json
import re
import sys
from typing import Any

import click

# Control characters but for tab and line end; halves of UTF-16 pairs; signs that turn the direction of writing, with
# which a name can show itself backwards. Any of them may come from a file name, a model's answer, or a stranger's data.
_UNFIT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029\u202a-\u202e\u2066-\u2069]")


class BadInput(click.ClickException):
    """What was given cannot be used: one sentence with the value and the fix, exit code 2."""

    exit_code = 2


def is_full(error: OSError) -> bool:
    """Whether there is no room left on the disk, or none for this user."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def printable(text: str) -> str:
    r"""The text with everything that could steer a terminal written as \uXXXX."""
    return _UNFIT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def one_line(text: str) -> str:
    """`printable`, on a single line."""
    return printable(" ".join(text.split()))


def say(text: str, *, end: str = "\n") -> None:
    """An answer, to stdout."""
    click.echo(printable(text), nl=False)
    click.echo(end, nl=False)
    sys.stdout.flush()


def note(text: str) -> None:
    """Anything that is no answer, to stderr."""
    click.echo(printable(text), err=True)


def say_json(content: Any, *, indent: int | None = 2) -> None:
    """Machine-readable, to stdout. Escaped as `printable` does it, which in JSON is the same character still."""
    say(json.dumps(content, ensure_ascii=False, indent=indent))
