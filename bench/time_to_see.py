"""How soon does a preset see? Accuracy against the clock, from random weights, on fresh scenes of unused seeds.

    python -m bench.time_to_see --minutes 5 --seed 0                        # a run of `laptop`, two threads
    python -m bench.time_to_see --minutes 2 --leave-out fluent --set naming_share=0.3

`--leave-out` holds a training style out instead of Twemoji: that is how settings are chosen. `--set` changes fields of
the preset or of `TrainingSettings`. Each run becomes one entry of `bench/results/time_to_see.json`, under its `--name`;
an entry of that name is replaced.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from bench import RESULTS_FOLDER
from bench.record import about, save
from minigpt4v.datasets.emoji import HELD_OUT_STYLE
from minigpt4v.datasets.scenes import load_world
from minigpt4v.evaluation import evaluate_split
from minigpt4v.gpt4v import GPT4V
from minigpt4v.paths import write_atomically
from minigpt4v.presets import Preset, PresetRun, find_preset

_SCENES_SEED = "time-to-see"  # no training and no other evaluation draws from it
_PRESET_FIELDS = {field.name for field in fields(Preset)}


def main() -> None:
    """Train in one process with two threads or in more with one each; evaluate what that made; add it to the record."""
    options = _options()
    if "BENCH_WORKER" in os.environ:  # one of the processes that were started below
        _train(options)
        return
    folder = Path(options.keep or tempfile.mkdtemp())
    count = str(options.processes)
    launcher = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", count] if options.processes > 1 else []
    )
    command = [sys.executable, *launcher, "-m", "bench.time_to_see", *sys.argv[1:], "--keep", str(folder)]
    threads = {"OMP_NUM_THREADS": str(max(1, 2 // options.processes)), "BENCH_WORKER": "1"}
    subprocess.run(command, check=True, env=os.environ | threads)
    result = _result(options, folder)
    path = RESULTS_FOLDER / "time_to_see.json"
    runs = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    save("time_to_see", runs | {options.name: result})
    print(json.dumps({key: result[key] for key in ("steps", "seen", "style")}))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.time_to_see")
    parser.add_argument("--preset", default="laptop")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--leave-out", default=HELD_OUT_STYLE, metavar="STYLE")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=1000, help="fresh ones of each split, for the evaluation")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--name", default="trial")
    parser.add_argument("--keep", metavar="FOLDER", help="where the model stays")
    return parser.parse_args()


def _changes(options: argparse.Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    """What --set says about the preset, and about the settings of all its stages."""
    pairs = {name: ast.literal_eval(value) for name, value in (one.split("=", 1) for one in options.set)}
    preset = {name: value for name, value in pairs.items() if name in _PRESET_FIELDS}
    return preset, {name: value for name, value in pairs.items() if name not in _PRESET_FIELDS}


def _train(options: argparse.Namespace) -> None:
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    preset_changes, settings = _changes(options)
    preset = replace(find_preset(options.preset), minutes=options.minutes, **preset_changes)
    world = load_world(preset.world, options.leave_out)
    run = PresetRun(
        preset, folder=Path(options.keep), seed=options.seed, world=world, settings={"evaluate_every": 250} | settings
    )
    run.train()
    stages = {title: history[-1] for title, history in run.histories.items()}
    write_atomically(Path(options.keep) / "stages.json", json.dumps(stages))


def _without_folder(words: list[str]) -> list[str]:
    """The command line without `--keep FOLDER`, which is nobody else's."""
    if "--keep" not in words:
        return words
    place = words.index("--keep")
    return words[:place] + words[place + 2 :]


def _result(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The curve during training, and the accuracies on fresh scenes afterwards."""
    entries = [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    curve = [[round(entry["seconds"]), entry["held_out_accuracy"]] for entry in entries if "families" in entry]
    stages = json.loads((folder / "stages.json").read_text(encoding="utf-8"))
    model = GPT4V.from_pretrained(folder)
    world = load_world(find_preset(options.preset).world, options.leave_out)
    scores = {s: evaluate_split(model, world, s, options.scenes, _SCENES_SEED) for s in ("seen", "style")}
    families = {
        split: {name: row["accuracy"] for name, row in score["families"].items()} for split, score in scores.items()
    }
    return about() | {
        "command": "python -m bench.time_to_see " + " ".join(_without_folder(sys.argv[1:])),
        "seed": options.seed,
        "minutes": options.minutes,
        "left_out": options.leave_out,
        "changes": options.set,
        "parameters": model.parameter_count(),
        "steps": entries[-1]["step"],
        "seen": scores["seen"]["accuracy"],
        "style": scores["style"]["accuracy"],
        "families": families,
        "stages": stages,
        "curve": curve,
    }


if __name__ == "__main__":
    main()
