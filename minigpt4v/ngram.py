"""Language models with a short memory: they see the n tokens before the next one and nothing else (chapter 01).

`CountModel` remembers what followed every run of n tokens; `NeuralNGram` computes it. Both have the same three methods,
so chapters draw them beside a GPT on the same held-out text:

    model.probabilities(context)          the next token's distribution, [v]
    model.log_probabilities(ids, start)   log P of each token of ids[start:], given the n before it
    model.loss(ids, start)                minus the mean of these: cross-entropy in nats per token

Divide a sum of nats by log(2) and by the bytes of the text, and models with different tokens can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

KNESER_NEY = "kneser-ney"
_DISCOUNT = 0.5  # where too few counts of 1 and 2 are there to estimate one
_BATCH = 8192  # contexts measured at once


@dataclass(frozen=True)
class _Level:
    """The counts behind all contexts of one length. Node: the number of a context, in the order of `contexts`.

    A context of length l is (node of its last l - 1 tokens) * v + its first token: contexts grow to the left.
    A pair is (node of the context) * v + the next token.
    """

    contexts: Tensor  # int64 [m], sorted
    pairs: Tensor  # int64 [p], sorted
    counts: Tensor  # float64 [p], of each pair
    totals: Tensor  # float64 [m], sum of the counts of each context
    kinds: Tensor  # float64 [m], how many different tokens followed each context
    discount: float


class CountModel:
    """P(next token | the n tokens before it), from counts. Make one with `CountModel.train`."""

    def __init__(self, vocabulary_size: int, context_length: int, smoothing: str | float, levels: list[_Level]) -> None:
        self.vocabulary_size = vocabulary_size
        self.context_length = context_length
        self.smoothing = smoothing
        self._levels = levels

    @classmethod
    def train(
        cls,
        ids: Sequence[int] | Tensor,
        vocabulary_size: int,
        context_length: int,
        smoothing: str | float = KNESER_NEY,
    ) -> CountModel:
        """Count what follows every context of up to `context_length` tokens.

        Args:
            ids: the training text [length].
            vocabulary_size: v, how many different tokens there may be.
            context_length: n, how many tokens the model sees; 0 sees none.
            smoothing: a number k > 0 adds k to every count (Laplace 1814 for k = 1). "kneser-ney" takes a discount from
                every count and gives it to the shorter contexts, which count in how many different contexts a token
                was seen (Kneser & Ney 1995; interpolated, as in Chen & Goodman 1999, one discount per length).

        Raises:
            ValueError: too short a text, an id outside the vocabulary, or another smoothing.
        """
        tokens = _checked(ids, vocabulary_size)
        if not 0 <= context_length < len(tokens):
            raise ValueError(f"a context of {context_length} needs 0 <= context < {len(tokens)}, the text's length")
        if smoothing != KNESER_NEY and not (isinstance(smoothing, int | float) and smoothing > 0):
            raise ValueError(f"smoothing must be {KNESER_NEY!r} or a number above 0 to add, not {smoothing!r}")
        levels = _count(tokens, vocabulary_size, context_length, seen_once=smoothing == KNESER_NEY)
        return cls(vocabulary_size, context_length, smoothing, levels)

    @property
    def stored_counts(self) -> int:
        """How many counts above zero the model keeps, over all context lengths that it uses."""
        used = self._levels if self.smoothing == KNESER_NEY else self._levels[-1:]
        return sum(len(level.pairs) for level in used)

    def probabilities(self, context: Sequence[int] | Tensor) -> Tensor:
        """The distribution of the next token, float64 [v], after a context of any length; its last n tokens count."""
        tokens = _checked(context, self.vocabulary_size)
        context = tokens[max(0, len(tokens) - self.context_length) :]
        every = torch.arange(self.vocabulary_size)
        nodes = torch.zeros(1, dtype=torch.int64)
        result = torch.full((self.vocabulary_size,), 1 / self.vocabulary_size, dtype=torch.float64)
        for length, level in enumerate(self._levels):
            if length > len(context):
                nodes = torch.full((1,), -1)  # so far back there is nothing
            elif length:
                nodes = _find(level.contexts, nodes * self.vocabulary_size + context[-length])
            result = self._refine(result, length, nodes.expand(self.vocabulary_size), every)
        return result

    def log_probabilities(self, ids: Sequence[int] | Tensor, start: int = 0) -> Tensor:
        """log P(ids[i] | up to n ids before it) for every i from `start` on, float64 [length - start]."""
        tokens = _checked(ids, self.vocabulary_size)
        _check_start(start, 0, len(tokens))
        nodes = torch.zeros_like(tokens)  # [length]: of the context before each token
        result = torch.full((len(tokens) - start,), 1 / self.vocabulary_size, dtype=torch.float64)
        for length, level in enumerate(self._levels):
            if length:
                longer = nodes * self.vocabulary_size + tokens.roll(length)
                nodes = torch.where(nodes < 0, -1, _find(level.contexts, longer))
                nodes[:length] = -1  # the first tokens have no such context
            result = self._refine(result, length, nodes[start:], tokens[start:])
        return result.log()

    def loss(self, ids: Sequence[int] | Tensor, start: int = 0) -> float:
        """Cross-entropy of ids[start:], nats per token."""
        return -self.log_probabilities(ids, start).mean().item()

    def _refine(self, shorter: Tensor, length: int, nodes: Tensor, targets: Tensor) -> Tensor:
        """P of the targets [b] after the contexts `nodes` [b] (-1 = never seen), from P after the next shorter ones."""
        level, known = self._levels[length], nodes >= 0
        node = nodes.clamp(min=0)
        place = _find(level.pairs, node * self.vocabulary_size + targets)
        count = torch.where(known & (place >= 0), level.counts[place], 0.0)
        total = torch.where(known, level.totals[node], 0.0)
        if self.smoothing != KNESER_NEY:
            added = float(self.smoothing)
            return (count + added) / (total + added * self.vocabulary_size)  # only the last level's answer is used
        taken = level.discount * level.kinds[node]  # what the discount took from this context's counts
        mixed = ((count - level.discount).clamp(min=0) + taken * shorter) / level.totals[node]
        return torch.where(known, mixed, shorter)


def _count(tokens: Tensor, vocabulary_size: int, context_length: int, seen_once: bool) -> list[_Level]:
    """The levels 0 to n. seen_once: below the last, count different tokens on the left instead of occurrences."""
    nodes, contexts = torch.zeros_like(tokens), torch.zeros(1, dtype=torch.int64)
    found = []  # per length: contexts, pairs, how often each occurs, and for each token which pair it ends
    for length in range(context_length + 1):
        if length:
            grown = nodes[1:] * vocabulary_size + tokens[: len(tokens) - length]
            contexts, nodes = torch.unique(grown, return_inverse=True)
        found.append(
            (
                contexts,
                *torch.unique(nodes * vocabulary_size + tokens[length:], return_inverse=True, return_counts=True),
            )
        )
    levels = []
    for length, (contexts, pairs, ends, counts) in enumerate(found):
        if seen_once and length < context_length:
            _, longer_pairs, longer_ends, _ = found[length + 1]
            parents = torch.empty_like(longer_pairs)
            parents[longer_ends] = ends[1:]  # the same pair without its leftmost token
            counts = torch.bincount(parents, minlength=len(pairs))
            counts[ends[0]] += 1  # the beginning of the text stands on the left of its first pair
        levels.append(_level(contexts, pairs, counts.double(), vocabulary_size))
    return levels


def _level(contexts: Tensor, pairs: Tensor, counts: Tensor, vocabulary_size: int) -> _Level:
    owner = pairs // vocabulary_size
    ones, twos = int((counts == 1).sum()), int((counts == 2).sum())
    return _Level(
        contexts,
        pairs,
        counts,
        totals=torch.bincount(owner, weights=counts, minlength=len(contexts)),
        kinds=torch.bincount(owner, minlength=len(contexts)).double(),
        discount=ones / (ones + 2 * twos) if ones and twos else _DISCOUNT,  # Ney, Essen, Kneser 1994
    )


class NeuralNGram(nn.Module):
    """Embeddings of the n tokens side by side, one hidden layer, one logit per token of the vocabulary.

    Bengio, Ducharme, Vincent, Jauvin 2003, "A Neural Probabilistic Language Model", with ReLU for tanh and without the
    optional direct connections from the embeddings to the logits.

    Args:
        vocabulary_size: v.
        context_length: n, at least 1.
        width: numbers per embedding.
        hidden: width of the hidden layer.
    """

    def __init__(self, vocabulary_size: int, context_length: int, width: int = 32, hidden: int = 512) -> None:
        super().__init__()
        if context_length < 1:
            raise ValueError(f"context_length must be at least 1, not {context_length}")
        self.vocabulary_size = vocabulary_size
        self.context_length = context_length
        self.embedding = nn.Embedding(vocabulary_size, width)
        nn.init.normal_(self.embedding.weight, std=0.3)  # measured: 0.04 nats better than PyTorch's 1
        self.hidden = nn.Linear(context_length * width, hidden)
        self.output = nn.Linear(hidden, vocabulary_size)

    def forward(self, contexts: Tensor) -> Tensor:
        """Token ids [b, n] -> logits [b, v].

        Raises:
            ValueError: contexts of another length.
        """
        if contexts.shape[-1] != self.context_length:
            raise ValueError(f"contexts of {contexts.shape[-1]} tokens, but this model sees {self.context_length}")
        side_by_side = rearrange(self.embedding(contexts), "b n d -> b (n d)")
        return self.output(F.relu(self.hidden(side_by_side)))

    @torch.no_grad()
    def probabilities(self, context: Sequence[int] | Tensor) -> Tensor:
        """The distribution of the next token, [v], after a context of at least n tokens; its last n count."""
        tokens = _checked(context, self.vocabulary_size)[-self.context_length :]
        return rearrange(self(rearrange(tokens, "n -> 1 n")), "1 v -> v").softmax(dim=-1)

    @torch.no_grad()
    def log_probabilities(self, ids: Sequence[int] | Tensor, start: int | None = None) -> Tensor:
        """log P(ids[i] | the n ids before it) for every i from `start` on, [length - start].

        start: at least n, so that every token has its whole context; None is n.
        """
        tokens = _checked(ids, self.vocabulary_size)
        start = self.context_length if start is None else start
        _check_start(start, self.context_length, len(tokens))
        windows = tokens[start - self.context_length :].unfold(0, self.context_length + 1, 1)  # [length - start, n + 1]
        parts = [-F.cross_entropy(self(w[:, :-1]), w[:, -1], reduction="none") for w in windows.split(_BATCH)]
        return torch.cat(parts)

    def loss(self, ids: Sequence[int] | Tensor, start: int | None = None) -> float:
        """Cross-entropy of ids[start:], nats per token; `start` as in `log_probabilities`."""
        return -self.log_probabilities(ids, start).double().mean().item()


def train_neural(model: NeuralNGram, ids: Sequence[int] | Tensor, steps: int = 1500, seed: int = 0) -> list[float]:
    """Train on random places of a text with AdamW, the rate falling in a line from 0.02 to 0; returns all losses.

    Raises:
        ValueError: a text too short for one context and its next token.
        FloatingPointError: a loss that is no finite number; the weights are those before its step.
    """
    tokens = _checked(ids, model.vocabulary_size)
    _check_start(model.context_length, model.context_length, len(tokens))
    windows = tokens.unfold(0, model.context_length + 1, 1)  # [places, n + 1]: n tokens and the one that followed
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    losses = []
    for _ in range(steps):
        batch = windows[torch.randint(len(windows), (512,), generator=generator)]
        loss = F.cross_entropy(model(batch[:, :-1]), batch[:, -1])
        losses.append(loss.item())
        if not math.isfinite(losses[-1]):
            raise FloatingPointError(
                f"the loss of step {len(losses)} of seed {seed} is not a finite number: the weights that training"
                " started from are probably broken, make a new model"
            )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return losses


def _find(keys: Tensor, wanted: Tensor) -> Tensor:
    """Where each wanted number stands in the sorted keys, or -1."""
    place = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
    return torch.where(keys[place] == wanted, place, -1)


def _checked(ids: Sequence[int] | Tensor, vocabulary_size: int) -> Tensor:
    tokens = torch.as_tensor(ids, dtype=torch.int64)
    if tokens.ndim != 1:
        raise ValueError(f"ids must be one row, not of shape {list(tokens.shape)}")
    if len(tokens) and not (tokens.min() >= 0 and tokens.max() < vocabulary_size):
        raise ValueError(
            f"ids from {tokens.min()} to {tokens.max()}, but the vocabulary has 0 to {vocabulary_size - 1}"
        )
    return tokens


def _check_start(start: int, least: int, length: int) -> None:
    if not least <= start < length:
        raise ValueError(f"start must be at least {least} and below {length}, the length of the text, not {start}")
