"""Is everything there that the course needs? Each line says so, or what is wrong and how to mend it."""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from minigpt4v.paths import data_folder

_OLDEST_PYTHON = (3, 11)
_INSTALL = "run `make setup` in the folder of the course"
_EXTRAS = ("course", "hf")  # what the notebooks need beyond the library itself


def checkup() -> None:
    """Print one line for each thing the course needs: "✓" if it is there, "✗" with the fix if it is not.

    What differs from machine to machine stands in [here: ...].
    """
    for name, look in _CHECKS.items():
        try:
            found, trouble = look()
        except Exception as error:  # a check that breaks down is trouble too, and the others still run
            found, trouble = type(error).__name__, str(error)
        print(f"{'✗' if trouble else '✓'} {name} [here: {found}]" + (f"\n  {trouble}" if trouble else ""))


def _python() -> tuple[str, str]:
    here = platform.python_version()
    numbers = tuple(int(number) for number in platform.python_version_tuple()[:2])
    wanted = ".".join(map(str, _OLDEST_PYTHON))
    return here, "" if numbers >= _OLDEST_PYTHON else f"the course needs Python {wanted}: install one, then {_INSTALL}"


def _packages() -> tuple[str, str]:
    wanted = [Requirement(line) for line in requires("minigpt4v") or []]
    asked = [each for each in wanted if not each.marker or any(each.marker.evaluate({"extra": x}) for x in _EXTRAS)]
    faults = [fault for requirement in asked if (fault := _missing(requirement))]
    return f"{len(asked) - len(faults)} of {len(asked)}", f"{'; '.join(faults)}: {_INSTALL}" if faults else ""


def _missing(requirement: Requirement) -> str:
    try:
        here = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed"
    return "" if requirement.specifier.contains(here, prereleases=True) else f"{requirement} is wanted, not {here}"


def _device() -> tuple[str, str]:
    import torch

    (torch.ones(8, 8) @ torch.ones(8, 8)).sum().item()
    gpu = f", GPU: {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ", no GPU: none is needed"
    return f"CPU, {torch.get_num_threads()} threads{gpu}", ""


def _data() -> tuple[str, str]:
    folder = data_folder()
    sums = json.loads((folder / "checksums.json").read_text(encoding="utf-8"))
    wanted = {name: digest for part in sums.values() for name, digest in part.items() if _is_used(name)}
    faults = [name for name, digest in wanted.items() if _digest(folder / name) != digest]
    listed = f"these files are missing or changed: {', '.join(faults)}. Get them back with `git checkout data`"
    return f"{len(wanted) - len(faults)} of {len(wanted)} files", listed if faults else ""


def _is_used(name: str) -> bool:
    """Whether the notebooks read this file; the wheel does not bring what the data are made with."""
    return re.fullmatch(r"(emoji/.*\.(png|jsonl)|emoji/nouns.jsonl|text/.*\.txt|fonts/.*\.otf)", name) is not None


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _models() -> tuple[str, str]:
    from minigpt4v.gpt4v import shipped_checkpoints

    found = shipped_checkpoints()
    missing = {"laptop", "laptop-stages", "shakespeare"} - set(found)
    fix = f"{', '.join(sorted(missing))} is missing: get it back with `git checkout data`" if missing else ""
    return ", ".join(found), fix


def _fonts() -> tuple[str, str]:
    from minigpt4v.plot.fonts import missing_characters

    missing = missing_characters("a cat, 一只猫")
    return "Latin, Chinese", f"no font has {missing!r}: put data/fonts back with `git checkout data`" if missing else ""


def _working_folder() -> tuple[str, str]:
    from minigpt4v.exercises.progress import progress_file

    folder = progress_file().absolute().parent
    probe = folder / ".minigpt4v-probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        fix = "Copy the course to a folder of yours with `minigpt4v start FOLDER`"
        return "not writable", f"your progress cannot be kept: {error.strerror}. {fix}"
    return "writable", ""


_CHECKS: dict[str, Callable[[], tuple[str, str]]] = {
    "Python 3.11 or newer": _python,
    "packages": _packages,
    "PyTorch computes": _device,
    "drawings, names and texts are as they were made": _data,
    "trained models": _models,
    "fonts for figures": _fonts,
    "a folder that keeps your progress": _working_folder,
}
