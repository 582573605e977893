"""`same` stops at every difference and `expect` tells inside from outside."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt4v.proof import expect, same

numbers = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=6)


def test_agreement_is_printed_with_its_shape(capsys: pytest.CaptureFixture) -> None:
    same({"by hand": [[1.0, 2.0]], "NumPy": np.array([[1.0, 2.0]]), "PyTorch": torch.tensor([[1.0, 2.0 + 1e-6]])})
    assert capsys.readouterr().out == "by hand = NumPy = PyTorch: shape [1, 2], within 1e-05 ✓\n"


@given(numbers, st.integers(0, 5))
def test_a_difference_in_any_version_stops_the_notebook(values: list[float], place: int) -> None:
    wrong = list(values)
    wrong[place % len(values)] += 1
    with pytest.raises(AssertionError, match="mine and yours differ by"):
        same({"mine": values, "also mine": values, "yours": wrong}, tolerance=1e-4)


@pytest.mark.parametrize(
    ("mine", "yours", "agree"),
    [
        ([math.inf, -math.inf], [math.inf, -math.inf], True),
        ([math.inf], [1.0], False),
        ([math.nan], [1.0], False),
        ([math.nan], [math.nan], False),
        ([1e6], [1e6 + 1], True),
        ([0.0], [1e-4], False),
        ([1, 2], [1.0, 2.0], True),
        ([], [], True),
    ],
)
def test_what_counts_as_equal(mine: list, yours: list, agree: bool) -> None:
    if agree:
        same({"mine": mine, "yours": yours})
    else:
        with pytest.raises(AssertionError):
            same({"mine": mine, "yours": yours})


def test_shapes_must_agree_too() -> None:
    with pytest.raises(AssertionError, match=re.escape("mine has shape [2], but yours [1, 2]")):
        same({"mine": torch.ones(2), "yours": torch.ones(1, 2)})


def test_one_version_proves_nothing() -> None:
    with pytest.raises(ValueError, match="at least two"):
        same({"mine": 1.0})


@pytest.mark.parametrize(
    ("value", "low", "high", "said"),
    [
        (1.2345, 1, 2, "loss ≈ 1.23 (expected: 1 to 2) ✓"),
        (1, 1, 2, "loss ≈ 1 (expected: 1 to 2) ✓"),
        (2.5, 1, 2, "loss ≈ 2.5 (expected: 1 to 2) ✗ outside"),
        (0.5, 1, math.inf, "loss ≈ 0.5 (expected: at least 1) ✗ outside"),
        (1e9, 1, math.inf, "loss ≈ 1e+09 (expected: at least 1) ✓"),
        (-3, -math.inf, 2, "loss ≈ -3 (expected: at most 2) ✓"),
        (math.nan, 1, 2, "loss ≈ nan (expected: 1 to 2) ✗ outside"),
    ],
)
def test_verdicts(value: float, low: float, high: float, said: str, capsys: pytest.CaptureFixture) -> None:
    expect("loss", value, low, high)
    assert capsys.readouterr().out == said + "\n"


def test_no_notebook_has_a_band_so_wide_that_nothing_could_be_outside() -> None:
    for path in (Path(__file__).parent.parent / "notebooks").glob("*.ipynb"):
        assert not re.search(r"expect\([^)]*-(?:math\.)?inf[^)]*[^-](?:math\.)?inf", path.read_text(encoding="utf-8"))
