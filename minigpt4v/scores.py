"""Scores of answers, counted as they come, so that a million of them need no more room than a few (chapter 13).

Only `Tally` grows: by 8 bytes for each picture and group, which its intervals are made of.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import numpy as np

_CALIBRATION_BINS = 10
_WEIGHTS_AT_ONCE = 1_000_000  # of the bootstrap: pictures times samples


def bootstrap_interval(
    groups: Sequence[int], right: Sequence[bool], samples: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95% interval of the share of right answers (Efron, 1979; percentile method).

    Whole groups (pictures) are resampled: the answers about one picture stand or fall together.
    """
    _, index = np.unique(groups, return_inverse=True)
    return _interval(np.bincount(index, weights=np.asarray(right, float)), np.bincount(index), samples, seed)


def _interval(hits: np.ndarray, counts: np.ndarray, samples: int = 1000, seed: int = 0) -> tuple[float, float]:
    """`bootstrap_interval` from the right answers and the questions of each group, [groups] both."""
    source, chance = np.random.default_rng(seed), np.full(len(hits), 1 / len(hits))
    at_once = max(1, _WEIGHTS_AT_ONCE // len(hits))
    shares = []
    for start in range(0, samples, at_once):
        weights = source.multinomial(len(hits), chance, size=min(at_once, samples - start))
        shares.append((weights @ hits) / (weights @ counts))
    low, high = np.quantile(np.concatenate(shares), [0.025, 0.975])
    return float(low), float(high)


class Tally:
    """Accuracy of each group, with an interval for which whole pictures are resampled."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[array, array]] = {}  # right answers and questions, an entry for each picture

    def add(self, pictures: Iterable[int], groups: Iterable[str], right: Iterable[bool]) -> None:
        """More answers: the number of each one's picture, its group, its verdict. Those of a picture come together."""
        counted: dict[str, dict[int, list[int]]] = defaultdict(dict)
        for picture, group, hit in zip(pictures, groups, right, strict=True):
            row = counted[group].setdefault(picture, [0, 0])
            row[0] += hit
            row[1] += 1
        for group, rows in counted.items():
            hits, counts = self._groups.setdefault(group, (array("I"), array("I")))
            for picture in sorted(rows):
                hits.append(rows[picture][0])
                counts.append(rows[picture][1])

    def rows(self) -> dict[str, dict[str, Any]]:
        """Group -> "accuracy", the 95% interval from "low" to "high", and "count", in order of first appearance."""
        result = {}
        for name, (hits, counts) in self._groups.items():
            low, high = _interval(np.array(hits, float), np.array(counts, np.int64))
            accuracy = rounded(sum(hits) / sum(counts))
            result[name] = {"accuracy": accuracy, "low": rounded(low), "high": rounded(high), "count": sum(counts)}
        return result


class Shares:
    """Accuracy of each group, without an interval."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, list[int]] = {}

    def add(self, groups: Iterable[Hashable], right: Iterable[bool]) -> None:
        """More answers: the group and the verdict of each."""
        for group, hit in zip(groups, right, strict=True):
            row = self._counts.setdefault(group, [0, 0])
            row[0] += hit
            row[1] += 1

    def accuracies(self) -> dict[Any, float]:
        """Group -> accuracy, in order of first appearance."""
        return {group: rounded(hits / count) for group, (hits, count) in self._counts.items()}


class Calibration:
    """How far confidence is from accuracy: ten bins of confidence, and the expected calibration error (Guo, 2017)."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, _CALIBRATION_BINS))  # confidence, right answers and answers in each bin

    def add(self, confidences: Sequence[float], right: Sequence[bool]) -> None:
        """More answers: the confidence, 0..1, and the verdict of each."""
        confidence, hit = np.asarray(confidences, float), np.asarray(right, float)
        bins = np.minimum((confidence * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
        for row, weights in zip(self._sums, (confidence, hit, np.ones_like(hit)), strict=True):
            row += np.bincount(bins, weights=weights, minlength=_CALIBRATION_BINS)

    def result(self) -> dict[str, Any]:
        """The "expected_calibration_error", and "bins": "confidence", "accuracy", "count" of each that is not empty."""
        rows = [
            {"confidence": float(confidence / count), "accuracy": float(hits / count), "count": int(count)}
            for confidence, hits, count in self._sums.T
            if count
        ]
        error = sum(row["count"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / self._sums[2].sum()
        return {"expected_calibration_error": rounded(error), "bins": rows}


def calibration(confidences: Sequence[float], right: Sequence[bool]) -> dict[str, Any]:
    """The result of `Calibration` for answers that are all there."""
    counted = Calibration()
    counted.add(confidences, right)
    return counted.result()


def rounded(value: float) -> float:
    """To four digits, as scores are written down."""
    return round(float(value), 4)
