"""A kernel that a stranger's cells run in: with limits on time and memory, and a scratch folder for all it writes.

It keeps accidents in bounds. It is no sandbox: the cells read and send what whoever runs the grader can.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError

from minigpt4v.classroom.inside import MEDIA_TYPE
from minigpt4v.paths import PACKAGE_FOLDER

_START_SECONDS = 120  # for Python and PyTorch to load, before a notebook's own time begins
_TOO_LONG = "TooLong"
# The library comes from where the grader's does, never from the folder of the notebook.
_PREPARE = """\
import sys
_places = sys.path[:]
sys.path[:] = [place for place in sys.path if place] + [{package!r}]
from minigpt4v.classroom import inside as _inside
sys.path[:] = _places
_inside.prepare({memory}, {scratch!r})
"""


@dataclass(frozen=True)
class Limits:
    """How long the cells of one notebook may run together, and how much memory they may take, in GiB."""

    seconds: float
    memory: float


class KernelStopped(Exception):
    """The kernel runs no more cells; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """How a cell ended.

    Attributes:
        error: the error that it ended with, or None.
        too_long: whether it was interrupted.
        told: what `inside` had to tell.
    """

    error: str | None
    too_long: bool
    told: list[dict[str, str]]


class _Client(NotebookClient):
    """Keeps what `inside` tells, and no other output: an endless loop prints more than memory can hold."""

    def output(self, outs: list[Any], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        if MEDIA_TYPE in msg["content"].get("data", {}):
            return super().output(outs, msg, display_id, cell_index)
        return None


@contextmanager
def limited_kernel(folder: Path, scratch: Path, limits: Limits) -> Iterator[Callable[[str], Outcome]]:
    """A kernel in a folder inside the scratch folder; gives a function that runs the source of a cell in it.

    The function raises `KernelStopped` when the time is up or the process has ended. No single cell gets more than half
    of the time that is left: after an endless loop there is some for the other exercises.
    Raises `KernelStopped` or RuntimeError where no kernel starts, or it cannot load this library.
    """
    client = _new_client()
    environment = _environment(scratch / "home")
    with client.setup_kernel(cwd=str(folder), env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        manager: Any = client.km  # its type leaves open whether the kernel is a process of this machine
        process = manager.provisioner.pid
        try:
            memory = int(limits.memory * 2**30)
            code = _PREPARE.format(package=str(PACKAGE_FOLDER.parent), memory=memory, scratch=str(scratch.resolve()))
            prepared = _run(client, code, _START_SECONDS)
            if prepared.error:
                raise RuntimeError(f"the kernel of this Python cannot load minigpt4v: {prepared.error}")
            end = time.monotonic() + limits.seconds

            def run(source: str) -> Outcome:
                left = end - time.monotonic()
                if left <= 0:
                    raise KernelStopped(f"it took longer than {limits.seconds:g} seconds")
                return _run(client, source, math.ceil(left / 2))

            yield run
        finally:
            _end(process, scratch)


def _new_client() -> _Client:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell()])
    return _Client(
        notebook,
        allow_errors=True,
        interrupt_on_timeout=True,
        error_on_timeout={"ename": _TOO_LONG, "evalue": "", "traceback": []},
        shutdown_kernel="immediate",
        startup_timeout=_START_SECONDS,
    )


def _run(client: _Client, source: str, seconds: int) -> Outcome:
    replies: list[dict[str, str]] = []
    client.timeout = seconds
    client.on_cell_error = lambda execute_reply, **_: replies.append(execute_reply["content"])
    cell = nbformat.v4.new_code_cell(source)
    try:
        client.execute_cell(cell, 0)
    except DeadKernelError as error:
        raise KernelStopped("its Python process ended: a crash, too little memory, or exit()") from error
    told = [output.data[MEDIA_TYPE] for output in cell.outputs]
    if not replies:
        return Outcome(None, False, told)
    if replies[0]["ename"] == _TOO_LONG:
        return Outcome(f"a cell was stopped after {seconds} seconds: is there a loop that never ends?", True, told)
    return Outcome(f"{replies[0]['ename']}: {replies[0]['evalue']}", False, told)


def _environment(home: Path) -> dict[str, str]:
    """This program's, but with all places to write to inside the scratch folder."""
    temporary = home / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    homes = dict.fromkeys(("HOME", "USERPROFILE", "IPYTHONDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), str(home))
    scratch = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(temporary))
    return os.environ | homes | scratch | {"MINIGPT4V_PROGRESS": str(home / "progress.txt")}


def _end(process: int, scratch: Path) -> None:
    """End what the cells have started and left behind.

    The kernel leads a group of processes of its own. Who has left it is known, on Linux, by its home in our folder.
    """
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process, signal.SIGKILL)
    home = f"HOME={scratch / 'home'}".encode()
    for found in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # ended by now, or somebody else's
            if home in found.read_bytes().split(b"\0"):
                os.kill(int(found.parent.name), signal.SIGKILL)
