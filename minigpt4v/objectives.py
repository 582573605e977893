"""What training makes small: the cross-entropy of the tokens that the model should have written (chapter 12).

An objective holds the model and turns a batch into (summed loss, right labels); `Trainer` divides by the number of
labels in the whole batch, wherever its parts are.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from minigpt4v.datasets.conversation import IGNORED
from minigpt4v.gpt import GPT
from minigpt4v.gpt4v import GPT4V


def _score(logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Summed cross-entropy and the number of labels with the largest logit. logits: [n, vocabulary], labels: [n]."""
    return F.cross_entropy(logits.float(), labels, reduction="sum"), (logits.argmax(-1) == labels).sum()


class AnswerObjective(nn.Module):
    """Loss on what the assistant says, and on nothing else."""

    def __init__(self, model: GPT4V):
        super().__init__()
        self.model = model

    def answers(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [labels, vocabulary] and labels [labels] of the answer tokens of a batch of conversations."""
        hidden = self.model.hidden(
            batch["ids"], batch["images"], segments=batch["segments"], positions=batch["positions"]
        )
        labels = batch["labels"][:, 1:]  # token t is predicted from token t-1
        is_answer = labels != IGNORED
        # the head is the widest matrix of a small model: apply it only where something is to be said
        return self.model.gpt.head(hidden[:, :-1][is_answer]), labels[is_answer]

    def forward(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        logits, labels = self.answers(batch)
        if not len(labels):
            raise ValueError("no token of this batch has a label: every conversation needs an answer to learn from")
        return _score(logits, labels)

    def right_answers(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """For each answer of the batch, in reading order: whether all its tokens have the largest logit.

        That is what greedy decoding writes: it goes wrong at the first token that has not. Returns bool [answers] and
        the row of each answer, int64 [answers].
        """
        logits, labels = self.answers(batch)
        right = logits.argmax(-1) == labels
        is_answer = batch["labels"] != IGNORED
        starts = is_answer & ~F.pad(is_answer, (1, 0))[:, :-1]
        number = rearrange(starts, "b t -> (b t)").cumsum(0)[rearrange(is_answer, "b t -> (b t)")] - 1
        wrong = torch.zeros(int(starts.sum()), device=right.device).index_add(0, number, (~right).float())
        return wrong == 0, starts.nonzero()[:, 0]


class NextTokenObjective(nn.Module):
    """Loss on every token of a text, for language models."""

    def __init__(self, model: GPT):
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        logits = self.model(batch["inputs"])
        return _score(rearrange(logits, "b t v -> (b t) v"), rearrange(batch["targets"], "b t -> (b t)"))
