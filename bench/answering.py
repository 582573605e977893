"""What using and training the model costs besides steps: `python -m bench.answering`.

`ask` of the loaded `laptop` model about a 64 x 64 picture, on one thread; `minigpt4v ask` in a new process, from the
start of Python to its end; both by the clock. And the most memory that training `laptop` ever held, both stages with
their evaluations, in a new process.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench import ROOT, command_line, record
from bench.timing import spread, threads
from minigpt4v.datasets.questions import ask_all
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world, scenes_of
from minigpt4v.gpt4v import GPT4V
from minigpt4v.presets import PRESETS, PresetRun

MODEL, QUESTION = "laptop", "What is in the picture?"


def main(argv: list[str] | None = None) -> None:
    """Measure everything, print it, and write bench/results/answering.json."""
    arguments = command_line.read(argv, __doc__, longer="more scenes, more starts, more training steps")
    if arguments.worker:
        train_and_weigh(arguments.worker, arguments.steps)
    elif arguments.long:
        measure(scenes=60, starts=9, steps=200)
    else:
        measure(scenes=10, starts=3, steps=20)


def measure(scenes: int, starts: int, steps: int) -> None:
    warm = answers(scenes)
    cold = spread(new_processes(starts), digits=2)
    memory = peak_memory(steps)
    rows = [(f"ask, warm, {what}, ms", value) for what, value in warm.items()]
    rows += [("minigpt4v ask in a new process, s", cold), (f"training {MODEL}, most memory, GB", memory)]
    record.print_table("using the model", rows)
    about = record.about(threads=1, scenes=scenes, starts=starts, steps=steps)
    results = {"ask, milliseconds": warm, "new process, seconds": cold, "training, most memory in GB": memory}
    record.save("answering", {"about": about} | results)


def answers(scenes: int) -> dict[str, Any]:
    """Milliseconds of `ask`, one question of every family about each scene: how many, spread, 90th percentile."""
    model, world = GPT4V.from_pretrained(MODEL), load_world("core64")
    records = scenes_of(world, "seen", seed="answering", count=scenes)
    seconds = []
    with threads(1):
        for picture, scene in zip(Renderer(world)(records), records, strict=True):
            for turn, *_ in ask_all(world, scene, random.Random(0)):
                started = time.perf_counter()
                model.ask(picture, turn.question)
                seconds.append(time.perf_counter() - started)
    warm = seconds[10:]
    return {
        "questions": len(warm),
        "spread": spread(warm, 1000, 1),
        "90 of 100 within": round(1000 * float(np.percentile(warm, 90)), 1),
    }


def new_processes(starts: int) -> list[float]:
    """Seconds of `minigpt4v ask`, each in a process of its own; the first, which reads the files, does not count."""
    scene = scenes_of(load_world("core64"), "seen", seed="answering", count=1)
    pixels = (255 * Renderer(load_world("core64"))(scene)[0]).byte().permute(1, 2, 0).numpy()
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "scene.png"
        Image.fromarray(pixels).save(picture)
        for _ in range(1 + starts):
            started = time.perf_counter()
            command = [sys.executable, "-m", "minigpt4v", "ask", str(picture), QUESTION, "--model", MODEL]
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
    return seconds[1:]


def peak_memory(steps: int) -> float:
    """Gigabytes (10^9 bytes) that a process which trains the preset held at most."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "memory.json"
        command = [sys.executable, "-m", "bench.answering", "--worker", str(found), "--steps", str(steps)]
        subprocess.run(command, cwd=ROOT, check=True)
        return round(json.loads(found.read_text(encoding="utf-8")) / 1e9, 2)


def train_and_weigh(found: Path, steps: int) -> None:
    """Train both stages for a few steps, and write down the most bytes this process ever held."""
    with tempfile.TemporaryDirectory() as folder:
        PresetRun(PRESETS[MODEL], folder=Path(folder), settings={"steps": steps, "minutes": None}).train()
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss: bytes on macOS, kibibytes on Linux
    found.write_text(json.dumps(unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss), encoding="utf-8")


if __name__ == "__main__":
    main()
