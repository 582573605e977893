"""A small training run that dies on purpose, for `bench.kill_runs`: at a place in its work with files, by SIGKILL."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from tqdm import tqdm

from minigpt4v import own_data
from minigpt4v.cli import main
from minigpt4v.training import Trainer

STEPS, INTERVAL = 60, 5  # the interval: steps from one checkpoint to the next
TEXT, RUN, LOG, OUTPUT = "text.txt", "run", "steps.log", "output.txt"


@dataclass(frozen=True)
class Place:
    """Before Python does something to a file: an event of `sys.addaudithook`, and what the name of the file is like."""

    name: str
    event: str
    file: str


PLACES = (
    Place("a checkpoint is whole and has no name yet", "os.rename", r"step-\d+\.partial$"),
    Place("a checkpoint has its weights and no state", "open", r"\.partial/state\.json$"),
    Place("the model is written and has no name yet", "os.rename", r"\.model\.safetensors\.\w+\.part$"),
    Place("a checkpoint has its name, and the one before is there", "shutil.rmtree", r"step-\d+$"),
    Place("the checkpoint before is half removed", "os.remove", r"^\w+\.(safetensors|json)$"),
    Place("the checkpoint is newer than the model", "tempfile.mkstemp", r"\.model\.safetensors\."),
    Place("the model is newer than its tokenizer", "os.rename", r"\.tokenizer\.json\.\w+\.part$"),
    Place("a checkpoint is begun", "os.mkdir", r"step-\d+\.partial$"),
    Place("the history is a line longer than the checkpoint", "shutil.rmtree", r"step-\d+\.partial$"),
    Place("a line of the history is not written", "open", r"history\.jsonl$"),
    Place("the record of the run has no name yet", "os.rename", r"\.run\.json\.\w+\.part$"),
)


class _LoggedTrainer(Trainer):
    """Writes down each step that is done, at once, and checkpoints often."""

    def __init__(self, objective: Any, stream: Any, settings: Any, **more: Any):
        # a line of the history begins in one checkpoint and ends in another
        often = {"checkpoint_every": INTERVAL, "evaluate_every": INTERVAL, "log_every": INTERVAL - 1}
        super().__init__(objective, stream, replace(settings, **often), **more)

    def run(self) -> list[dict[str, Any]]:
        _log(f"from {self.step}")
        return super().run()

    def train_step(self) -> torch.Tensor:
        totals = super().train_step()
        _log(str(self.step))
        return totals


def _log(line: str) -> None:
    with Path(LOG).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def train(folder: Path, resume: bool, place: Place | None, times: int) -> None:
    """`minigpt4v train` in this process, dying where it is `place` for the `times`-th time. Never returns."""
    tqdm.set_lock(threading.RLock())  # its own is one of the system, which nobody removes when we die
    own_data.TEXT_LAYERS, own_data.TEXT_HEADS, own_data.TEXT_WIDTH, own_data.TEXT_CONTEXT_LENGTH = 1, 2, 16, 32
    own_data.Trainer = _LoggedTrainer  # type: ignore[misc]
    if place:
        sys.addaudithook(_killer(place, times))
    what = ["--resume"] if resume else ["--data", TEXT, "--tokenizer", "char", "--steps", str(STEPS)]
    run_command(folder, "train", "--out", RUN, *what)


def run_command(folder: Path, *arguments: str) -> NoReturn:
    """`minigpt4v ...` in this process, in that folder, with all it says in the file OUTPUT. Leaves with its code."""
    os.chdir(folder)
    output = os.open(OUTPUT, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    torch.set_num_threads(1)
    main(arguments)
    raise AssertionError("it always leaves")


def _killer(place: Place, times: int) -> Callable[[str, tuple], None]:
    pattern = re.compile(place.file)
    left = times

    def kill(event: str, arguments: tuple) -> None:
        nonlocal left
        if event == place.event and pattern.search(str(arguments[0])):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return kill
