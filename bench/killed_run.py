"""Small training runs that die on purpose, for `bench.kill_runs`: at a place in their work with files, by SIGKILL."""

from __future__ import annotations

import json
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
from PIL import Image
from tqdm import tqdm

from minigpt4v import own_data, presets
from minigpt4v.cli import main
from minigpt4v.presets import Preset
from minigpt4v.training import Trainer

INTERVAL = 5  # steps from one checkpoint to the next
RUN, LOG, OUTPUT = "run", "steps.log", "output.txt"
# What is trained: the options of `minigpt4v train`. The steps of a preset are those of each of its five stages.
KINDS = {
    "text": ("--data", "text.txt", "--tokenizer", "char", "--steps", "60"),
    "conversations": ("--data", "talk.jsonl", "--steps", "40"),
    "preset": ("--preset", "tiny", "--steps", "12"),
}


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
        _log(f"{self.title} from {self.step}")
        return super().run()

    def train_step(self) -> torch.Tensor:
        totals = super().train_step()
        _log(f"{self.title} {self.step}")
        return totals


def _log(line: str) -> None:
    with Path(LOG).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def write_data(folder: Path) -> None:
    """What the runs learn from: a text, and conversations about pictures."""
    (folder / "text.txt").write_text("the cat sat on the mat, and the dog did not. " * 50, encoding="utf-8")
    lines = []
    for colour in ("red", "green", "blue", "white"):
        Image.new("RGB", (8, 8), colour).save(folder / f"{colour}.png")
        turns = [{"question": "What colour is it?", "answer": colour}]
        lines.append(json.dumps({"images": [f"{colour}.png"], "turns": turns}))
    (folder / "talk.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def train(kind: str, folder: Path, resume: bool, place: Place | None, times: int) -> None:
    """`minigpt4v train` in this process, dying where it is `place` for the `times`-th time. Never returns."""
    tqdm.set_lock(threading.RLock())  # its own is one of the system, which nobody removes when we die
    _make_small()
    if place:
        sys.addaudithook(_killer(place, times))
    run_command(folder, "train", "--out", RUN, *(["--resume"] if resume else KINDS[kind]))


def _make_small() -> None:
    """Steps of a few milliseconds, and a preset that has all stages."""
    own_data.TEXT_LAYERS, own_data.TEXT_HEADS, own_data.TEXT_WIDTH, own_data.TEXT_CONTEXT_LENGTH = 1, 2, 16, 32
    own_data.Trainer = presets.Trainer = _LoggedTrainer  # type: ignore[misc]
    stages = {"pointing_steps": 1, "first_words_steps": 1, "comparing_steps": 1}  # --steps says how many
    small = Preset("core16", 16, 1, 2, 2, 60.0, 0.25, 4, channels=(4, 8, 8), **stages)
    presets.PRESETS |= {"tiny": small, "laptop": small}  # whose size a model of conversations has


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
