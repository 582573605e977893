"""A GPT: token embeddings, a stack of blocks, and a guess at the next token for every token (chapter 07)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from einops import rearrange
from torch import Tensor, nn

from minigpt4v.attention import KeyValueCache, check_tokens
from minigpt4v.block import (
    LEAST_TENSORS,
    BlockConfig,
    TransformerBlock,
    check_choice,
    check_counts,
    check_flags,
    initialise,
    make_norm,
)
from minigpt4v.one_token import OneTokenReader
from minigpt4v.position import LearnedPositions, RotaryEmbedding, SinusoidalPositions, check_indices
from minigpt4v.weights import Size

POSITIONS = ("rotary", "learned", "sinusoidal", "none")
LONGEST_CONTEXT = 2**24  # tokens
LARGEST_TABLE = 2**24  # numbers; a table that no file of weights has to pay for


@dataclass(frozen=True, kw_only=True)
class GPTConfig(BlockConfig):
    """The size and the make of a GPT.

    Attributes:
        vocabulary_size: number of different tokens.
        context_length: the longest text, in tokens.
        layers: number of blocks.
        position: "rotary", "learned", "sinusoidal" or "none".
        tie_embeddings: read and write with one matrix (Press and Wolf 2017).
        zero_init_outputs: also starts an untied head at zero, so that every token is first thought equally likely.

    The rest is described in `BlockConfig`.
    """

    vocabulary_size: int
    context_length: int
    layers: int
    position: str = "rotary"
    tie_embeddings: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_counts(self, "vocabulary_size", "context_length", "layers")
        check_flags(self, "tie_embeddings")
        check_choice(self, "position", POSITIONS)
        if self.position == "rotary" and self.head_width % 2:
            raise ValueError(f"rotary positions turn pairs of channels: a head of width {self.head_width} is odd")
        if self.position == "sinusoidal" and self.width % 2:
            raise ValueError(f"sinusoidal positions pair sines and cosines: width {self.width} is odd")
        if self.context_length > LONGEST_CONTEXT:
            raise ValueError(f"context_length must be at most {LONGEST_CONTEXT:,}: float32 can count no further")
        if self.position == "sinusoidal" and self.context_length * self.width > LARGEST_TABLE:
            raise ValueError(
                f"the table of sinusoidal positions must hold at most {LARGEST_TABLE:,} numbers, got a context_length "
                f"of {self.context_length} times a width of {self.width}: rotary positions need no table"
            )

    @property
    def least_size(self) -> Size:
        """What a GPT of this config has at least: its matrices."""
        table = self.context_length * self.width if self.position == "learned" else 0
        numbers = self.vocabulary_size * self.width + table + self.layers * self.least_numbers
        return Size(LEAST_TENSORS * self.layers + 1, numbers)

    @classmethod
    def gpt2(cls, **changes: Any) -> GPTConfig:
        """The classic form, in the size of GPT-2 small (Radford et al. 2019) where `changes` do not say otherwise."""
        small: dict[str, Any] = {
            "vocabulary_size": 50_257,
            "context_length": 1024,
            "layers": 12,
            "heads": 12,
            "width": 768,
            "norm": "layer",
            "activation": "gelu_tanh",
            "position": "learned",
            "bias": True,
            "qk_norm": False,
            "tie_embeddings": True,
            "zero_init_outputs": False,
        }
        return cls(**(small | changes))


class GPT(nn.Module):
    """A generative pre-trained transformer (Radford et al. 2018 and 2019), decoder only."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.config = config
        self.token_embedding = nn.Embedding(config.vocabulary_size, config.width)
        absolute = {"learned": LearnedPositions, "sinusoidal": SinusoidalPositions}.get(config.position)
        self.position_embedding = absolute(config.context_length, config.width) if absolute else None
        self.dropout = nn.Dropout(config.dropout)
        rotary = RotaryEmbedding(config.head_width) if config.position == "rotary" else None
        self.blocks = nn.ModuleList(TransformerBlock(config, rotary) for _ in range(config.layers))
        # Post-norm blocks end with a norm of their own.
        pre = config.norm_place == "pre"
        self.norm = make_norm(config.norm, config.width, config.bias) if pre else nn.Identity()
        self.head = nn.Linear(config.width, config.vocabulary_size, bias=False)

        initialise(self)
        if config.tie_embeddings:
            self.head.weight = self.token_embedding.weight
        elif config.zero_init_outputs:
            nn.init.zeros_(self.head.weight)

    def forward(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KeyValueCache | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """Score every possible next token after each token.

        Args:
            ids: token ids [b, t].
            mask: boolean [t, s] or [b, t, s], True = may look; None = causal. s = cached tokens + t.
            positions: whole numbers [t] or [b, t]; None = go on after the cached tokens.
            cache: from `new_cache`; holds the earlier tokens and takes up these.
            return_weights: return also a list with every layer's attention weights [b, h, t, s].

        Returns:
            Logits [b, t, vocabulary_size], or the pair of them and the weights.

        Raises:
            ValueError: wrong shapes, ids outside the vocabulary, or more tokens than the context holds.
            TypeError: ids are not whole numbers, or the mask is not boolean.
        """
        hidden = self.hidden(ids, mask=mask, positions=positions, cache=cache, return_weights=return_weights)
        if return_weights:
            hidden, weights = hidden
            return self.head(hidden), weights
        return self.head(hidden)

    def hidden(
        self,
        ids: Tensor,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KeyValueCache | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """`forward` without the head: [b, t, width]. Training keeps the tokens that have a label, then calls `head`."""
        if ids.ndim != 2:
            raise ValueError(f"token ids must be [b, t], got {list(ids.shape)}: a single text needs ids[None]")
        if positions is None:
            positions = self.next_positions(ids, cache)
        x = self.embed(ids, positions)
        return self.transform(x, mask=mask, positions=positions, cache=cache, return_weights=return_weights)

    def embed(self, ids: Tensor, positions: Tensor | None = None) -> Tensor:
        """Token ids [b, t] -> vectors [b, t, width], with learned or sinusoidal positions added if the config has them.

        `positions` as in `forward`, but None = 0, 1, 2, ...
        """
        check_indices(ids, self.config.vocabulary_size, "token id")
        x = self.token_embedding(ids)
        if self.config.position == "sinusoidal":
            x = x * math.sqrt(self.config.width)  # Vaswani et al. 2017, section 3.4: else the waves drown the words
        if self.position_embedding is not None:
            x = x + self.position_embedding(self.next_positions(ids) if positions is None else positions)
        return self.dropout(x)

    def transform(
        self,
        x: Tensor,
        *,
        mask: Tensor | None = None,
        positions: Tensor | None = None,
        cache: KeyValueCache | None = None,
        return_weights: bool = False,
    ) -> Tensor | tuple[Tensor, list[Tensor]]:
        """All blocks and the last norm, for vectors [b, t, width] of words, patches or anything else.

        The other arguments, the weights and the errors are those of `forward`.
        """
        check_tokens(x, self.config.width, "GPT")
        if positions is None:
            positions = self.next_positions(x, cache)
        check_indices(positions, self.config.context_length, "position")
        if cache is not None and not return_weights and self._one_token_each(x, positions):
            cache.reader = cache.reader or OneTokenReader(cast("list[TransformerBlock]", list(self.blocks)))
            return self.norm(cache.reader(x, positions, mask, cache))
        weights = []
        for layer, block in enumerate(self.blocks):
            x = block(x, mask, positions, cache, layer, return_weights)
            if return_weights:
                x, layer_weights = x
                weights.append(layer_weights)
        x = self.norm(x)
        return (x, weights) if return_weights else x

    def _one_token_each(self, x: Tensor, positions: Tensor) -> bool:
        """Whether this is one token per text, read to write the next one: what `OneTokenReader` is for."""
        if self.training or torch.is_grad_enabled():
            return False
        return x.shape[1] == 1 and positions.shape in ((1,), (x.shape[0], 1))

    def next_positions(self, x: Tensor, cache: KeyValueCache | None = None) -> Tensor:
        """The positions [t] of ids or vectors [b, t, ...] that come right after the cached tokens.

        Raises:
            ValueError: they do not fit into the context any more.
        """
        past = cache.length if cache is not None else 0
        if past + x.shape[1] > self.config.context_length:
            raise ValueError(
                f"the context holds {self.config.context_length} tokens, got {past + x.shape[1]}: shorten the text"
            )
        return torch.arange(past, past + x.shape[1], device=x.device)

    def new_cache(self, batch: int = 1, length: int | None = None) -> KeyValueCache:
        """An empty cache for `batch` texts of up to `length` tokens (None = context_length)."""
        length = self.config.context_length if length is None else length
        if not 1 <= length <= self.config.context_length:
            raise ValueError(f"a cache holds 1 to {self.config.context_length} tokens (the context), got {length}")
        like = self.token_embedding.weight
        return KeyValueCache(
            self.config.layers,
            batch,
            self.config.heads,
            length,
            self.config.head_width,
            dtype=like.dtype,
            device=like.device,
        )

    def parameter_count(self) -> int:
        """Number of learned numbers; a matrix used twice counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def load_gpt2_weights(self, state_dict: Mapping[str, Tensor]) -> None:
        """Take over the weights of a `transformers` GPT2LMHeadModel: `model.load_gpt2_weights(theirs.state_dict())`.

        Raises:
            ValueError: a tensor is missing, left over, or has another shape (the sentence names it).
        """
        ours = translate_gpt2(state_dict, self.config.layers)
        expected = self.state_dict()
        problems = [f"{name} is missing" for name in expected if name not in ours]
        problems += [f"{name} is left over" for name in ours if name not in expected]
        problems += [
            f"{name} is {list(ours[name].shape)} instead of {list(expected[name].shape)}"
            for name in expected
            if name in ours and ours[name].shape != expected[name].shape
        ]
        if problems:
            listed = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
            raise ValueError(f"these weights do not fit this config (try GPTConfig.gpt2): {listed}")
        self.load_state_dict(ours)


def translate_gpt2(state_dict: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Rename the tensors of a `transformers` GPT-2 to ours. Names it does not know stay as they are."""
    names = {
        "transformer.wte": "token_embedding",
        "transformer.wpe": "position_embedding.table",
        "transformer.ln_f": "norm",
        "lm_head": "head",
    }
    for i in range(layers):
        names |= {
            f"transformer.h.{i}.ln_1": f"blocks.{i}.attention_norm",
            f"transformer.h.{i}.ln_2": f"blocks.{i}.feed_forward_norm",
            f"transformer.h.{i}.attn.c_attn": f"blocks.{i}.attention",
            f"transformer.h.{i}.attn.c_proj": f"blocks.{i}.attention.output",
            f"transformer.h.{i}.mlp.c_fc": f"blocks.{i}.feed_forward.hidden",
            f"transformer.h.{i}.mlp.c_proj": f"blocks.{i}.feed_forward.output",
        }
    ours = {}
    for name, tensor in state_dict.items():
        module, _, kind = name.rpartition(".")
        target = names.get(module, module)
        if ".c_" in module and kind == "weight":
            tensor = rearrange(tensor, "i o -> o i")  # GPT-2 stores its matrices as x @ W, PyTorch as x @ W.T
        if module.endswith("c_attn"):
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                ours[f"{target}.{part}.{kind}"] = piece
        else:
            ours[f"{target}.{kind}"] = tensor
    return ours
