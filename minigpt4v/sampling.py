"""Chapter 08: how the next token is chosen.

Each filter is a small function from logits to logits [..., v] (v tokens in the vocabulary), where -inf means "never".
`Sampling` puts them in order and checks their settings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature: below 1 the likely gets likelier, above 1 the choice gets more even."""
    return logits / temperature


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k most likely tokens (Fan, Lewis, Dauphin 2018, "Hierarchical Neural Story Generation")."""
    best = logits.topk(min(k, logits.shape[-1]), dim=-1).indices
    return torch.full_like(logits, -torch.inf).scatter(-1, best, logits.gather(-1, best))


def keep_nucleus(logits: Tensor, p: float) -> Tensor:
    """Keep the nucleus: the smallest set of tokens whose probabilities sum to at least p.

    Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", section 3.1.
    """
    if p >= 1:
        return logits  # every token; the rounded sum could reach 1 before the last ones
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)
    probabilities = ordered.softmax(dim=-1)
    before = F.pad(probabilities.cumsum(dim=-1)[..., :-1], (1, 0))  # what the likelier tokens hold together
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(before >= p, -torch.inf))


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Make the tokens of the text so far less likely (Keskar et al. 2019, "CTRL", section 4.1).

    The paper divides their logits by the penalty. That would make a token with a negative logit *more* likely, so such
    logits are multiplied by it, as everybody does since.

    Args:
        logits: [..., v].
        seen: boolean [..., v], True for the tokens of the text, prompt included.
        penalty: 1 changes nothing; the paper uses 1.2.
    """
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def block_repeated_ngrams(logits: Tensor, ids: Tensor, size: int, is_text: Tensor | None = None) -> Tensor:
    """Forbid every token that would complete `size` tokens in a row which the text holds already.

    Paulus, Xiong, Socher 2018, "A Deep Reinforced Model for Abstractive Summarization", section 2.5. Where this would
    forbid everything that is left, it forbids nothing.

    Args:
        logits: [b, v].
        ids: the text so far, prompt included, [b, s].
        size: length of the n-grams that may occur once; 1 lets every token occur once.
        is_text: boolean [b, s], False for padding, which stands on the left; None = no padding.
    """
    if ids.shape[1] < size:
        return logits
    ngrams = ids.unfold(1, size, 1)  # [b, w, size]: all runs of `size` neighbours
    repeated = (ngrams[..., :-1] == ids[:, None, ids.shape[1] - size + 1 :]).all(dim=-1)  # [b, w]
    if is_text is not None:
        repeated &= is_text[:, : repeated.shape[1]]
    completions = torch.zeros_like(logits).scatter_add(1, ngrams[..., -1], repeated.to(logits.dtype))  # [b, v]
    blocked = logits.masked_fill(completions > 0, -torch.inf)
    nothing_left = (blocked == -torch.inf).all(dim=-1, keepdim=True)
    return torch.where(nothing_left, logits, blocked)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen. The filters act in the order of these fields, as in `transformers`.

    Attributes:
        repetition_penalty: at least 1; see `penalise_repetition`. 1 = off.
        no_repeat_ngram: see `block_repeated_ngrams`. 0 = off.
        temperature: 0 = greedy, always the likeliest token; otherwise at least 0.001.
        top_k: at least 1; see `keep_top_k`. None = off.
        top_p: more than 0, at most 1; see `keep_nucleus`. None = off.

    Raises:
        ValueError: a value is out of range.
    """

    repetition_penalty: float = 1.0
    no_repeat_ngram: int = 0
    temperature: float = 0.0
    top_k: int | None = None
    top_p: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.repetition_penalty < math.inf:
            raise ValueError(f"repetition_penalty must be at least 1 (1 = off), not {self.repetition_penalty!r}")
        check_count("no_repeat_ngram", self.no_repeat_ngram, 0, "0 = off")
        if self.temperature != 0 and not 0.001 <= self.temperature < math.inf:
            raise ValueError(f"temperature must be 0 (greedy) or at least 0.001, not {self.temperature!r}")
        if self.top_k is not None:
            check_count("top_k", self.top_k, 1, "None = off")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1 (None = off), not {self.top_p!r}")

    def limit(self, logits: Tensor, ids: Tensor, seen: Tensor | None, is_text: Tensor | None = None) -> Tensor:
        """Logits [b, v] after the two filters that look at the text, see there for ids, seen and is_text.

        Without a penalty `seen` may be None.
        """
        if self.repetition_penalty > 1:
            assert seen is not None
            logits = penalise_repetition(logits, seen, self.repetition_penalty)
        if self.no_repeat_ngram:
            logits = block_repeated_ngrams(logits, ids, self.no_repeat_ngram, is_text)
        return logits

    def probabilities(self, logits: Tensor) -> Tensor:
        """The distribution that tokens are drawn from at a temperature above 0, for logits [..., v]."""
        logits = apply_temperature(logits, self.temperature)
        if self.top_k is not None:
            logits = keep_top_k(logits, self.top_k)
        if self.top_p is not None:
            logits = keep_nucleus(logits, self.top_p)
        return logits.softmax(dim=-1)

    def choose(self, logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The next tokens [b] for logits [b, v]: the likeliest ones, or a draw."""
        if self.temperature == 0:
            return logits.argmax(dim=-1)
        drawn = torch.multinomial(self.probabilities(logits), 1, generator=generator)
        return rearrange(drawn, "b 1 -> b")


def check_count(name: str, value: int, least: int, meaning: str) -> None:
    """Refuse what is not a whole number of at least `least`."""
    if not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be a whole number of at least {least} ({meaning}), not {value!r}")
