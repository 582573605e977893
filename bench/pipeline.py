"""What making the data costs, and its share of a training step: `python -m bench.pipeline`.

The share is taken inside real training steps: how long the batch took, of the whole step with its forward and backward
pass and the update of the weights. By the clock, because a step waits for its batch.
"""

from __future__ import annotations

import argparse
import random
import time
from typing import Any

from bench import record
from bench.timing import Spread, in_turn, spread
from minigpt4v.datasets.conversation import ConversationEncoder
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer, draw_noise
from minigpt4v.datasets.scenes import load_world, random_scene, scenes_of
from minigpt4v.presets import PRESETS, PresetRun
from minigpt4v.training import Stream, Trainer

SCENES = 256
WARM_UP = 3


def main(argv: list[str] | None = None) -> None:
    """Measure the presets for a CPU, print a table, and write bench/results/pipeline.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["tiny", "laptop"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--long", action="store_true", help="100 steps a stage instead of 15")
    arguments = parser.parse_args(argv)
    measure(arguments.presets, 100 if arguments.long else 15, arguments.device)


def measure(presets: list[str], steps: int, device: str = "cpu") -> None:
    worlds = dict.fromkeys(PRESETS[name].world for name in presets)
    made = {world: rates(world) for world in worlds}
    shares = {name: {stage: share(trainer, steps) for stage, trainer in trainers(name, device)} for name in presets}
    record.print_table("a second", [(f"{w}: {what}", rate) for w, each in made.items() for what, rate in each.items()])
    stages = {f"{name}, {stage}": found for name, both in shares.items() for stage, found in both.items()}
    record.print_table(
        "a step", [(f"{s}: {what}", each) for s, found in stages.items() for what, each in found.items()]
    )
    about = record.about(device=device, steps=steps)
    record.save("pipeline", {"about": about, "a second": made, "a step": shares})


def rates(world_name: str, rounds: int = 7) -> dict[str, Spread]:
    """How many of each are made in a second."""
    world = load_world(world_name)
    model = PresetRun(next(preset for preset in PRESETS.values() if preset.world == world_name)).model
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    scenes = scenes_of(world, "train", seed=0, count=SCENES)
    conversations = conversations_about(world, scenes, "bench")
    render, noise = Renderer(world), draw_noise(SCENES, seed=0)
    turns = sum(len(turns) for about in conversations for turns in about)
    numbers = {"scenes": SCENES, "questions": turns, "packed rows": SCENES, "augmented pictures": SCENES}
    seconds = in_turn(
        {
            "scenes": lambda: [random_scene(world, random.Random(i)) for i in range(SCENES)],
            "questions": lambda: conversations_about(world, scenes, "bench"),
            "packed rows": lambda: encoder.batch([encoder.pack(about) for about in conversations]),
            "augmented pictures": lambda: render(scenes, noise),
        },
        rounds,
        time.perf_counter,
    )
    return {what: spread([number / each for each in seconds[what]], digits=0) for what, number in numbers.items()}


def trainers(preset_name: str, device: str) -> list[tuple[str, Trainer]]:
    """The trainers of the two longest stages, as `PresetRun` makes them, but without a clock."""
    preset = PRESETS[preset_name]
    run = PresetRun(preset, device=device, settings={"steps": 10**6, "minutes": None})
    return [("naming", run._naming_trainer()), ("sentences", run._sentences_trainer())]


def share(trainer: Trainer, steps: int) -> dict[str, Spread]:
    """Milliseconds of a whole step and of its batch, and the batch's share of the step."""
    watched = trainer.stream = Watched(trainer.stream)
    whole = []
    for _ in range(WARM_UP + steps):
        started = time.perf_counter()
        trainer.train_step().tolist()  # a GPU is done when its numbers are here
        whole.append(time.perf_counter() - started)
    whole, batches = whole[WARM_UP:], watched.seconds[WARM_UP:]
    return {
        "milliseconds": spread(whole, 1000, 2),
        "batch, milliseconds": spread(batches, 1000, 2),
        "batch, share": spread([batch / step for batch, step in zip(batches, whole, strict=True)]),
    }


class Watched:
    """A stream that remembers how long each batch took."""

    def __init__(self, stream: Stream):
        self.stream = stream
        self.seconds: list[float] = []

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, Any]:
        started = time.perf_counter()
        batch = self.stream.batch(step, part, parts)
        self.seconds.append(time.perf_counter() - started)
        return batch


if __name__ == "__main__":
    main()
