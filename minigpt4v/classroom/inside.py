"""What the grader calls inside a learner's kernel: limits, and the verdict on an answer.

The modules of the exercises are loaded afresh for each verdict: what a notebook has done to them does not matter. It is
no safeguard against somebody who means to cheat, since learner and judge share a process.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import IPython

from minigpt4v import exercises  # noqa: F401 - loads PyTorch and all else before the memory is limited
from minigpt4v.classroom.confinement import write_only_in

MEDIA_TYPE = "application/vnd.minigpt4v.verdict+json"
UNDEFINED = "undefined"
_RESERVE = 2**30  # bytes: a learner's lists may have filled the memory before the judge's turn
_LARGEST_FILE = 2**30  # bytes
_MORE_TASKS = 256  # processes and threads: PyTorch starts one for each core
_LONGEST = 300  # characters of what a verdict says


class _Nowhere(io.TextIOWrapper):
    """A stream that IPython cannot wrap: its own `write` would keep all that an endless loop prints."""

    def __setattr__(self, name: str, value: Any) -> None:
        """Change nothing."""


def prepare(memory: int, scratch: str) -> None:
    """Let nothing be printed or written outside the scratch folder; limit memory, processes and the size of files.

    Memory is limited to what this process has now and so many bytes more, on Linux alone: macOS takes such limits and
    does not keep them.
    """
    sys.stdout = sys.stderr = _Nowhere(io.FileIO(os.devnull, "w"), encoding="utf-8")
    write_only_in(Path(scratch), Path(os.devnull))
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (ImportError, OSError):
        return
    learners = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (learners, learners + _RESERVE))
    _lower(resource.RLIMIT_FSIZE, _LARGEST_FILE)
    _lower(resource.RLIMIT_NPROC, _tasks() + _MORE_TASKS)  # the system counts those of the user; root has no limit


def _lower(which: int, limit: int) -> None:
    import resource

    hard = resource.getrlimit(which)[1]
    lower = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(which, (lower, lower))


def _tasks() -> int:
    """How many processes and threads of this user are running."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has just ended
            count += len(list((process / "task").iterdir())) if process.stat().st_uid == os.getuid() else 0
    return count


def forget(name: str) -> None:
    """Take a name out of the notebook: the chapter may have used it for its own version of what is asked for."""
    _notebook().pop(name, None)


def judge(number: str, name: str, key: str) -> None:
    """Judge what goes by a name, and tell the grader by way of Jupyter. The key shows that it was told by this call."""
    _use_reserve()
    verdict = {"key": key, "state": UNDEFINED, "says": ""}
    if name in _notebook():
        verdict |= _examined(number, _notebook()[name])
    IPython.get_ipython().display_pub.publish({MEDIA_TYPE: verdict})


def _examined(number: str, answer: Any) -> dict[str, str]:
    for module in [module for module in sys.modules if module.startswith("minigpt4v.exercises")]:
        del sys.modules[module]
    from minigpt4v.exercises.catalogue import find
    from minigpt4v.exercises.examination import examine

    verdict = examine(find(number), answer)
    return {"state": verdict.state, "says": " ".join(verdict.says.split())[:_LONGEST]}


def _notebook() -> dict[str, Any]:
    return IPython.get_ipython().user_ns


def _use_reserve() -> None:
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
