"""JupyterLab as `make lab` starts it, on a copy of the course that may be written to."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

ROOT = Path(__file__).resolve().parents[2]
SECONDS_TO_START = 120  # far more than it takes, for machines that are busy
SECONDS_TO_STOP = 30
# What the browser needs to ask JupyterLab how far it is, and what containers need, where everybody is root.
# Port 0 is any free one. JupyterLab's own search tries 8888 first and lets go of it before it listens: two servers that
# start at once can settle on the same.
FOR_TESTS = ("--no-browser", "--allow-root", "--LabApp.expose_app_in_browser=True", "--ServerApp.port=0")

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class LabServer:
    """A running JupyterLab.

    course: the copy of the repository that it serves. settings: the learner's own Jupyter folder.
    front_door: the page that `make lab` opens in the learner's browser; it leads to the course, token and all.
    """

    url: str
    token: str
    course: Path
    settings: Path
    front_door: Path

    @property
    def progress_file(self) -> Path:
        return self.course / "notebooks" / "minigpt4v-progress.txt"

    def ask(self, path: str, method: str = "GET", content: bytes | None = None) -> Any:
        """What the server answers to a request of its programming interface, as "api/kernels"."""
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def answers(self) -> bool:
        """It writes where it can be found a moment before it listens there."""
        try:
            return bool(self.ask("api/status"))
        except urllib.error.URLError as error:
            if isinstance(error.reason, ConnectionRefusedError):
                return False
            raise

    def start_afresh(self) -> None:
        """End all kernels, close all tabs and forget what was solved: the next test meets no traces of this one."""
        for session in self.ask("api/sessions"):
            self.ask(f"api/sessions/{session['id']}", "DELETE")
        self.ask("lab/api/workspaces/default", "PUT", (self.course / "lab" / "workspace.json").read_bytes())
        self.progress_file.unlink(missing_ok=True)


@contextmanager
def running_lab(folder: Path) -> Iterator[LabServer]:
    """Copy the course into an empty folder, serve it from there, and stop the server and its kernels at the end."""
    course, settings = folder / "course", folder / "jupyter"
    copy_course(course)
    with (folder / "log.txt").open("w+", encoding="utf-8") as log:
        server = subprocess.Popen(lab_command(), cwd=course, env=own_folders(settings), stdout=log, stderr=log)
        try:
            front_door = settings / "runtime" / f"jpserver-{server.pid}-open.html"
            wait_until(lambda: is_written(front_door) or server.poll() is not None, "JupyterLab to start")
            if server.poll() is None:
                info = json.loads(front_door.with_name(f"jpserver-{server.pid}.json").read_text(encoding="utf-8"))
                lab = LabServer(info["url"], info["token"], course, settings, front_door)
                wait_until(lambda: lab.answers() or server.poll() is not None, "JupyterLab to answer")
            log.seek(0)
            assert server.poll() is None, f"JupyterLab ended at once:\n{log.read()}"
            yield lab
        finally:
            server.terminate()
            server.wait(SECONDS_TO_STOP)


def lab_command() -> list[str]:
    """The command behind `make lab`, and what tests need."""
    recipe = re.search(r"^lab:.*\n\t\$\(RUN\) (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert recipe is not None, "`make lab` is not one command of Python any more"
    return [sys.executable, "-m", *recipe[1].split(), *FOR_TESTS]


def copy_course(course: Path) -> None:
    """What a learner opens and JupyterLab reads. The library and the data are used where they are."""
    for part in ("lab", "notebooks"):
        shutil.copytree(ROOT / part, course / part, ignore=shutil.ignore_patterns("*.txt", ".ipynb_checkpoints"))


def own_folders(settings: Path) -> dict[str, str]:
    """An environment in which Jupyter finds and leaves nothing of the person who runs the tests."""
    places = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    places["IPYTHONDIR"] = "ipython"
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("JUPYTER", "MINIGPT4V", "COV_")) and name != "MPLBACKEND"
    }
    return inherited | {name: str(settings / place) for name, place in places.items()}


def is_written(file: Path) -> bool:
    return file.is_file() and file.read_text(encoding="utf-8").rstrip().endswith("</html>")


def wait_until(holds: Callable[[], Thing], what: str, seconds: float = SECONDS_TO_START) -> Thing:
    """Look again and again until something holds, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = holds()
        if found:
            return found
        time.sleep(0.1)
    raise TimeoutError(f"waited {seconds:g} seconds for {what}")
