"""Files from strangers: damaged ones by the thousand at each door of the library, which must accept or refuse them.

    python -m bench.fuzz_doors --inputs 20000 --seed 0
    python -m bench.fuzz_doors --inputs 20000 --seed 0 --door pictures --door notebooks

An input is fine if it is accepted and what it gives is sound, or refused by a documented error in one printable line
that names the file. All else is a crash: another error, a death of the process, a hang, more than SECONDS of work, more
than MEMORY, a warning, a control character on the screen. Each crashing input is written to a folder, with what went
wrong; the exit code is then 1. An input depends on its door, the seed and its number alone. Needs a system with `fork`.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

DOORS = {
    "models": "doors_models.Models",
    "language models": "doors_models.LanguageModels",
    "checkpoints": "doors_models.Checkpoints",
    "tokenizers": "doors_models.Tokenizers",
    "pictures": "doors_data.Pictures",
    "lines": "doors_data.Lines",
    "questions": "doors_data.Questions",
    "notebooks": "doors_course.Notebooks",
    "runs": "doors_course.Runs",
}
SECONDS = 5.0  # of processor time for one input
HANG = 20.0  # seconds by the clock after which a process that has not gone on is killed
MEMORY = 2**30  # bytes above what the process has when it begins
_CRASHES = 20  # after which a door is left


@dataclass
class Result:
    """What a door did with its inputs; crashes: what went wrong, by number of the input."""

    accepted: int = 0
    refused: int = 0
    crashes: dict[int, str] = field(default_factory=dict)
    memory: int = 0  # bytes, the most above the beginning
    seconds: float = 0.0

    @property
    def inputs(self) -> int:
        return self.accepted + self.refused + len(self.crashes)


def make_door(name: str, folder: Path) -> Any:
    """The door of a name, which reads files in a folder."""
    module, _, kind = DOORS[name].rpartition(".")
    return getattr(importlib.import_module(f"bench.{module}"), kind)(folder)


def draw(door: Any, seed: int, number: int) -> Any:
    """The input of a number."""
    return door.draw(Random(f"{seed}/{door.name}/{number}"))


def fuzz(name: str, inputs: int, seed: int, out: Path, make: Any = make_door) -> Result:
    """Take inputs 0 to `inputs` to a door, in a process of its own, and in a new one after each that dies."""
    context = multiprocessing.get_context("fork")
    result, started, begin = Result(), time.perf_counter(), 0
    while begin < inputs and len(result.crashes) < _CRASHES:
        ours, theirs = context.Pipe()
        at = context.Value("q", begin)
        process = context.Process(target=_work, args=(name, begin, inputs, seed, out, make, at, theirs))
        process.start()
        theirs.close()
        died = _follow(process, ours, at, result)
        if not died:
            break
        begin = at.value + 1
        result.crashes[at.value] = died
        saving = context.Process(target=_save_unread, args=(name, seed, at.value, out, make, died))
        saving.start()
        saving.join()
    result.seconds = time.perf_counter() - started
    return result


def _follow(process: Any, reports: Any, at: Any, result: Result) -> str:
    """Take in what the process reports until it ends. Returns what it died of; nothing where it came to its end."""
    last, since = None, time.perf_counter()
    while True:
        try:
            while reports.poll(0.2):
                report = reports.recv()
                if report is None:
                    process.join()
                    return ""
                for entry, value in report.items():
                    before = getattr(result, entry)
                    setattr(result, entry, before | value if isinstance(value, dict) else _add(entry, before, value))
        except EOFError:
            process.join()
            return f"the process died with exit code {process.exitcode}"
        if at.value != last:
            last, since = at.value, time.perf_counter()
        elif time.perf_counter() - since > HANG:
            process.kill()
            process.join()
            return f"a hang: nothing happened for {HANG:g} seconds"


def _add(entry: str, before: int, value: int) -> int:
    return max(before, value) if entry == "memory" else before + value


def _work(name: str, begin: int, inputs: int, seed: int, out: Path, make: Any, at: Any, reports: Any) -> None:
    """The process of a door: visits one input after the other, and reports what became of them."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch, _printing(Path(scratch) / "printed") as printed:
        door = make(name, _new_folder(Path(scratch) / "door"))
        for sample in door.samples:
            assert door.visit(sample), "a whole sample is refused"
        printed()
        warnings.simplefilter("error")
        crashes, base = 0, _peak()
        for number in range(begin, inputs):
            at.value = number
            files = draw(door, seed, number)
            accepted, fault = _visit(door, files, base)
            fault = fault or printed()
            reports.send({"crashes": {number: fault}} if fault else {"accepted" if accepted else "refused": 1})
            if fault:
                base = max(base, _peak() - MEMORY)
                save(out, name, number, files, fault)
                crashes += 1
                if crashes == _CRASHES:
                    break
        reports.send({"memory": _peak() - base})
    reports.send(None)


