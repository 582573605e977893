"""Three ways to join pictures and words, trained alike: `python -m bench.fusion` writes bench/results/fusion.json.

One encoder per seed learns to name things and is then frozen; the three models of `minigpt4v.fusion` start from the
same weights and read the same batches. Accuracy is the share of answers that greedy decoding would write exactly.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from typing import Any

import torch

from bench import RESULTS_FOLDER
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import scenes_of
from minigpt4v.datasets.streams import SceneStream, scene_batch
from minigpt4v.fusion import FrozenStream, see, three_ways
from minigpt4v.gpt4v import GPT4V
from minigpt4v.objectives import AnswerObjective
from minigpt4v.paths import write_atomically
from minigpt4v.presets import PRESETS, PresetRun, held_out_accuracy
from minigpt4v.training import Trainer, TrainingSettings

RESULTS = RESULTS_FOLDER / "fusion.json"
FAMILIES = ("what", "what", "what", "how_many")  # behind each picture
RECIPE = {"world": "core16", "naming_steps": 200, "batches": 250, "pictures": 16, "steps": 1000}
RATES = {"learning_rate": 5e-3, "matrix_learning_rate": 0.03, "warmup_steps": 20}
SCENES, EVALUATE_EVERY = 300, 100
_ONCE = tuple(dict.fromkeys(FAMILIES))


def main() -> None:
    """Train and measure; the seeds that are named are added to those in the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    for seed in seeds:
        measured = measure(seed, RECIPE)
        found = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"seeds": {}}
        found["recipe"] = RECIPE | {"families": FAMILIES, "threads": 1, "torch": torch.__version__} | RATES
        found["seeds"] = dict(sorted((found["seeds"] | {str(seed): measured}).items()))
        write_atomically(RESULTS, json.dumps(found, indent=1) + "\n")


def measure(seed: int, recipe: dict[str, Any]) -> dict[str, Any]:
    """Everything about one seed: the baselines, and for each way its accuracies, size and relative time."""
    run = PresetRun(PRESETS["tiny"], seed=seed, settings={"steps": recipe["naming_steps"], "minutes": None})
    run.learn_names()
    named, encoder = run.model, ConversationEncoder(run.model.tokenizer, run.model.tokens_per_image)
    stream = SceneStream(run.world, encoder, recipe["pictures"], seed, families=FAMILIES, languages=("en",))
    frozen = FrozenStream(stream, named.encoder, recipe["batches"])
    tests = {split: _test(run, encoder, split) for split in ("seen", "style")}
    guess = {split: _guess(turns) for split, (_, turns) in tests.items()}
    models = three_ways(named)
    ways = {name: _train(model, frozen, tests, named, seed, recipe["steps"]) for name, model in models.items()}
    seconds = _step_seconds(models, frozen)
    for name, way in ways.items():
        way["time"] = round(seconds[name] / seconds["prefix"], 3)
    return {"guess": guess, "ways": ways}


def _test(run: PresetRun, encoder: ConversationEncoder, split: str) -> tuple[dict, list[Turn]]:
    """Questions about fresh scenes of a split, pictures and tokens, and the turns in reading order."""
    scenes = scenes_of(run.world, split, seed="fusion", count=SCENES)
    about = conversations_about(run.world, scenes, "fusion", families=_ONCE, languages=("en",))
    batch = scene_batch(scenes, about, encoder, Renderer(run.world))
    return batch, [turn for conversations in about for turns in conversations for turn in turns]


def _guess(turns: list[Turn]) -> float:
    """Accuracy of always giving the most frequent answer of a question's family."""
    counts = {family: Counter(turn.answer for turn in turns if turn.family == family) for family in _ONCE}
    return round(sum(count.most_common(1)[0][1] for count in counts.values()) / len(turns), 4)


def _train(model: GPT4V, stream: FrozenStream, tests: dict, named: GPT4V, seed: int, steps: int) -> dict[str, Any]:
    objective = AnswerObjective(model)
    seen = {split: see(named.encoder, batch) for split, (batch, _) in tests.items()}
    settings = TrainingSettings(steps=steps, seed=seed, evaluate_every=EVALUATE_EVERY, **RATES)
    check = tests["seen"][1]
    history = Trainer(
        objective, stream, settings, evaluate=lambda: held_out_accuracy(objective, seen["seen"], check)
    ).run()
    batch, turns = tests["seen"]
    blind = see(named.encoder, batch | {"images": torch.full_like(batch["images"], 0.5)})
    shuffled = seen["seen"] | {"images": seen["seen"]["images"].roll(1, dims=0)}
    return {
        "parameters": model.parameter_count(),
        "curve": [(entry["step"], entry["held_out_accuracy"]) for entry in history if "families" in entry],
        "families": held_out_accuracy(objective, seen["seen"], turns)["families"],
        **{split: held_out_accuracy(objective, seen[split], tests[split][1])["held_out_accuracy"] for split in tests},
        "blind": held_out_accuracy(objective, blind, turns)["held_out_accuracy"],
        "shuffled": held_out_accuracy(objective, shuffled, turns)["held_out_accuracy"],
    }


def _step_seconds(models: dict[str, GPT4V], stream: FrozenStream, rounds: int = 7) -> dict[str, float]:
    """Median CPU seconds of a forward and backward pass, the models in turn: other programs run here too."""
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(rounds + 1):
        for name, model in models.items():
            started = time.process_time()
            AnswerObjective(model)(stream.batch(turn))[0].backward()
            if turn:
                seconds[name].append(time.process_time() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
