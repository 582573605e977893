"""How the chapters prove and measure: `same` for what must be equal, `expect` for what must lie in a stated band."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch


def same(versions: Mapping[str, Any], tolerance: float = 1e-5) -> None:
    """Print that several versions of one result agree, with their shape.

    Args:
        versions: name -> tensor, array, list or number. The first is compared with every other.
        tolerance: the largest difference allowed, absolute for small values and relative for those above 1.

    Raises:
        ValueError: fewer than two versions.
        AssertionError: two differ, in shape or in a value; the message names them and the largest difference.
    """
    if len(versions) < 2:
        raise ValueError(f"only {list(versions)} to compare: give at least two versions")
    tensors = {name: _as_tensor(value) for name, value in versions.items()}
    (first, reference), *others = tensors.items()
    for name, tensor in others:
        if tensor.shape != reference.shape:
            raise AssertionError(f"{first} has shape {list(reference.shape)}, but {name} {list(tensor.shape)}")
        difference = ((tensor - reference).abs() / reference.abs().clamp(min=1)).nan_to_num(math.inf)
        difference = torch.where(tensor == reference, 0.0, difference)  # two infinities agree
        if difference.numel() and difference.max() > tolerance:
            raise AssertionError(f"{first} and {name} differ by {difference.max():.2g}, more than {tolerance:g}")
    print(f"{' = '.join(tensors)}: shape {list(reference.shape)}, within {tolerance:g} ✓")


def _as_tensor(value: Any) -> torch.Tensor:
    return torch.as_tensor(value).detach().cpu().to(torch.float64)


def expect(name: str, value: float, low: float, high: float, digits: int = 3) -> None:
    """Print a measured number beside the band it should lie in, and whether it does.

    What stands behind "≈" differs a little from machine to machine, so that the check of the notebooks does not compare
    it; the band and the verdict it does.

    Args:
        name: what was measured, with its unit.
        value: the number.
        low: the least that is expected.
        high: the most; `math.inf` where only `low` is promised.
        digits: how many significant digits to print.
    """
    inside = low <= value <= high
    print(f"{name} ≈ {value:.{digits}g} (expected: {_band(low, high)}) {'✓' if inside else '✗ outside'}")


def _band(low: float, high: float) -> str:
    if high == math.inf:
        return f"at least {low:g}"
    if low == -math.inf:
        return f"at most {high:g}"
    return f"{low:g} to {high:g}"
