"""Why a training step gave a number that is not finite: looked for once, when it has happened (chapter 12)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch import Tensor, nn

from minigpt4v.recipe import TrainingSettings


def likely_cause(objective: nn.Module, batch: dict[str, Any], settings: TrainingSettings) -> str | None:
    """The first weight, input, output or gradient that is not finite, and what to do; None where all are finite.

    The batch is gone through once more: objective and random numbers must be as they were at the start of the step. Its
    gradients are cleared.
    """
    for name, parameter in objective.named_parameters():
        if not parameter.isfinite().all():
            return f"the weight {name} was broken before, from the start or by an update; {rates_too_high(settings)}"
    for name, value in batch.items():
        if (place := _first_fault(value)) is not None:
            return f"such a number stands in the batch's {name}{place}; mend the data"
    layer, parameter_name = _retrace(objective, batch)
    if layer:
        return f"the first came out of the layer {layer}; {rates_too_high(settings)}"
    if parameter_name:
        return f"on the way back the first was in the gradient of {parameter_name}; {rates_too_high(settings)}"
    return None


def rates_too_high(settings: TrainingSettings) -> str:
    """The most frequent cause, as a clause."""
    return f"the learning rates ({settings.learning_rate}, {settings.matrix_learning_rate}) are probably too high"


def _first_fault(value: Any) -> str | None:
    """Where the first number that is not finite stands in an entry of a batch: "[3, 0, 1]"; None if there is none."""
    if isinstance(value, float):
        return None if math.isfinite(value) else ""
    if isinstance(value, Tensor) and not value.isfinite().all():
        return str((~value.isfinite()).nonzero()[0].tolist())
    return None


def _retrace(objective: nn.Module, batch: dict[str, Any]) -> tuple[str | None, str | None]:
    """The first layer whose output is not finite, and the first parameter whose gradient is not, in order of time."""
    layers: list[str] = []
    parameters: list[str] = []
    with _watching(objective, layers, parameters):
        objective(batch)[0].backward()
    objective.zero_grad()
    return next(iter(layers), None), next(iter(parameters), None)


@contextmanager
def _watching(objective: nn.Module, layers: list[str], parameters: list[str]) -> Iterator[None]:
    """Names of layers and parameters are appended as soon as their outputs and gradients are not finite."""

    def note_output(name: str, _module: nn.Module, _inputs: Any, output: Any) -> None:
        tensors = output if isinstance(output, tuple) else (output,)
        if any(isinstance(tensor, Tensor) and not tensor.isfinite().all() for tensor in tensors):
            layers.append(name)

    def note_gradient(name: str, parameter: Tensor) -> None:
        if parameter.grad is not None and not parameter.grad.isfinite().all():
            parameters.append(name)

    named_layers = [(name, layer) for name, layer in objective.named_modules() if name]
    hooks = [layer.register_forward_hook(partial(note_output, name)) for name, layer in named_layers]
    hooks += [
        parameter.register_post_accumulate_grad_hook(partial(note_gradient, name))
        for name, parameter in objective.named_parameters()
        if parameter.requires_grad
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
