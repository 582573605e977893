"""What every benchmark writes down beside its numbers, and how they are printed."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from bench import RESULTS_FOLDER
from bench.timing import Spread
from minigpt4v.paths import write_atomically


def about(**more: Any) -> dict[str, Any]:
    """The machine, the library, the day and the command of a measurement."""
    program = sys.modules["__main__"].__spec__
    words = ["python", "-m", program.name.removesuffix(".__main__") if program else "bench", *sys.argv[1:]]
    return {
        "command": " ".join(words),
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
        "date": dt.date.today().isoformat(),
        "numbers": "[least, median, most]",
        **more,
    }


def processor() -> str:
    """The processor's name."""
    described = Path("/proc/cpuinfo")
    lines = described.read_text(encoding="utf-8").splitlines() if described.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def save(name: str, results: dict[str, Any], folder: Path = RESULTS_FOLDER) -> None:
    """Write bench/results/NAME.json."""
    write_atomically(folder / f"{name}.json", json.dumps(results, indent=1) + "\n")


def print_table(title: str, rows: Iterable[tuple[str, Spread | float]]) -> None:
    """One line for each number: least, median and most, or the number alone in the middle."""
    rows = [(name, value if isinstance(value, list) else ["", value, ""]) for name, value in rows]
    width = max(len(name) for name, _ in rows)
    print(f"\n{title:<{width}}  {'least':>10}{'median':>10}{'most':>10}")
    for name, values in rows:
        print(f"{name:<{width}}  " + "".join(f"{value:>10,}" if value != "" else " " * 10 for value in values))
