"""Which parts of the training recipe matter? `python -m bench.training` writes `bench/results/training.json`.

For chapter 12. The second stage of the preset `tiny`, once as it is and then with one thing changed at a time: same
pictures, same steps, same seeds. For each seed the encoder learns its names once, and all variants start from there.
Accuracy is that on the questions about 128 fresh scenes of the training styles, which decide nothing here.
"""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from bench import RESULTS_FOLDER
from minigpt4v.datasets.conversation import IGNORED
from minigpt4v.gpt4v import GPT4V
from minigpt4v.objectives import hidden_states
from minigpt4v.paths import write_atomically
from minigpt4v.presets import PRESETS, PresetRun, make_model
from minigpt4v.training import Stream, Trainer

RESULTS = RESULTS_FOLDER / "training.json"
NAMING_STEPS, STEPS, EVALUATE_EVERY, SEEDS = 120, 160, 40, (0, 1, 2)


@dataclass(frozen=True)
class Variant:
    """What is changed: settings of the trainer, what the loss counts, and where the model starts."""

    settings: dict[str, Any] = field(default_factory=dict)
    loss: str = "answers"  # the mean over "answers", over "answer tokens", or over "all tokens" of the text
    start: str = "named"  # where the model starts: "named", after its first stage, or "random"


def _adamw(rate: float) -> Variant:
    return Variant({"optimizer": "adamw", "matrix_learning_rate": rate})


VARIANTS = {
    "the recipe": Variant(),
    "AdamW 0.003": _adamw(0.003),
    "AdamW 0.01": _adamw(0.01),
    "no warm-up": Variant({"warmup_steps": 1}),
    "no decay": Variant({"decay_share": 1e-9}),
    "random start": Variant(start="random"),
    "mean over answer tokens": Variant(loss="answer tokens"),
    "questions count too": Variant(loss="all tokens"),
}


def targets_of(batch: dict, questions: bool) -> torch.Tensor:
    """What each token but the last is to predict, [b, t - 1]: answer tokens, or with `questions` all of the text."""
    if not questions:
        return batch["labels"][:, 1:]
    segments = batch["segments"]
    inside = (segments[:, 1:] == segments[:, :-1]) & (segments[:, 1:] > 0)  # the first of a segment has no past
    return torch.where(inside, batch["ids"][:, 1:], IGNORED)


class TokenObjective(nn.Module):
    """The loss with every token counting the same; accuracy is not measured here."""

    def __init__(self, model: GPT4V, questions: bool):
        super().__init__()
        self.model, self.questions = model, questions

    def forward(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss of a batch of `SceneStream`, and 0."""
        targets = targets_of(batch, self.questions)
        counted = targets != IGNORED
        logits = self.model.gpt.head(hidden_states(self.model, batch)[:, :-1][counted])
        return F.cross_entropy(logits, targets[counted], reduction="sum"), torch.zeros(())


@dataclass(frozen=True)
class TokenStream:
    """A stream whose batches count tokens instead of answers."""

    stream: Stream
    questions: bool

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, Any]:
        batch = self.stream.batch(step, part, parts)
        return batch | {"count": int((targets_of(batch, self.questions) != IGNORED).sum())}


def measure(run: PresetRun, variant: Variant, starts: dict[str, dict], steps: int) -> dict[str, Any]:
    """One run of a variant from its start: accuracy by step, per family at the end, and CPU seconds."""
    run.model.load_state_dict(starts[variant.start])
    usual = {"warmup_steps": 50, "decay_share": 0.6}  # those of the chapter, whatever the presets do today
    run.settings = {"steps": steps, "minutes": None, "evaluate_every": EVALUATE_EVERY} | usual | variant.settings
    trainer = run._sentences_trainer()
    if variant.loss != "answers":
        questions = variant.loss == "all tokens"
        objective, stream = TokenObjective(run.model, questions), TokenStream(trainer.stream, questions)
        trainer = Trainer(objective, stream, trainer.settings, evaluate=trainer.evaluate)
    started = time.process_time()
    history = trainer.run()
    seconds = time.process_time() - started
    evaluations = [entry for entry in history if "held_out_accuracy" in entry]
    return {
        "steps": [entry["step"] for entry in evaluations],
        "accuracy": [entry["held_out_accuracy"] for entry in evaluations],
        "families": evaluations[-1]["families"],
        "cpu_seconds": seconds,
    }


def starts_of(run: PresetRun, seed: int, naming_steps: int) -> dict[str, dict]:
    """The weights that the variants of a seed start from."""
    random = copy.deepcopy(make_model(run.preset, run.world, seed).state_dict())
    run.settings = {"steps": naming_steps, "minutes": None}
    run.learn_names()
    return {"random": random, "named": copy.deepcopy(run.model.state_dict())}


def main(
    seeds: tuple[int, ...] = SEEDS,
    steps: int = STEPS,
    naming_steps: int = NAMING_STEPS,
    report: Callable[[str], None] = print,
    path: Path = RESULTS,
) -> None:
    """Measure all variants with all seeds, and write the results after each seed."""
    torch.set_num_threads(1)
    found: dict[str, list[dict]] = {name: [] for name in VARIANTS}
    for seed in seeds:
        run = PresetRun(PRESETS["tiny"], seed=seed)
        starts = starts_of(run, seed, naming_steps)
        for name, variant in VARIANTS.items():
            found[name].append(measure(run, variant, starts, steps))
            report(f"seed {seed}, {name}: {found[name][-1]['accuracy']}")
        path.parent.mkdir(exist_ok=True)
        write_atomically(path, json.dumps(_summary(found, seeds, steps, naming_steps), indent=1) + "\n")


def _summary(found: dict[str, list[dict]], seeds: tuple[int, ...], steps: int, naming_steps: int) -> dict[str, Any]:
    """Plain data; times only as multiples of the recipe's, whose absolute value a shared machine decides."""
    usual = [result["cpu_seconds"] for result in found["the recipe"]]
    rows = {
        name: {
            "steps": results[0]["steps"],
            "accuracy": [result["accuracy"] for result in results],
            "families": [result["families"] for result in results],
            "relative_time": round(
                statistics.median(r["cpu_seconds"] / u for r, u in zip(results, usual, strict=True)), 2
            ),
        }
        for name, results in found.items()
    }
    done = list(seeds[: len(usual)])
    about = {"preset": "tiny", "seeds": done, "naming_steps": naming_steps, "steps": steps, "threads": 1}
    return {"about": about, "variants": rows}


if __name__ == "__main__":
    main()
