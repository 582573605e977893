"""The command line that a benchmark with processes of its own has: short or long, or one of the processes it starts."""

from __future__ import annotations

import argparse
from pathlib import Path


def read(argv: list[str] | None, description: str | None, longer: str) -> argparse.Namespace:
    """long: whether `--long` was given, which means `longer`; worker, steps: for a process that it starts itself."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--long", action="store_true", help=longer)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args(argv)
