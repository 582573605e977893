"""How the cost of a training step grows: `python -m bench.scaling`.

One size is changed at a time, around a base: width, layers, image tokens, length of the text. The exponent is the slope
of a straight line through log cost against log size, fitted in each round by itself; a second one takes the two
largest sizes alone, where what does not grow weighs least. One thread, CPU time.

Then processes: the same training steps of `laptop`, the same pictures in each, by one process with one thread, by one
with two, and by two with one each, which share every batch (torchrun, gloo). By the clock, in turn.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench import ROOT, command_line, record
from bench.timing import in_turn, ratios, spread, threads
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.streams import pack_batch
from minigpt4v.gpt import GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.objectives import AnswerObjective
from minigpt4v.presets import PRESETS, PresetRun
from minigpt4v.recipe import TrainingSettings, make_optimizers
from minigpt4v.tokenizer import CharTokenizer
from minigpt4v.vision import VisionConfig

BASE = {"width": 128, "layers": 4, "image tokens": 16, "text tokens": 112}
SIZES = {
    "width": (64, 128, 256, 512),
    "layers": (2, 4, 8, 16),
    "image tokens": (16, 64, 256),
    "text tokens": (112, 240, 496, 1008),
}
BATCH, HEAD_WIDTH, IMAGE_SIZE = 4, 32, 64
WAYS = {  # processes, threads of each
    "one process, one thread": (1, 1),
    "one process, two threads": (1, 2),
    "two processes, one thread each": (2, 1),
}


def main(argv: list[str] | None = None) -> None:
    """Measure everything, print it, and write bench/results/scaling.json."""
    arguments = command_line.read(argv, __doc__, longer="more rounds, and more steps of the processes")
    if arguments.worker:
        take_steps(arguments.worker, arguments.steps)
    elif arguments.long:
        measure(rounds=9, launches=5, steps=40)
    else:
        measure(rounds=3, launches=2, steps=10)


def measure(rounds: int, launches: int, steps: int) -> None:
    grown = {what: grow(what, sizes, rounds) for what, sizes in SIZES.items()}
    shared = processes(launches, steps)
    record.print_table(
        "exponent of the cost of a step in",
        [(f"{what} {name}", found[name]) for what, found in grown.items() for name in ("all", "two largest")],
    )
    record.print_table("laptop, sentences, a step", shared.items())
    about = record.about(rounds=rounds, base=BASE, batch=BATCH, launches=launches, steps=steps)
    record.save("scaling", {"about": about, "growth": grown, "processes": shared})


def grow(what: str, sizes: tuple[int, ...], rounds: int) -> dict[str, Any]:
    """Milliseconds of a step at each size, and the exponents of the growth."""
    with threads(1):
        seconds = in_turn({size: stepper(BASE | {what: size}) for size in sizes}, rounds)
    return {
        "milliseconds": {size: spread(values, 1000, 1) for size, values in seconds.items()},
        "all": exponents(sizes, list(seconds.values())),
        "two largest": exponents(sizes[-2:], list(seconds.values())[-2:]),
    }


def exponents(sizes: tuple[int, ...], seconds: list[list[float]]) -> list[float]:
    """Slopes of log seconds against log size: least, median and most of the rounds. seconds: of each size, by round."""
    slopes, _ = np.polyfit(np.log(sizes), np.log(np.array(seconds)), deg=1)
    return spread(slopes.tolist(), digits=2)


def stepper(size: dict[str, int]) -> Callable[[], None]:
    """One training step of a model of that size: forward, backward, and the update as `Trainer` does it."""
    torch.manual_seed(0)
    tokenizer = CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz"])
    patch = IMAGE_SIZE // int(size["image tokens"] ** 0.5)
    text = GPTConfig(
        vocabulary_size=tokenizer.vocabulary_size,
        context_length=size["image tokens"] + size["text tokens"],
        layers=size["layers"],
        heads=size["width"] // HEAD_WIDTH,
        width=size["width"],
    )
    vision = VisionConfig(width=size["width"], image_size=IMAGE_SIZE, kind="patch", patch_size=patch, layers=1)
    objective = AnswerObjective(GPT4V(GPT4VConfig(text, vision), tokenizer))
    optimizers = make_optimizers(objective, TrainingSettings(steps=1))
    batch = batch_of(ConversationEncoder(tokenizer, size["image tokens"]), size["text tokens"])

    def step() -> None:
        objective(batch)[0].backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    return step


def batch_of(encoder: ConversationEncoder, text_tokens: int) -> dict[str, Any]:
    """Pictures with turns of 16 tokens each, so that every length asks for the same share of answers."""
    turn = Turn("abcdefgh", "abcde")  # and the marks of user, assistant and end
    about = [[(turn,) for _ in range(text_tokens // 16)]] * BATCH
    return pack_batch(about, encoder, torch.device("cpu")) | {"images": torch.rand(BATCH, 3, IMAGE_SIZE, IMAGE_SIZE)}


def processes(launches: int, steps: int) -> dict[str, list[float]]:
    """Milliseconds of a step in each of `WAYS`, and how many times as fast as one thread the two others are."""
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(launches):
        for way, (number, each) in WAYS.items():
            seconds[way].append(launch(number, each, steps))
    alone, *others = WAYS
    speed_ups = {f"{way}: times as fast": ratios(seconds[alone], seconds[way]) for way in others}
    return {f"{way}: milliseconds": spread(values, 1000, 1) for way, values in seconds.items()} | speed_ups


def launch(number: int, each: int, steps: int) -> float:
    """Median seconds of a step in so many new processes with so many threads each."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "seconds.json"
        words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)]
        words += ["-m", "bench.scaling", "--worker", str(found), "--steps", str(steps)]
        environment = os.environ | {"OMP_NUM_THREADS": str(each), "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run([sys.executable, *words], cwd=ROOT, env=environment, check=True)
        measured = json.loads(found.read_text(encoding="utf-8"))
    if measured["processes"] != number:
        raise RuntimeError(f"{measured['processes']} processes took part instead of {number}")
    return float(np.median(measured["seconds"]))


def take_steps(found: Path, steps: int) -> None:
    """What each process does: training steps of `laptop`, the first of which does not count."""
    preset = replace(PRESETS["laptop"], minutes=10**6)
    trainer = PresetRun(preset)._sentences_trainer()
    seconds = []
    for _ in range(1 + steps):
        started = time.perf_counter()
        trainer.train_step()
        seconds.append(time.perf_counter() - started)
    if trainer.accelerator.is_main_process:
        found.write_text(
            json.dumps({"processes": trainer.accelerator.num_processes, "seconds": seconds[1:]}), encoding="utf-8"
        )


if __name__ == "__main__":
    main()
