"""Which encoder should the course take? `python -m bench.stems` writes `bench/results/stems.json`, for chapter 10.

One emoji of the 16 of `core16` is drawn somewhere on a coloured ground. An encoder of each kind learns two things at
once: its name, read off the mean of the tokens, and its place, which the tokens vote on. Same pictures, same steps,
same heads for all. Learning rates were chosen on fresh pictures of the training styles with a seed of its own
(`python -m bench.stems --rates`). The held-out style decides nothing. `python -m bench.stems --equal-time` adds, for
the stems of `EQUAL_TIME`, what each learns in as much CPU time as the 200 steps of "conv 16" take.
"""

from __future__ import annotations

import json
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from bench import RESULTS_FOLDER
from minigpt4v.attention import unit_scale
from minigpt4v.datasets.rendering import Renderer, draw_noise
from minigpt4v.datasets.scenes import GROUNDS, IMAGE_SIZE, Scene, SceneObject, World, load_world
from minigpt4v.paths import write_atomically
from minigpt4v.position import LearnedPositions2d
from minigpt4v.training import Trainer, TrainingSettings
from minigpt4v.vision import VisionConfig, make_encoder

RESULTS = RESULTS_FOLDER / "stems.json"
STEPS, BATCH, WIDTH = 200, 32, 64
SEEDS, RATE_SEED = (0, 1, 2), 100
RATES = (3e-3, 1e-2)  # the first did better for convolutions, the second for patches (patch 4 took it unmeasured)
TESTED = 1000  # pictures of each split
_SIZES = range(16, 33)


