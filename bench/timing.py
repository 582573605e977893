"""How the benchmarks measure: alternate the candidates, take the median, report ratios.

These programs run on shared machines. Absolute times say little there; the ratio of two medians measured turn by turn
in one run says a lot.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def medians(candidates: dict[str, Callable[[], object]], rounds: int = 7) -> dict[str, float]:
    """Median seconds of one call of each candidate, called in turn after one warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, call in candidates.items():
            started = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seconds.items()}
