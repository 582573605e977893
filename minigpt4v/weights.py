"""Weights from safetensors files: read without executing anything, and put into a model only where they fit it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from minigpt4v.foreign_files import check_file, plain, reason

_FAR, _FEW_TENSORS, _FEW_NUMBERS = 4, 200, 2**22
_FAULTS_SHOWN = 8
_LONGEST_NAME = 200  # characters
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_PICKLES = (b"PK\x03\x04", b"\x80")  # the first bytes of what `torch.save` and `pickle` write


class Size(NamedTuple):
    """What a model has at least, by its config: tensors, and numbers in them."""

    tensors: int
    numbers: int


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name. They lie in the file until they are used.

    Raises:
        ValueError: the file cannot be read, or is something else; the message names it.
    """
    try:
        check_file(path)
        return load_file(path)
    except Exception as error:  # for a type that PyTorch has not, safetensors raises other errors than its own
        why = reason(error)
        if _looks_like_a_pickle(path):
            why = "it looks like a pickle, which could run any program when loaded: save the weights as safetensors"
        raise ValueError(f"{plain(path)} cannot be read as safetensors: {why}") from error


def _looks_like_a_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4).startswith(_PICKLES)


def check_size(size: Size, weights: dict[str, Tensor], folder: Path) -> None:
    """Refuse a config that asks for a far larger model than there are weights for, before memory is set aside for it.

    What fits nearly is for `check_weights` to tell in detail. Raises ValueError.
    """
    tensors, numbers = len(weights), sum(tensor.numel() for tensor in weights.values())
    if size.tensors > _FAR * tensors + _FEW_TENSORS or size.numbers > _FAR * numbers + _FEW_NUMBERS:
        raise ValueError(
            f"the weights in {plain(folder)} do not fit its config.json: they are {tensors:,} tensors with "
            f"{numbers:,} numbers, and the config asks for a far larger model"
        )


def check_weights(module: nn.Module, weights: dict[str, Tensor], folder: Path, to: str = "its config.json") -> None:
    """Raise ValueError with the names of all tensors that are missing, left over, of another kind, or not finite.

    folder, to: where the weights are from and what they are to fit, for the message.
    """
    expected = module.state_dict()
    faults = [f"{name} is missing" for name in expected if name not in weights]
    faults += [f"{plain(name, _LONGEST_NAME)} is left over" for name in weights if name not in expected]
    for name in expected.keys() & weights.keys():
        if fault := fault_of(weights[name], expected[name]):
            faults.append(f"{name} {fault}")
    if faults:
        more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
        listed = "; ".join(sorted(faults)[:_FAULTS_SHOWN]) + more
        raise ValueError(f"the weights in {plain(folder)} do not fit {to}: {listed}")


def fault_of(given: Tensor, like: Tensor) -> str:
    """Why a tensor cannot stand where `like` is, in words; nothing if it can."""
    if given.shape != like.shape:
        return f"is {list(given.shape)} instead of {list(like.shape)}"
    if given.dtype != like.dtype and not (like.is_floating_point() and given.dtype in _FLOATS):
        return f"holds {given.dtype} instead of {like.dtype}"
    # as they will be used: a large float64 is finite until then
    return "" if given.to(like.dtype).isfinite().all() else "holds numbers that are not finite"
