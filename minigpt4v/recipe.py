"""How a model is trained, in numbers: the settings, the rate at each step, and what moves which weight (chapter 12)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from minigpt4v.foreign_files import LARGEST_NUMBER

OPTIMIZERS = ("muon", "adamw")
PRECISIONS = ("no", "bf16")


@dataclass(frozen=True)
class TrainingSettings:
    """How long and how fast to train. Give `steps` or `minutes`; with both, whatever ends first."""

    steps: int | None = None
    minutes: float | None = None
    enough: float | None = None  # share of right answers, over `log_every` steps of training, that ends it earlier
    learning_rate: float = 3e-3  # AdamW: embeddings, norms, biases, the encoder
    matrix_learning_rate: float = 0.02  # of the matrices of the transformer's blocks
    optimizer: str = "muon"  # what moves these matrices: "muon" or "adamw"
    encoder_rate: float = 0.3  # the encoder's rate as a share of learning_rate
    weight_decay: float = 0.01  # of the matrices
    warmup_steps: int = 50
    decay_share: float = 0.6  # the last part of training, in which the rates fall linearly to a fiftieth
    clip: float = 1.0
    accumulate: int = 1  # parts a batch is cut into, one after the other, to save memory
    precision: str = "no"  # Accelerate's mixed precision: "no" or "bf16"
    seed: int = 0
    log_every: int = 20
    evaluate_every: int = 500
    checkpoint_every: int = 500

    def __post_init__(self) -> None:
        if self.steps is None and self.minutes is None:
            raise ValueError("nothing says when training ends: give steps or minutes")
        for name in ("steps", "warmup_steps", "accumulate", "log_every", "evaluate_every", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} is {value!r}: give a whole number above 0")
        for name in ("minutes", "learning_rate", "matrix_learning_rate", "encoder_rate", "decay_share", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < LARGEST_NUMBER:
                raise ValueError(f"{name} is {value}: give a number above 0")
        if self.enough is not None and not 0 < self.enough <= 1:
            raise ValueError(f"enough is {self.enough}: give a share of right answers, above 0 and at most 1")
        if self.decay_share > 1:
            raise ValueError(f"decay_share is {self.decay_share}: give a share of the training, at most 1")
        if not 0 <= self.weight_decay < math.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}: give 0 or a number above it")
        if type(self.seed) is not int or not 0 <= self.seed < 2**32:
            raise ValueError(f"seed is {self.seed!r}: give a whole number from 0 to {2**32 - 1}")
        for name, value, known in (
            ("precision", self.precision, PRECISIONS),
            ("optimizer", self.optimizer, OPTIMIZERS),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}: choose {' or '.join(map(repr, known))}")


def has_fast_bfloat16(device: str | torch.device) -> bool:
    """Whether "bf16" saves time there: on a GPU, or a CPU with instructions for it (elsewhere it is emulated)."""
    if torch.device(device).type != "cpu":
        return True
    able = torch.cpu.get_capabilities()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16"))


def rate_at(progress: float, step: int, settings: TrainingSettings) -> float:
    """The share of the full learning rate: linear warm-up over steps, a plateau, a linear fall. progress: 0..1."""
    warmup = min(1.0, (step + 1) / settings.warmup_steps)
    decay = min(1.0, max(0.02, (1 - progress) / settings.decay_share))
    return warmup * decay


def make_optimizers(model: nn.Module, settings: TrainingSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside transformer blocks, AdamW for everything else, the encoder at a smaller rate.

    Muon (Jordan et al., 2024) orthogonalises each update, which suits matrices that map vectors to vectors; rows of
    embedding tables and the head are looked up by token and are left to AdamW (Loshchilov & Hutter, 2019). With
    `settings.optimizer` "adamw" it moves the matrices too, at their own rate and with their own weight decay.
    """
    matrices, encoder, others = [], [], []
    for name, parameter in model.named_parameters():
        if "encoder." in name:
            encoder.append(parameter)
        elif ".blocks." in name and parameter.ndim == 2:
            matrices.append(parameter)
        else:
            others.append(parameter)
    rate, decay = settings.learning_rate, settings.weight_decay
    groups = [{"params": others, "lr": rate}, {"params": encoder, "lr": rate * settings.encoder_rate}]
    if settings.optimizer == "adamw":
        groups.append({"params": matrices, "lr": settings.matrix_learning_rate, "weight_decay": decay})
        matrices = []
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW([group for group in groups if group["params"]], betas=(0.9, 0.98), weight_decay=0.0)
    ]
    if matrices:
        optimizers.append(torch.optim.Muon(matrices, lr=settings.matrix_learning_rate, weight_decay=decay))
    return optimizers