def _visit(door: Any, files: Any, base: int) -> tuple[bool, str]:
    """Whether an input is accepted, and what is wrong with how it was taken."""
    started = time.process_time()
    accepted = False
    try:
        accepted = door.visit(files)
    except Exception:
        return False, traceback.format_exc()
    seconds = time.process_time() - started
    if seconds > SECONDS:
        return accepted, f"it took {seconds:.1f} seconds"
    if _peak() - base > MEMORY:
        return accepted, f"it took {(_peak() - base) / 2**20:,.0f} MiB of memory"
    return accepted, ""


def _peak() -> int:
    """The most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@contextmanager
def _printing(path: Path) -> Iterator[Any]:
    """Send what is printed, also by libraries in C, to a file; gives a function that returns what is new there."""
    with path.open("w+b") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)

        def printed() -> str:
            sys.stdout.flush()
            sys.stderr.flush()
            if not file.seek(0, os.SEEK_END):
                return ""
            file.seek(0)
            text = file.read().decode("utf-8", "surrogateescape")
            file.seek(0)
            file.truncate()
            # libtiff reports damage on stderr by itself, in words of its own
            return "" if all(line.isprintable() for line in text.splitlines()) else f"it printed {text!r}"

        yield printed


def _new_folder(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _save_unread(name: str, seed: int, number: int, out: Path, make: Any, fault: str) -> None:
    """Write down an input that nobody lives to write down: it is drawn again, and not read."""
    with tempfile.TemporaryDirectory() as scratch:
        save(out, name, number, draw(make(name, _new_folder(Path(scratch) / "door")), seed, number), fault)


def save(out: Path, name: str, number: int, files: Any, fault: str) -> None:
    """Write a crashing input into a folder of its own."""
    folder = out / f"{name.replace(' ', '-')}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "fault.txt").write_text(fault, encoding="utf-8", errors="backslashreplace")
    for file, content in files.items():
        path = folder / file.replace("/", "--")
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.with_name(path.name + ".odd").write_text(content.value, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=20_000, help="for each door")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--door", action="append", choices=DOORS, help="default: all")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where crashing inputs go")
    options = parser.parse_args()
    crashed = 0
    print(f"{'door':<16}{'inputs':>8}{'refused':>9}{'accepted':>10}{'crashes':>9}{'seconds':>9}{'most MiB':>10}")
    for name in options.door or DOORS:
        found = fuzz(name, options.inputs, options.seed, options.out)
        counts = f"{found.inputs:>8}{found.refused:>9}{found.accepted:>10}{len(found.crashes):>9}"
        print(f"{name:<16}{counts}{found.seconds:>9.0f}{found.memory / 2**20:>10.0f}", flush=True)
        for number, fault in found.crashes.items():
            print(f"  {number}: {fault.strip().splitlines()[-1][:150]}")
        crashed += len(found.crashes)
    if crashed:
        sys.exit(f"{crashed} crashes: see {options.out}")


if __name__ == "__main__":
    main()
