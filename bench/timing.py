"""How the benchmarks measure: the candidates take turns, and what counts is the median and the quotient of a round.

These programs run on machines that do other work too. Absolute times say little there; the quotient of two times taken
one after the other, again and again in one run, says a lot.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch

Spread = list[float]
"""Least, median and most of the rounds."""
_Name = TypeVar("_Name")


def in_turn(
    candidates: dict[_Name, Callable[[], object]], rounds: int, clock: Callable[[], float] = time.process_time
) -> dict[_Name, list[float]]:
    """Seconds of each call, the candidates in turn, after a first round that does not count.

    clock: `time.process_time` is least disturbed by other programs, but counts every thread; for several threads, and
    wherever waiting counts, take `time.perf_counter`.
    """
    seconds: dict[_Name, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, call in candidates.items():
            started = clock()
            call()
            if turn:
                seconds[name].append(clock() - started)
    return seconds


def spread(values: list[float], scale: float = 1.0, digits: int = 3) -> Spread:
    """Least, median and most, times `scale`."""
    return [round(scale * value, digits) for value in (min(values), statistics.median(values), max(values))]


def ratios(slow: list[float], fast: list[float]) -> Spread:
    """Least, median and most of the quotients round by round."""
    return spread([a / b for a, b in zip(slow, fast, strict=True)], digits=2)


@contextmanager
def threads(number: int) -> Iterator[None]:
    """PyTorch computes with so many threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
