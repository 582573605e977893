"""What training makes small: the cross-entropy of the tokens that the model should have written (chapter 12).

An objective holds the model and turns a batch into (summed loss, how many are right); `Trainer` divides both by the
batch's "count" of answers, tokens or names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import nn

from minigpt4v.datasets.conversation import IGNORED, check_labels
from minigpt4v.gpt import GPT
from minigpt4v.gpt4v import GPT4V
from minigpt4v.shared_prefix import hidden_behind_pictures


def hidden_states(model: GPT4V, batch: dict) -> torch.Tensor:
    """What a model makes of the tokens of a batch, [b, t, width], in long rows or in short ones."""
    if "picture" in batch:
        return hidden_behind_pictures(model, batch)
    return model.hidden(batch["ids"], batch["images"], segments=batch["segments"], positions=batch["positions"])


class AnswerObjective(nn.Module):
    """Loss on what the assistant says, and on nothing else; each answer counts the same, however long it is.

    Were every token to count the same, long captions would drown the many questions whose answer is one word.
    """

    def __init__(self, model: GPT4V):
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """The sum over answers of the mean loss of their tokens, and the number of answers that are right.

        Raises ValueError where the batch has no answer.
        """
        logits, labels = self._answer_tokens(batch)
        check_labels(labels)
        number = _answer_numbers(batch["labels"])
        losses = F.cross_entropy(logits.float(), labels, reduction="none")
        lengths = torch.bincount(number)
        return (losses / lengths[number]).sum(), _all_right(logits, labels, number).sum()

    def right_answers(self, batch: dict) -> torch.Tensor:
        """For each answer of the batch, in reading order: whether all its tokens have the largest logit, bool [n].

        That is what greedy decoding writes: it goes wrong at the first token that has not.
        """
        logits, labels = self._answer_tokens(batch)
        return _all_right(logits, labels, _answer_numbers(batch["labels"]))

    def _answer_tokens(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [n, vocabulary] and labels [n] of the n answer tokens of a batch of conversations."""
        hidden = hidden_states(self.model, batch)
        labels = batch["labels"][:, 1:]  # token t is predicted from token t-1
        is_answer = labels != IGNORED
        # the head is the widest matrix of a small model: apply it only where something is to be said
        return self.model.gpt.head(hidden[:, :-1][is_answer]), labels[is_answer]


def _answer_numbers(labels: torch.Tensor) -> torch.Tensor:
    """For each answer token of labels [b, t], in reading order: the number of its answer, 0, 1, ..., int64 [n]."""
    is_answer = labels != IGNORED
    starts = is_answer & ~F.pad(is_answer, (1, 0))[:, :-1]
    return rearrange(starts, "b t -> (b t)").cumsum(0)[rearrange(is_answer, "b t -> (b t)")] - 1


def _all_right(logits: torch.Tensor, labels: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
    """Whether every token of each answer has the largest logit, bool [answers]."""
    wrong = (logits.argmax(-1) != labels).long()
    answers = int(number[-1]) + 1 if len(number) else 0
    return torch.zeros(answers, dtype=torch.long, device=wrong.device).index_add(0, number, wrong) == 0


class NextTokenObjective(nn.Module):
    """Loss on every token of a text, for language models."""

    def __init__(self, model: GPT):
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Summed loss and the number of right tokens of a batch of `text.TextDataset`; ValueError where it is empty."""
        check_labels(batch["targets"])
        logits = rearrange(self.model(batch["inputs"]), "b t v -> (b t) v")
        targets = rearrange(batch["targets"], "b t -> (b t)")
        return F.cross_entropy(logits.float(), targets, reduction="sum"), (logits.argmax(-1) == targets).sum()
