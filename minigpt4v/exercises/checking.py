"""`check`: what a notebook calls."""

from __future__ import annotations

import sys
from typing import Any

from minigpt4v.exercises.catalogue import find
from minigpt4v.exercises.examination import PASSED, examine
from minigpt4v.exercises.progress import record


def check(number: str, answer: Any) -> None:
    """Judge an answer to an exercise, "03.2", and show what is to be said of it; a pass is remembered.

    Never raises but for Ctrl-C, so that a notebook runs to its end with exercises unsolved or wrong.
    """
    try:
        verdict = examine(find(number), answer)
    except ValueError as error:
        print(f"✗ {error}")
        return
    _show(verdict)
    if verdict.state == PASSED:
        try:
            record(verdict.id)
        except OSError as error:
            print(f"Your progress could not be saved: {error}")


def _show(verdict: Any) -> None:
    ipython = sys.modules.get("IPython")
    if ipython and ipython.get_ipython():
        ipython.display.display(verdict)
    else:
        print(verdict)
