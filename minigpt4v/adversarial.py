"""Small changes to a picture, made to mislead: to attack a model, and to train one that withstands (chapter 13).

All changes stay in a *budget*: no number of a picture in 0..1 is moved by more than it, and none leaves 0..1. A budget
of 4/255 is four steps of the 256 that a screen can show.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor], Tensor]
"""Pictures [b, 3, h, w] -> what the attack wants to make large, of any shape: one number each, or their sum."""


def loss_gradient(loss: Loss, images: Tensor) -> Tensor:
    """How the loss changes with every number of the pictures; shape of the pictures."""
    pixels = images.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(pixels).sum(), pixels)
    return gradient


def fast_gradient_sign(loss: Loss, images: Tensor, budget: float) -> Tensor:
    """One step of the whole budget in the direction that raises the loss; [b, 3, h, w].

    Goodfellow et al. 2015, "Explaining and Harnessing Adversarial Examples", section 4. images: in 0..1. Raises
    ValueError for a negative budget.
    """
    _check_budget(budget)
    return (images + budget * loss_gradient(loss, images).sign()).clamp(0, 1)


def projected_gradient(
    loss: Loss,
    images: Tensor,
    budget: float,
    *,
    steps: int = 10,
    step_size: float | None = None,
    start: Tensor | None = None,
) -> Tensor:
    """Several smaller steps, each pulled back into the budget; [b, 3, h, w].

    Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", section 2.1.

    Args:
        loss: what to raise.
        images: [b, 3, h, w] in 0..1.
        budget: the largest change of any number, in 0..1.
        steps: how many.
        step_size: of each; None = 2.5 budgets in all, so that every corner of the budget can be reached.
        start: where to start, inside the budget or pulled into it, such as `random_start`; None = the pictures.

    Raises:
        ValueError: a negative budget, or fewer than one step.
    """
    _check_budget(budget)
    if steps < 1:
        raise ValueError(f"an attack of {steps} steps does nothing: give at least 1")
    low, high = (images - budget).clamp(min=0), (images + budget).clamp(max=1)
    size = 2.5 * budget / steps if step_size is None else step_size
    changed = images if start is None else start.clamp(low, high)
    for _ in range(steps):
        changed = (changed + size * loss_gradient(loss, changed).sign()).clamp(low, high)
    return changed


def random_start(images: Tensor, budget: float, generator: torch.Generator | None = None) -> Tensor:
    """The pictures with noise of up to the budget, even over the whole of it; [b, 3, h, w].

    generator: one on the CPU, so that every device sees the same noise.
    """
    noise = 2 * torch.rand(images.shape, generator=generator) - 1
    return (images + budget * noise.to(images)).clamp(0, 1)


class AdversarialObjective(nn.Module):
    """Trains on pictures that are attacked anew in every step, against the model as it is then (Madry et al. 2018).

    Wraps any objective for `training.Trainer` whose batches hold "images". While a batch is attacked the model is in
    evaluation mode: the running means of batch norm are to see the pictures that are trained on, and no others.
    """

    def __init__(self, objective: nn.Module, budget: float, steps: int = 2):
        super().__init__()
        _check_budget(budget)
        self.objective, self.budget, self.steps = objective, budget, steps

    def forward(self, batch: dict) -> tuple[Tensor, Tensor]:
        """Summed loss and the number right: on attacked pictures in training, on those of the batch otherwise."""
        return self.objective(self.adversarial(batch) if self.training else batch)

    def adversarial(self, batch: dict) -> dict:
        """The batch with attacked pictures."""

        def loss(images: Tensor) -> Tensor:
            return self.objective(batch | {"images": images})[0]

        was_training = self.objective.training
        self.objective.eval()
        images = batch["images"]
        start = random_start(images, self.budget)
        attacked = projected_gradient(loss, images, self.budget, steps=self.steps, start=start)
        self.objective.train(was_training)
        return batch | {"images": attacked}


def _check_budget(budget: float) -> None:
    if not budget >= 0:  # written so that NaN fails
        raise ValueError(f"a budget of {budget} allows no change: give the largest change, at least 0, in 0..1")