class ResidualEncoder(nn.Module):
    """A small network in the manner of ResNet: three blocks with shortcuts, each halving the grid (He et al. 2016)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.blocks = nn.Sequential(*(_ResidualBlock(a, b) for a, b in ((32, 32), (32, 64), (64, 128))))
        self.to_width = nn.Conv2d(128, width, 1)
        self.positions = LearnedPositions2d(4, 4, width)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Pictures [b, 3, 64, 64] -> tokens [b, 16, width], without their places."""
        grid = self.to_width(self.blocks(self.stem(2 * images - 1)))
        return unit_scale(rearrange(grid, "b w r q -> b (r q) w"))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Pictures [b, 3, 64, 64] -> tokens [b, 16, width]."""
        return self.positions(self.features(images))


class _ResidualBlock(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=2, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.convolutions(x) + self.shortcut(x))


def _patch(size: int) -> Callable[[], nn.Module]:
    return lambda: make_encoder(VisionConfig(width=WIDTH, kind="patch", patch_size=size))


def _conv(size: int, channels: tuple[int, ...]) -> Callable[[], nn.Module]:
    return lambda: make_encoder(VisionConfig(width=WIDTH, patch_size=size, channels=channels))


# name -> (how it is made, learning rate, steps)
STEMS: dict[str, tuple[Callable[[], nn.Module], float, int]] = {
    "conv 16": (_conv(16, (32, 64, 128)), RATES[0], STEPS),
    "conv 8": (_conv(8, (32, 64)), RATES[0], STEPS),
    "patch 4": (_patch(4), RATES[1], STEPS),
    "patch 8": (_patch(8), RATES[1], STEPS),
    "patch 16": (_patch(16), RATES[1], STEPS),
    "patch 32": (_patch(32), RATES[1], STEPS),
    "resnet 16": (lambda: ResidualEncoder(WIDTH), RATES[0], STEPS),
}
EQUAL_TIME = ("patch 8", "patch 16", "resnet 16")


class Sight(nn.Module):
    """What and where: an objective for `Trainer`."""

    def __init__(self, encoder: nn.Module, nouns: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = nn.Linear(WIDTH, nouns, bias=False)
        self.vote = nn.Linear(WIDTH, 3)  # of each token: how much it counts, and how far right and below the centre is

    def centres(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens [b, n, width] -> the guessed centre (x, y) in pixels, [b, 2]."""
        side = int(tokens.shape[1] ** 0.5)
        middles = (torch.arange(side) + 0.5) * IMAGE_SIZE / side
        rows, columns = torch.meshgrid(middles, middles, indexing="ij")
        places = rearrange([columns, rows], "xy r c -> (r c) xy")
        weight, offset = self.vote(tokens).split([1, 2], dim=-1)
        return (weight.softmax(dim=1) * (places + 16 * offset)).sum(dim=1)

    def forward(self, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss, and the number of right names."""
        tokens = self.encoder(batch["images"])
        logits = 3 * self.classifier(tokens.mean(dim=1))
        error = F.smooth_l1_loss(self.centres(tokens) / 8, batch["centres"] / 8, reduction="sum")
        loss = F.cross_entropy(logits, batch["nouns"], reduction="sum") + error
        return loss, (logits.argmax(dim=-1) == batch["nouns"]).sum()


def wandering(world: World, source: str, count: int, styles: tuple[str, ...]) -> list[Scene]:
    """`count` scenes with one thing anywhere in the picture; they depend only on the source of chance, a text."""
    scenes = []
    for number in range(count):
        rng = random.Random(f"wandering/{source}/{number}")
        noun, style, size = rng.randrange(world.trained), rng.choice(styles), rng.choice(_SIZES)
        x, y = rng.randint(0, IMAGE_SIZE - size), rng.randint(0, IMAGE_SIZE - size)
        ground = rng.choice([ground for ground in GROUNDS if ground in world.grounds(style, noun)])
        scenes.append(Scene(ground, (SceneObject(noun, style, x, y, size, rng.random() < 0.5),)))
    return scenes


class WanderingStream:
    """Training pictures by step."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed, self.renderer = world, seed, Renderer(world)

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, Any]:  # noqa: ARG002 - one process
        """images, nouns, centres, count."""
        scenes = wandering(self.world, f"train/{self.seed}/{step}", BATCH, self.world.styles)
        return self.labelled(scenes, draw_noise(BATCH, seed=self.seed * 1_000_003 + step))

    def labelled(self, scenes: list[Scene], noise: torch.Tensor | None = None) -> dict[str, Any]:
        """Scenes as pictures with what is to be said of them."""
        things = [scene.objects[0] for scene in scenes]
        return {
            "images": self.renderer(scenes, noise),
            "nouns": torch.tensor([thing.noun for thing in things]),
            "centres": torch.tensor([thing.centre for thing in things]),
            "count": len(scenes),
        }


@torch.no_grad()
def measure(model: Sight, batch: dict[str, Any]) -> dict[str, float]:
    """Share of right names, and the mean distance between guessed and true centre in pixels."""
    right, distances = [], []
    for start in range(0, len(batch["images"]), 250):
        rows = slice(start, start + 250)
        tokens = model.encoder(batch["images"][rows])
        right.append(model.classifier(tokens.mean(dim=1)).argmax(dim=-1) == batch["nouns"][rows])
        distances.append((model.centres(tokens) - batch["centres"][rows]).norm(dim=-1))
    return {
        "named": round(torch.cat(right).float().mean().item(), 4),
        "pixels": round(torch.cat(distances).mean().item(), 3),
    }


def train(name: str, seed: int, world: World, rate: float | None = None, steps: int | None = None) -> Sight:
    """A trained model of one stem."""
    make, best, usual = STEMS[name]
    steps = steps or usual
    torch.manual_seed(seed)
    model = Sight(make(), world.trained)
    settings = TrainingSettings(
        steps=steps, seed=seed, learning_rate=rate or best, encoder_rate=1.0, warmup_steps=30, decay_share=1.0
    )
    Trainer(model, WanderingStream(world, seed), settings, title=f"{name}, seed {seed}").run()
    return model.eval()


