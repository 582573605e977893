"""The folder of a training run, and run.json in it: what was trained, by which command, on which machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minigpt4v import __version__
from minigpt4v.commands.output import BadInput
from minigpt4v.foreign_files import check_file, is_finite, read_json, reason
from minigpt4v.paths import PACKAGE_FOLDER, is_litter, write_atomically
from minigpt4v.run_lock import LOCK_NAME

_RECORD = "run.json"


def check_place(folder: Path) -> None:
    """Raise `BadInput` unless the folder is there, or can be made."""
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"--out {str(folder)!r} is a file: name a new folder")
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise BadInput(f"--out {str(folder)!r} cannot be made: {str(above)!r} may not be written to")


def check_empty(folder: Path) -> None:
    """Raise `BadInput` where there is more in the folder than a run that died at once has left."""
    if any(path.name != LOCK_NAME and not is_litter(path) for path in folder.iterdir()):
        fix = "add --resume to go on with it" if (folder / _RECORD).is_file() else "name a new folder"
        raise BadInput(f"--out {str(folder)!r} is not empty: {fix}, or name another with --out")


def remove_litter(folder: Path) -> None:
    """Remove the half-written files that a killed run has left in its folder."""
    for path in folder.iterdir():
        if is_litter(path):
            path.unlink()


def read_record(folder: Path) -> dict[str, Any]:
    """run.json of a run. Raises `BadInput` where the folder is no run."""
    try:
        record = read_json(folder / _RECORD)
        if isinstance(record["options"], dict) and is_finite(record["minutes"]) and record["minutes"] >= 0:
            return record
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise BadInput(
        f"{str(folder)!r} is no training run (it has no usable {_RECORD}): check --out, or leave out --resume"
    )


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Write run.json, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / _RECORD, json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def progress_of(folder: Path) -> str | None:
    """How far the newest checkpoint of a run is, in words; None where there is none yet."""
    from minigpt4v.checkpoint import STAGES_FOLDER, checkpoints_in, step_of

    if last := checkpoints_in(folder):
        return f"step {step_of(last[-1])}"
    found = [path for stage in (folder / STAGES_FOLDER).glob("*") for path in checkpoints_in(stage)]
    newest = max(found, key=lambda path: path.stat().st_mtime, default=None)
    return f"step {step_of(newest)} of {newest.parent.parent.name}" if newest else None


def world_of(folder: Path) -> str | None:
    """The world of EmojiScenes that the model in a folder was trained on, if its run.json says so."""
    try:
        world = read_json(folder / _RECORD)["world"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return world if isinstance(world, str) else None


def new_record(command: str, world: str | None) -> dict[str, Any]:
    """What is known before training starts; "minutes" counts up as the run goes on."""
    import torch

    return {
        "command": command,
        "world": world,
        "minutes": 0.0,
        "steps": 0,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "code_revision": code_revision(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "machine": machine(),
    }


def code_revision() -> str | None:
    """The git revision of the code, with "-changed" where it has changes; None for an installed library."""
    repository = PACKAGE_FOLDER.parent
    if not (repository / ".git").exists():
        return None
    git = ["git", "-C", str(repository)]
    try:
        revision = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", check=True
        ).stdout.strip()
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no"], capture_output=True, encoding="utf-8", check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return revision + ("-changed" if changes.stdout.strip() else "")


def machine() -> dict[str, Any]:
    """The kind of machine: nothing that tells one machine from another of its kind."""
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "system": platform.system(),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def digest(path: str) -> str:
    """SHA-256 of a file. Raises `BadInput` where it cannot be read."""
    try:
        check_file(Path(path))
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise BadInput(f"{path!r} cannot be read ({reason(error)}): put the file back where it was") from error


def is_main_process() -> bool:
    """Whether this process writes: under torchrun, only the first does."""
    return int(os.environ.get("RANK", "0")) == 0
