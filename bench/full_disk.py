"""What is lost when the disk is full? `python -m bench.full_disk --disks 40` trains on disks that are too small.

Each disk is a tmpfs of so many KiB, or of so many files, in a mount namespace that only this program sees (`unshare`
and `mount` of util-linux: Linux only; no rights are needed where user namespaces are allowed). All sizes are drawn from
a seed. What must hold for a training run on such a disk, or the command fails:

- it ends with exit code 1 and one sentence that says why, and no traceback;
- the model in its folder, once there is one, is a whole one;
- where the disk becomes read-only, going on is refused with a sentence, and no file changes;
- with room again it goes on from a whole checkpoint, at most the steps from one to the next are lost, and it ends with
  the weights and the history of a run that had room all the time.

The other commands that write (`COMMANDS`) are tried on disks that grow until they succeed: where one fails, it says so
in the same way and leaves nothing half-written.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from bench.kill_runs import Lost, check_model, most_lost, new_folder, outcome, output, start, start_process
from bench.killed_run import RUN, run_command
from minigpt4v.paths import is_litter

ALONE = ("unshare", "--mount", "--map-root-user")  # the program that follows sees mounts that nobody else does
ROOM = {"size": "64m"}  # more than anything here needs
LARGEST, MOST_FILES = 160, 16  # KiB and files: about what the small run needs at its largest
DISK = "disk"
COMMANDS = (
    ("scene", "--seed", "1", "--out", f"{DISK}/scene.png"),
    ("start", f"{DISK}/course"),
    ("handout", f"{DISK}/class"),
    ("export", f"{DISK}/page"),
)
_SENTENCES = ("the disk is full", "may not be written to")


def can_be_alone() -> bool:
    """Whether this system lets us have mounts of our own: it is tried, where nobody sees it."""
    mount = ["mount", "-t", "tmpfs", "tmpfs", tempfile.gettempdir()]
    try:
        return subprocess.run([*ALONE, *mount], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


@contextmanager
def disk(place: Path, limits: dict[str, Any]) -> Iterator[None]:
    """A small disk at an empty folder; limits: those of tmpfs, as {"size": "8k"} or {"nr_inodes": 5}."""
    place.mkdir()
    _mount(place, "-t", "tmpfs", "-o", _written(limits), "tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


def _mount(place: Path, *options: str) -> None:
    subprocess.run(["mount", *options, place], check=True)


def _written(limits: dict[str, Any]) -> str:
    return ",".join(f"{name}={value}" for name, value in limits.items())


def small_disks(disks: int, seed: int, folder: Path) -> dict[str, int]:
    """Train on so many disks. Raises Lost where a promise is broken; returns how many were full, and how many not."""
    whole = new_folder(folder, "whole")
    start("text", whole).join()
    expected = outcome(whole)
    random_ = random.Random(seed)
    found = {"full": 0, "large enough": 0, "most steps lost": 0}
    for number in range(disks):
        limits = {"nr_inodes": random_.randint(2, MOST_FILES)} if number % 3 == 2 else _size(random_)
        here = new_folder(folder, f"run-{number}")
        with disk(here / RUN, limits):
            full = _fill(here)
            if full:
                _try_read_only(here)
                _mount(here / RUN, "-o", f"remount,{_written(ROOM | {'nr_inodes': 0})}")
                start("text", here).join()
            if outcome(here) != expected:
                raise Lost(f"{here}, {limits}: model or history are not those of a run that had room")
        found["full" if full else "large enough"] += 1
        found["most steps lost"] = max(found["most steps lost"], most_lost(here))
    return found


def _size(random_: random.Random) -> dict[str, Any]:
    return {"size": f"{random_.randint(1, LARGEST // 4) * 4}k"}  # in pages


def _fill(here: Path) -> bool:
    """Train; whether the disk was too small for it."""
    process = start("text", here)
    process.join()
    if process.exitcode == 0:
        return False
    _check_sentence(here, process.exitcode)
    check_model(here)
    return True


def _try_read_only(here: Path) -> None:
    """Go on, or begin, where nothing can be written: a sentence, and no file changes."""
    _mount(here / RUN, "-o", "remount,ro")
    before = _contents(here / RUN)
    process = start("text", here)
    process.join()
    _check_sentence(here, process.exitcode)
    if _contents(here / RUN) != before:
        raise Lost(f"{here}: files changed on a disk that is read-only")
    _mount(here / RUN, "-o", "remount,rw")


def _check_sentence(here: Path, code: int) -> None:
    said = output(here)
    last = said.splitlines()[-1] if said else ""
    if code not in (1, 2) or not last.startswith("Error: ") or not any(words in last for words in _SENTENCES):
        raise Lost(f"{here}: exit code {code}, and not one sentence: {said}")


def _contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def growing_disks(command: tuple[str, ...], folder: Path) -> int:
    """Run a command where no file can be made, and on disks of 4, 16, 64, ... KiB, until it succeeds.

    Returns how many were too small for it. Raises Lost where a promise is broken.
    """
    for power in count():
        here = new_folder(folder, f"{command[0]}-{power}")
        with disk(here / DISK, {"size": f"{4**power}k"} if power else {"nr_inodes": 1}):
            process = start_process(run_command, here, *command)
            process.join()
            if process.exitcode == 0:
                return power
            _check_sentence(here, process.exitcode)
            if litter := [path for path in (here / DISK).rglob("*") if path.is_file() and is_litter(path)]:
                raise Lost(f"{here}: half-written files: {litter}")
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disks", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="*", default=[command[0] for command in COMMANDS])
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.alone:
        if not can_be_alone():
            sys.exit(f"this system does not allow `{' '.join(ALONE)} mount`: try it on Linux, outside of a container")
        os.execvp(ALONE[0], [*ALONE, sys.executable, "-m", "bench.full_disk", *sys.argv[1:], "--alone"])
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = small_disks(options.disks, options.seed, Path(folder))
            print(f"training: {found['full']} disks were full, {found['large enough']} large enough; ", end="")
            print(f"at most {found['most steps lost']} steps lost at once")
            for command in COMMANDS:
                if command[0] in options.commands:
                    print(f"{command[0]}: {growing_disks(command, Path(folder))} disks were full", flush=True)
        except Lost as error:
            sys.exit(f"Lost: {error}")


if __name__ == "__main__":
    main()
