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
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from minigpt4v.foreign_files import plain, read_json
from minigpt4v.paths import sync_folder
from minigpt4v.weights import check_weights, fault_of, read_weights

STAGES_FOLDER = "stages"  # in the folder of a run of several stages: a folder like its own for each but the last
_PREFIX = "step-"
_PARTIAL, _REPLACED = ".partial", ".replaced"
_NAME = re.compile(rf"{_PREFIX}\d{{8,18}}({re.escape(_REPLACED)})?")
# What the optimisers of `recipe.make_optimizers` cannot go on without; of others, nothing is known.
_MOMENTS = {torch.optim.AdamW: {"step", "exp_avg", "exp_avg_sq"}, torch.optim.Muon: {"momentum_buffer"}}
_COUNTS = ("step", "exp_avg_sq")  # never below 0


def checkpoints_in(folder: Path) -> list[Path]:
    """The complete checkpoints of a run, oldest first."""
    found = [path for path in (folder / "checkpoints").glob(f"{_PREFIX}*") if _NAME.fullmatch(path.name)]
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
        state = _read_state(path)
        weights = read_weights(path / "weights.safetensors")
        check_weights(module, weights, path, "this run")
        moments = _unflatten(read_weights(path / "optimizers.safetensors"), len(optimizers))
        for optimizer, entries in zip(optimizers, moments, strict=True):
            _check_moments(optimizer, entries)
    except (OSError, ValueError) as error:
        raise ValueError(f"{plain(path)} is not a checkpoint of this run: {error}") from error
    module.load_state_dict(weights)
    for optimizer, entries in zip(optimizers, moments, strict=True):
        optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
    return state


def _read_state(path: Path) -> dict[str, Any]:
    state = read_json(path / "state.json")
    if not isinstance(state, dict) or type(state.get("step")) is not int or state["step"] != step_of(path):
        raise ValueError("its state.json does not hold the step of its name")
    return state


def _flatten(optimizers: Sequence[torch.optim.Optimizer]) -> dict[str, torch.Tensor]:
    """Every tensor and number of the optimisers' states under a name of its own."""
    return {
        f"{i}/{parameter}/{entry}": torch.as_tensor(value).contiguous()
        for i, optimizer in enumerate(optimizers)
        for parameter, entries in optimizer.state_dict()["state"].items()
        for entry, value in entries.items()
    }


def _unflatten(tensors: dict[str, torch.Tensor], optimizers: int) -> list[dict[int, dict[str, torch.Tensor]]]:
    """The state of each optimiser. Raises ValueError where a name is none that `_flatten` gives."""
    states: list[dict[int, dict[str, torch.Tensor]]] = [{} for _ in range(optimizers)]
    for name, tensor in tensors.items():
        found = re.fullmatch(r"(\d{1,3})/(\d{1,9})/(\w{1,99})", name, re.ASCII)
        if not found or int(found[1]) >= optimizers:
            raise ValueError(f"{plain(name, 200)} is no moment of its optimisers")
        states[int(found[1])].setdefault(int(found[2]), {})[found[3]] = tensor
    return states


def _check_moments(optimizer: torch.optim.Optimizer, entries: dict[int, dict[str, torch.Tensor]]) -> None:
    """Raise ValueError where a step with these moments would fail, or make weights that are no numbers."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    kind = type(getattr(optimizer, "optimizer", optimizer))  # Accelerate wraps them
    for number, moments in entries.items():
        if number >= len(parameters):
            raise ValueError(f"there are moments of parameter {number}, and the optimiser has {len(parameters)}")
        needed = _MOMENTS.get(kind, moments.keys())
        if moments.keys() != needed:
            raise ValueError(f"parameter {number} has the moments {sorted(moments)} instead of {sorted(needed)}")
        for entry, tensor in moments.items():
            like = parameters[number] if tensor.ndim or entry != "step" else torch.zeros(())
            fault = fault_of(tensor, like) or (entry in _COUNTS and (tensor < 0).any() and "is below 0")
            if fault:
                raise ValueError(f"the moment {entry} of parameter {number} {fault}")