def tests(world: World, source: str) -> dict[str, dict[str, Any]]:
    """Fresh pictures of the training styles and of the held-out one."""
    stream = WanderingStream(world, 0)
    styles = {"seen": world.styles, "style": (world.held_out_style,)}
    return {
        split: stream.labelled(wandering(world, f"{source}/{split}", TESTED, those)) for split, those in styles.items()
    }


def compare_rates() -> None:
    """Print what each rate gives for each stem, on training styles."""
    world = load_world("core16")
    fresh = tests(world, "rates")["seen"]
    for name in STEMS:
        for rate in RATES:
            print(name, rate, measure(train(name, RATE_SEED, world, rate), fresh), flush=True)


def relative_times(names: list[str]) -> dict[str, float]:
    """CPU seconds of a training step, forward and backward, in those of the first."""
    images = torch.rand(BATCH, 3, IMAGE_SIZE, IMAGE_SIZE)
    encoders = {name: STEMS[name][0]() for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(8):
        for name, encoder in encoders.items():
            started = time.process_time()
            encoder(images).square().mean().backward()
            seconds[name].append(time.process_time() - started)
    first = statistics.median(seconds[names[0]][1:])
    return {name: round(statistics.median(values[1:]) / first, 2) for name, values in seconds.items()}


def measured_seeds(
    name: str, world: World, shown: dict[str, dict[str, Any]], steps: int | None = None
) -> list[dict[str, dict[str, float]]]:
    """Train once for each seed; what each says of every split."""
    models = (train(name, seed, world, steps=steps) for seed in SEEDS)
    return [{split: measure(model, batch) for split, batch in shown.items()} for model in models]


def row(name: str, world: World, shown: dict[str, dict[str, Any]], time_per_step: float) -> dict[str, Any]:
    """Everything about one stem."""
    make, rate, steps = STEMS[name]
    encoder = make()
    return {
        "steps": steps,
        "tokens": encoder(shown["seen"]["images"][:1]).shape[1],
        "parameters": sum(parameter.numel() for parameter in encoder.parameters()),
        "time_per_step": time_per_step,
        "learning_rate": rate,
        "seeds": measured_seeds(name, world, shown),
    }


def compare_at_equal_time(world: World, shown: dict[str, dict[str, Any]]) -> None:
    """Add to the file of results what cheaper and dearer stems learn in the time of the first one's steps."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    for name in EQUAL_TIME:
        steps = round(STEPS / results["stems"][name]["time_per_step"])
        results["stems"][name]["equal_time"] = {"steps": steps, "seeds": measured_seeds(name, world, shown, steps)}
        write(results)
        print(name, json.dumps(results["stems"][name]["equal_time"]), flush=True)


def write(results: dict[str, Any]) -> None:
    """Put the results into their file."""
    write_atomically(RESULTS, json.dumps(results, indent=1) + "\n")


def main() -> None:
    """Measure the stems named on the command line, or all, and put them into the file of results."""
    torch.set_num_threads(1)
    if "--rates" in sys.argv:
        compare_rates()
        return
    world = load_world("core16")
    shown = tests(world, "test")
    if "--equal-time" in sys.argv:
        compare_at_equal_time(world, shown)
        return
    times = relative_times(list(STEMS))
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["stems"] if RESULTS.exists() else {}
    for name in sys.argv[1:] or STEMS:
        rows[name] = row(name, world, shown, times[name])
        results = {
            "about": f"core16, one emoji of 16 to 32 pixels anywhere, batches of {BATCH}, width {WIDTH}, {TESTED} fresh"
            f" pictures a split, seeds {list(SEEDS)}, one CPU thread; see bench/stems.py",
            "guess": {
                "named": round(1 / world.trained, 4),
                "pixels": round((shown["seen"]["centres"] - IMAGE_SIZE / 2).norm(dim=-1).mean().item(), 3),
            },
            "stems": {name: rows[name] for name in STEMS if name in rows},
        }
        write(results)
        print(name, json.dumps(rows[name]), flush=True)


if __name__ == "__main__":
    main()
