"""Training checkpoints: everything that a run needs to go on, as safetensors and JSON, whole or not at all.

    run/checkpoints/step-00000500/
        weights.safetensors     the parameters and buffers of the model in training
        optimizers.safetensors  moments of each optimiser, named "optimiser/parameter/entry"
        state.json              step, seconds spent, anything else that is plain data

A checkpoint is written into a temporary folder that gets its name only when it is complete and on the disk: a run that
dies while writing leaves the checkpoint before it. Nothing is pickled: reading a checkpoint executes nothing.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from minigpt4v.paths import sync_folder

STAGES_FOLDER = "stages"  # in the folder of a run of several stages: a folder like its own for each but the last
_PREFIX = "step-"
_PARTIAL, _REPLACED = ".partial", ".replaced"


def checkpoints_in(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = [path for path in (folder / "checkpoints").glob(f"{_PREFIX}*") if path.suffix != _PARTIAL]
    return sorted(found, key=lambda path: (path.stem, path.suffix != _REPLACED))  # a replaced one before its successor


def step_of(checkpoint: Path) -> int:
    """The number of steps that were done when the checkpoint was written."""
    return int(checkpoint.stem.removeprefix(_PREFIX))


def save_checkpoint(
    folder: Path, step: int, module: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer], state: dict[str, Any]
) -> Path:
    """Write the checkpoint of a step, then remove the older ones. Returns its folder.

    Raises OSError where the disk is full or may not be written: the checkpoint before is then untouched.
    """
    final = folder / "checkpoints" / f"{_PREFIX}{step:08d}"
    partial, replaced = final.with_suffix(_PARTIAL), final.with_suffix(_REPLACED)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    # clones, because safetensors refuses tensors that share their memory, as tied embeddings do
    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in module.state_dict().items()
    }
    try:
        _write(partial / "weights.safetensors", save(weights))
        _write(partial / "optimizers.safetensors", save(_flatten(optimizers)))
        _write(partial / "state.json", (json.dumps({"step": step} | state, indent=2) + "\n").encode())
        sync_folder(partial)
    except OSError:  # a half-written checkpoint fills a full disk for nothing
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if final.exists():  # the same step once more: there is a whole checkpoint at every moment
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    partial.rename(final)
    sync_folder(final.parent)
    for path in set(final.parent.glob(f"{_PREFIX}*")) - {final}:  # older ones, and what a run that died has left
        shutil.rmtree(path)
    return final


def _write(path: Path, content: bytes) -> None:
    """Write a file, and wait until it would outlive a power cut."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def load_checkpoint(path: Path, module: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, Any]:
    """Put a checkpoint's weights and moments in place; returns its state. Raises ValueError where it does not fit."""
    try:
        state = json.loads((path / "state.json").read_text(encoding="utf-8"))
        module.load_state_dict(load_file(path / "weights.safetensors"))
        _unflatten(load_file(path / "optimizers.safetensors"), optimizers)
    except (OSError, SafetensorError, json.JSONDecodeError, RuntimeError, KeyError, ValueError) as error:
        raise ValueError(f"{path} is not a checkpoint of this run: {error}") from error
    return state


def _flatten(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """Every tensor and number of the optimisers' states under a name of its own."""
    return {
        f"{i}/{parameter}/{entry}": torch.as_tensor(value).contiguous()
        for i, optimizer in enumerate(optimizers)
        for parameter, entries in optimizer.state_dict()["state"].items()
        for entry, value in entries.items()
    }


def _unflatten(tensors: dict[str, torch.Tensor], optimizers: Sequence[torch.optim.Optimizer]) -> None:
    for i, optimizer in enumerate(optimizers):
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            owner, parameter, entry = name.split("/")
            if int(owner) == i:
                state.setdefault(int(parameter), {})[entry] = tensor
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
