"""Exercises of chapter 03: attention."""

from __future__ import annotations

import torch
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Attention"


def softmax_over_keys(scores: Tensor) -> Tensor:
    """Weights [queries, keys] that sum to 1 for every query."""
    exponentials = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


def _over_queries(scores: Tensor) -> Tensor:
    return scores.softmax(dim=0)


def _overflowing(scores: Tensor) -> Tensor:
    return scores.exp() / scores.exp().sum(dim=-1, keepdim=True)


EXERCISES = (
    Exercise(
        id="03.1",
        title="Softmax that cannot overflow",
        difficulty=2,
        minutes=5,
        task="""
            Write `softmax_over_keys(scores)`: scores `[queries, keys]` in, weights of the same shape out, each row
            summing to 1. It must survive scores of 1,000.
        """,
        hint="Adding the same number to all scores of a row does not change the weights. Which number is safe?",
        help="If you get `nan`: `exp(1000)` is infinite, and infinity over infinity is not a number.",
        solution=softmax_over_keys,
        inputs=lambda: [(torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]),), (torch.tensor([[1000.0, 0.0]]),)],
        mistakes=(
            Mistake(_over_queries, "The columns sum to 1, not the rows: take the softmax over the keys, `dim=-1`."),
            Mistake(
                _overflowing, "Small scores are right, but 1,000 gives `nan`: subtract the largest of the row first."
            ),
        ),
    ),
)
