"""Sort-of-CLEVR: train from random weights, score on the public test set and on fresh pictures, record a row.

    python -m bench.sort_of_clevr --minutes 90 --seeds 0              two CPU cores and patience
    python -m bench.sort_of_clevr --minutes 30 --device cuda          one GPU, three seeds
    python -m bench.sort_of_clevr --score runs/sort-of-clevr          a run that `minigpt4v train` has made

Rows go to bench/results/sort_of_clevr.json; a new row replaces one of the same labels, seed and device.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from bench import RESULTS_FOLDER
from minigpt4v.commands.run_folder import machine
from minigpt4v.datasets.sort_of_clevr import LABELS, generate, load
from minigpt4v.gpt4v import GPT4V
from minigpt4v.paths import write_atomically
from minigpt4v.sort_of_clevr import LOOKING_FOLDER, SortOfClevrRun, score

RESULTS = RESULTS_FOLDER / "sort_of_clevr.json"
_FRESH_SEED, _FRESH_PICTURES = 20_261_122, 2000
_BATCH_SIZES = {"cpu": 16, "cuda": 128}


def score_run(folder: Path, *, seed: int, labels: str, batch_size: int, device: torch.device) -> dict[str, Any]:
    """One row of the table: how the model of a run was made, its scores, and its curve on held-out pictures."""
    model = GPT4V.from_pretrained(folder, device)
    stages = [read_history(place) for place in (folder / LOOKING_FOLDER, folder)]
    minutes = [round(history[-1]["seconds"] / 60, 1) for history in stages]
    here = machine()
    test, fresh = load("test"), generate(_FRESH_PICTURES, _FRESH_SEED)
    return {
        "model": "GPT4V of this library",
        "supervision": "question-answer pairs",
        "labels": labels,
        "seed": seed,
        "device": here["gpu"] if device.type == "cuda" else f"{here['processor']}, threads: {here['threads']}",
        "minutes": sum(minutes),
        "minutes_of_stages": minutes,
        "steps_of_stages": [history[-1]["step"] for history in stages],
        "batch_size": batch_size,
        "parameters": model.parameter_count(),
        "test": {scored: score(model, test, scored) for scored in LABELS},
        "fresh": {scored: score(model, fresh, scored) for scored in LABELS},
        "curve": [
            [
                round(minutes[0] + entry["seconds"] / 60, 1),
                entry["kinds"]["non_relational"],
                entry["kinds"]["relational"],
            ]
            for entry in stages[-1]
            if "kinds" in entry
        ],
    }


def read_history(folder: Path) -> list[dict[str, Any]]:
    """history.jsonl of a stage."""
    return [json.loads(line) for line in (folder / "history.jsonl").read_text(encoding="utf-8").splitlines()]


def record(row: dict[str, Any]) -> None:
    """Put a row into the results, in place of the one that it repeats."""
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    key = ("labels", "seed", "device", "supervision")
    rows = [old for old in rows if any(old[name] != row[name] for name in key)] + [row]
    rows.sort(key=lambda row: tuple(str(row[name]) for name in key))
    write_atomically(RESULTS, json.dumps(rows, indent=1) + "\n")


def main() -> None:
    """Train the seeds one after the other, or score a finished run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=90)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--labels", choices=LABELS, default="fixed")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--score", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    device, batch_size = torch.device(options.device), _BATCH_SIZES[options.device]
    for seed in options.seeds[:1] if options.score else options.seeds:
        folder = options.score or Path("runs") / f"sort-of-clevr-{options.labels}-{options.device}-{seed}"
        if not options.score:
            run = SortOfClevrRun(
                folder=folder,
                seed=seed,
                device=device,
                labels=options.labels,
                batch_size=batch_size,
                settings={"minutes": options.minutes},
            )
            run.train(resume=True)
        row = score_run(folder, seed=seed, labels=options.labels, batch_size=batch_size, device=device)
        record(row)
        print(json.dumps({name: value for name, value in row.items() if name not in ("curve",)}, indent=1))


if __name__ == "__main__":
    main()
