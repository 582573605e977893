"""In words: how a result differs from the expected one."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

_TOLERANCE = 1e-4  # what the order of sums changes in float32 is smaller, what a mistake changes is larger


def difference(result: Any, expected: Any) -> str | None:
    """A sentence about the first difference, or None where there is none.

    Numbers, lists of numbers, arrays and tensors may stand for each other as long as shapes and values agree.
    """
    if isinstance(expected, str):
        return _different_text(result, expected)
    if isinstance(expected, torch.Tensor | np.ndarray | numbers.Number):
        return _different_numbers(result, expected)
    if isinstance(expected, Mapping):
        return _different_mapping(result, expected)
    if isinstance(expected, Sequence):
        return _different_sequence(result, expected)
    return None if result == expected else f"it gives {short(result)}, but {short(expected)} is right"


def _different_text(result: Any, expected: str) -> str | None:
    if not isinstance(result, str):
        return f"it gives {_kind(result)}, but a text is asked for"
    return None if result == expected else f"it gives {short(result)}, but {short(expected)} is right"


def _different_numbers(result: Any, expected: Any) -> str | None:
    wanted = torch.as_tensor(expected).detach().cpu()
    try:
        got = torch.as_tensor(result).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        return f"it gives {_kind(result)}, but numbers of shape {list(wanted.shape)} are asked for"
    if got.shape != wanted.shape:
        return f"it has shape {list(got.shape)}, but {list(wanted.shape)} is asked for"
    if (wanted.dtype == torch.bool) != (got.dtype == torch.bool):
        return f"it has dtype {got.dtype}, but {wanted.dtype} is asked for"
    tolerance = 0.0 if not wanted.is_floating_point() else _TOLERANCE  # what is counted is right or wrong
    close = torch.isclose(got.double(), wanted.double(), rtol=tolerance, atol=tolerance, equal_nan=True)
    if close.all():
        return None
    if not wanted.shape:
        return f"it gives {_number(got)}, but {_number(wanted)} is right"
    place = (~close).nonzero()[0].tolist()
    wrong, here = f"{int((~close).sum())} of {close.numel()} numbers are wrong", tuple(place)
    return f"{wrong}; the first is at {place}: {_number(got[here])}, but {_number(wanted[here])} is right"


def _different_mapping(result: Any, expected: Mapping) -> str | None:
    if not isinstance(result, Mapping):
        return f"it gives {_kind(result)}, but a dictionary is asked for"
    for key in expected:
        if key not in result:
            return f"the key {short(key)} is missing"
    for key in result:
        if key not in expected:
            return f"the key {short(key)} should not be there"
    found = ((key, difference(result[key], expected[key])) for key in expected)
    return next((f"at {short(key)}, {says}" for key, says in found if says), None)


def _different_sequence(result: Any, expected: Sequence) -> str | None:
    if isinstance(result, str) or not isinstance(result, Sequence | torch.Tensor | np.ndarray):
        return f"it gives {_kind(result)}, but a {type(expected).__name__} of {len(expected)} is asked for"
    if len(result) != len(expected):
        return f"it gives {len(result)} parts, but {len(expected)} are asked for"
    found = (difference(mine, right) for mine, right in zip(result, expected, strict=True))
    return next((f"in part {number}, {says}" for number, says in enumerate(found) if says), None)


def _number(value: torch.Tensor) -> str:
    return str(value.item()) if not value.is_floating_point() else f"{value.item():.4g}"


def _kind(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiouAEIOU' else 'a'} {name}"


def short(value: Any) -> str:
    """The value as Python writes it, on one line, cut off where it is long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
