"""Attention: every token asks a question, compares it with all keys, and takes a weighted average of the values.

Chapters 03 (one head) and 04 (many heads). Letters in shape comments: b batch, h heads, t tokens that look (queries),
s tokens that are looked at (keys and values), d width of one head.
"""

from __future__ import annotations

import math
from copy import copy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from torch import Tensor, nn

if TYPE_CHECKING:  # only names for whoever reads this: what they stand for comes in later chapters
    from minigpt4v.one_token import OneTokenReader
    from minigpt4v.position import RotaryEmbedding


def scaled_dot_product_attention(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """softmax(Q K^T / sqrt(d)) V, written out (Vaswani et al. 2017, "Attention Is All You Need", equation 1).

    Args:
        query: [..., t, d].
        key: [..., s, d].
        value: [..., s, v].
        mask: boolean, [t, s] or anything that broadcasts to [..., t, s]; True = may look. None = everybody sees all.

    Returns:
        The output [..., t, v] and the weights [..., t, s]. A token that may look nowhere gets zeros in both.

    Raises:
        ValueError: query and key differ in width, key and value in length, or the mask does not fit.
        TypeError: the mask is not boolean.
    """
    if query.shape[-1] != key.shape[-1]:
        raise ValueError(f"query and key must have one width, got {query.shape[-1]} and {key.shape[-1]}")
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(f"every key needs one value, got {key.shape[-2]} keys and {value.shape[-2]} values")

    scores = einsum(query, key, "... t d, ... s d -> ... t s") / math.sqrt(query.shape[-1])
    if mask is None:
        weights = scores.softmax(dim=-1)
    else:
        check_mask(mask, query.shape[-2], key.shape[-2])
        nowhere = ~mask.any(dim=-1, keepdim=True)  # for a moment such tokens look everywhere: 0 / 0 would be NaN
        hidden = torch.where(mask | nowhere, 0.0, -math.inf).to(scores.dtype)
        weights = (scores + hidden).softmax(dim=-1)
        if torch.compiler.is_exporting() or nowhere.any():  # an exported graph cannot look before it acts
            weights = weights.masked_fill(nowhere, 0.0)
    return einsum(weights, value, "... t s, ... s v -> ... t v"), weights


def causal_mask(length: int, device: torch.device | str | None = None, *, past: int = 0) -> Tensor:
    """Who may look at whom when text is read from left to right: each token sees itself and everything before.

    Returns:
        Boolean [length, past + length]; the first `past` columns are tokens read earlier, visible to all.
    """
    return torch.ones(length, past + length, dtype=torch.bool, device=device).tril(diagonal=past)


def check_mask(mask: Tensor, queries: int, keys: int) -> None:
    """Refuse a mask that is not boolean [..., queries, keys]."""
    if mask.dtype != torch.bool:
        raise TypeError(f"a mask must be boolean (True = may look), got {mask.dtype}: compare it, e.g. mask > 0")
    if tuple(mask.shape[-2:]) != (queries, keys):
        raise ValueError(f"the mask must end in [{queries}, {keys}] (queries, keys), got {list(mask.shape)}")


def check_heads(width: int, heads: int) -> None:
    """Refuse a number of heads that does not divide the width."""
    if width < 1 or heads < 1 or width % heads:
        raise ValueError(f"width {width} cannot be split among {heads} heads: choose a divisor of the width")


def check_width(x: Tensor, width: int, layer: str) -> None:
    """Refuse vectors [..., width] of another width than the layer was built for."""
    if x.shape[-1] != width:
        raise ValueError(f"{layer} was built for tokens of width {width}, got width {x.shape[-1]} in {list(x.shape)}")


def check_tokens(x: Tensor, width: int, layer: str) -> None:
    """Refuse what is not a batch of tokens [b, t, width]."""
    if x.ndim != 3:
        raise ValueError(f"{layer} reads tokens [b, t, {width}], got {list(x.shape)}: a single text needs x[None]")
    check_width(x, width, layer)


def unit_scale(x: Tensor) -> Tensor:
    """Scale the last axis to a root mean square of 1 (an all-zero vector stays zero)."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


class MultiHeadAttention(nn.Module):
    """Several attentions side by side, each in its own slice of the width (Vaswani et al. 2017, section 3.2.2).

    Args:
        width: width of the tokens; `heads` must divide it.
        heads: number of attentions.
        bias: whether the four projections add a bias.
        qk_norm: bring every query and key to length sqrt(d) before comparing them, so that scores stay bounded, and
            let each head learn how sharply it looks (Henry et al. 2020, "Query-Key Normalization for Transformers").
        rotary: turns queries and keys by their positions (chapter 06).
        zero_init: start the output projection at zero, so that a new layer changes nothing.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        bias: bool = True,
        qk_norm: bool = False,
        rotary: RotaryEmbedding | None = None,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        check_heads(width, heads)
        self.width = width
        self.heads = heads
        self.query = nn.Linear(width, width, bias=bias)
        self.key = nn.Linear(width, width, bias=bias)
        self.value = nn.Linear(width, width, bias=bias)
        self.output = nn.Linear(width, width, bias=bias)
        self.sharpness = nn.Parameter(torch.ones(heads)) if qk_norm else None
        self.rotary = rotary
        if zero_init:
            nn.init.zeros_(self.output.weight)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KeyValueCache | None = None,
        layer: int = 0,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Let every token look around.

        Args:
            x: tokens [b, t, width].
            mask: boolean [t, s] or [b, t, s], True = may look; None = causal, where s = cached tokens + t.
            positions: whole numbers [t] or [b, t] for `rotary`; None = go on after the cached tokens.
            cache: keys and values of earlier tokens; those of x are added to it.
            layer: which layer of the cache is this one's.
            return_weights: take the readable path and return the weights too.

        Returns:
            [b, t, width], or the pair of it and the weights [b, h, t, s].

        Raises:
            ValueError: x, mask or positions have the wrong shape, or the cache is full.
            TypeError: the mask is not boolean.
        """
        check_tokens(x, self.width, "MultiHeadAttention")
        query, key, value = (
            rearrange(project(x), "b t (h d) -> b h t d", h=self.heads)
            for project in (self.query, self.key, self.value)
        )
        if self.sharpness is not None:
            query = unit_scale(query) * rearrange(self.sharpness, "h -> h 1 1")
            key = unit_scale(key)
        past = cache.lengths[layer] if cache is not None else 0
        if self.rotary is not None:
            if positions is None:
                positions = torch.arange(past, past + x.shape[1], device=x.device)
            query, key = self.rotary(query, positions), self.rotary(key, positions)
        if cache is not None:
            key, value = cache.append(layer, key, value)

        if mask is not None:
            mask = with_head_axis(mask, x.shape[0], x.shape[1], key.shape[2])
        elif past or return_weights:
            mask = causal_mask(x.shape[1], x.device, past=past)
        if return_weights:
            attended, weights = scaled_dot_product_attention(query, key, value, mask)
        else:
            attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)

        output = self.output(rearrange(attended, "b h t d -> b t (h d)"))
        return (output, weights) if return_weights else output


def with_head_axis(mask: Tensor, batch: int, queries: int, keys: int) -> Tensor:
    """Check a mask [t, s] or [b, t, s] and make it broadcast over heads."""
    check_mask(mask, queries, keys)
    if mask.ndim == 2:
        return mask
    if mask.ndim != 3 or mask.shape[0] != batch:
        raise ValueError(f"a mask must be [t, s] or [b, t, s] with b = {batch}, got {list(mask.shape)}")
    return rearrange(mask, "b t s -> b 1 t s")


class KeyValueCache:
    """Keys and values of the tokens read so far, so that writing a token costs one step and not the whole text again.

    For inference: call the model under `torch.no_grad()`. Room for `context_length` tokens is set aside at once.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        heads: int,
        context_length: int,
        head_width: int,
        *,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        shape = (layers, batch, heads, context_length, head_width)
        self._keys = torch.zeros(shape, dtype=dtype, device=device)
        self._values = torch.zeros(shape, dtype=dtype, device=device)
        self.lengths = [0] * layers  # tokens stored by each layer
        self.reader: OneTokenReader | None = None  # the model's weights made ready, from its first single token on

    @property
    def length(self) -> int:
        """Number of tokens that every layer has stored."""
        return min(self.lengths)

    @property
    def batch(self) -> int:
        """Number of texts."""
        return self._keys.shape[1]

    @property
    def context_length(self) -> int:
        """Number of tokens there is room for."""
        return self._keys.shape[3]

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Add the keys and values [b, h, t, d] of new tokens; returns all of this layer, [b, h, s, d] each.

        Raises:
            ValueError: the batch is not the cache's, or there is no room for t more tokens.
        """
        if key.shape[0] != self.batch:
            raise ValueError(f"the cache holds {self.batch} texts, got {key.shape[0]}: make a new one or repeat() it")
        start = self.lengths[layer]
        end = start + key.shape[2]
        if end > self.context_length:
            raise ValueError(
                f"the cache has room for {self.context_length} tokens: {start} are stored, {key.shape[2]} more do not"
                " fit; shorten the text or make a cache for a longer context"
            )
        self.lengths[layer] = end
        keys, values = self._keys[layer], self._values[layer]  # [b, h, context_length, d]
        keys.narrow(2, start, end - start).copy_(key)
        values.narrow(2, start, end - start).copy_(value)
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)

    def select(self, rows: Tensor | list[int]) -> KeyValueCache:
        """A new cache with the texts `rows` (a row may come twice, or not at all): the beams that survive."""
        selected = copy(self)
        selected._keys, selected._values = self._keys[:, rows], self._values[:, rows]
        selected.lengths = self.lengths.copy()
        return selected

    def repeat(self, times: int) -> KeyValueCache:
        """A new cache with every text `times` times in a row: many questions about one picture, many beams."""
        return self.select([row for row in range(self.batch) for _ in range(times)])

    def truncate(self, length: int) -> None:
        """Forget every token after the first `length`.

        Raises:
            ValueError: fewer than `length` tokens are stored.
        """
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} tokens of the {self.length} stored: choose 0 to {self.length}")
        self.lengths = [length] * len(self.lengths)
        if length == 0:
            self.reader = None  # a new text, perhaps with new weights
