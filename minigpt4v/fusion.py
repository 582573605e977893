"""Other ways to join pictures and words than GPT4V's prefix, built from the same parts to be compared (chapter 11).

    GPT4V           picture tokens stand in the sentence; those of one picture all see each other
    CausalGPT4V     picture tokens stand in the sentence; each sees only what came before it, as words do
    CrossGPT4V      the sentence holds words only; extra layers let every word look at the picture

All three have one interface, so that one objective, one stream and one trainer serve them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minigpt4v.attention import MultiHeadAttention, check_tokens, unit_scale
from minigpt4v.block import BlockConfig, make_norm
from minigpt4v.gpt4v import GPT4V, GPT4VConfig, prefix_mask
from minigpt4v.tokenizer import CharTokenizer, Tokenizer

if TYPE_CHECKING:  # only a name for the reader: training comes a chapter later
    from minigpt4v.training import Stream

_NO_PICTURE = -1  # an id that no token has


def causal_segments_mask(ids: Tensor, segments: Tensor | None = None) -> Tensor:
    """`prefix_mask` for a text whose picture tokens are taken for words: bool [b, t, t] for ids [b, t]."""
    return prefix_mask(ids, _NO_PICTURE, 1, segments)


class CrossAttention(MultiHeadAttention):
    """Attention whose queries come from one sequence, and whose keys and values come from another.

    Vaswani et al. 2017, section 3.2.3, "encoder-decoder attention". The arguments are those of `MultiHeadAttention`;
    there are no positions: the picture's tokens hold their places already.
    """

    def forward(self, x: Tensor, seen: Tensor, return_weights: bool = False) -> Any:  # type: ignore[override]
        """Let every token of x look at every token of `seen`, and at nothing else.

        Args:
            x: tokens that look [b, t, width].
            seen: tokens that are looked at [b, s, width].
            return_weights: return the weights too.

        Returns:
            [b, t, width], or the pair of it and the weights [b, h, t, s].

        Raises:
            ValueError: a shape is wrong.
        """
        check_tokens(x, self.width, "CrossAttention")
        check_tokens(seen, self.width, "CrossAttention")
        if len(seen) != len(x):
            raise ValueError(f"every text needs a picture of its own, got {len(x)} texts and {len(seen)} pictures")
        query = rearrange(self.query(x), "b t (h d) -> b h t d", h=self.heads)
        key, value = (
            rearrange(project(seen), "b s (h d) -> b h s d", h=self.heads) for project in (self.key, self.value)
        )
        if self.sharpness is not None:
            query = unit_scale(query) * rearrange(self.sharpness, "h -> h 1 1")
            key = unit_scale(key)
        attended = F.scaled_dot_product_attention(query, key, value)
        output = self.output(rearrange(attended, "b h t d -> b t (h d)"))
        if not return_weights:
            return output
        scores = query @ rearrange(key, "b h s d -> b h d s") / query.shape[-1] ** 0.5
        return output, scores.softmax(dim=-1)


class LookingLayer(nn.Module):
    """x + cross_attention(norm(x), norm(picture)): what a block's input gains from the picture.

    Flamingo (Alayrac et al. 2022) puts such layers before the blocks of a language model and opens them slowly with a
    gate that starts at zero. Here the output projection starts at zero, which does the same.
    """

    def __init__(self, config: BlockConfig) -> None:
        super().__init__()
        self.attention = CrossAttention(
            config.width,
            config.heads,
            bias=config.bias,
            qk_norm=config.qk_norm,
            zero_init=config.zero_init_outputs,
        )
        self.words_norm = make_norm(config.norm, config.width, config.bias)
        self.picture_norm = make_norm(config.norm, config.width, config.bias)

    def forward(self, x: Tensor, picture: Tensor) -> Tensor:
        """Words [b, t, width] and the tokens of their pictures [b, s, width] -> words [b, t, width]."""
        return x + self.attention(self.words_norm(x), self.picture_norm(picture))


class LookingLayers(nn.Module):
    """One `LookingLayer` for each block of a GPT. Named `blocks`, like those, so that they are trained alike."""

    def __init__(self, config: BlockConfig, layers: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(LookingLayer(config) for _ in range(layers))
        for module in self.modules():
            if isinstance(module, nn.Linear) and module.weight.any():  # the output projections stay zero
                nn.init.normal_(module.weight, std=0.02)


class CausalGPT4V(GPT4V):
    """Early concatenation: a GPT4V in which a picture's tokens are read like words, each seeing only earlier ones."""

    def hidden(  # type: ignore[override]
        self,
        ids: Tensor,
        images: Tensor | None = None,
        *,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
        return_weights: bool = False,
    ) -> Any:
        """The last hidden states [b, t, d]; the arguments are those of `GPT4V.hidden`."""
        positions = self.gpt.next_positions(ids) if positions is None else positions
        vectors = self.embed(ids, images, positions)
        mask = causal_segments_mask(ids, segments)
        return self.gpt.transform(vectors, mask=mask, positions=positions, return_weights=return_weights)


class CrossGPT4V(GPT4V):
    """Cross-attention: the GPT reads words only, and before each of its blocks every word looks at the pictures."""

    def __init__(self, config: GPT4VConfig, tokenizer: Tokenizer | CharTokenizer):
        super().__init__(config, tokenizer)
        self.looking = LookingLayers(config.text, config.text.layers)

    def hidden(  # type: ignore[override]
        self,
        ids: Tensor,
        images: Tensor,
        *,
        segments: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """The last hidden states [b, t, d], zero at the places of the pictures, which the words do not need.

        ids: [b, t], all rows with equally many picture tokens, which stand in front; the rest as in `GPT4V.hidden`.
        """
        count = self._count_in_front(ids, images)
        words = ids[:, count:]
        if positions is None:
            positions = self.gpt.next_positions(ids)
        positions = positions[..., count:]
        mask = causal_segments_mask(words, None if segments is None else segments[:, count:])
        picture = rearrange(self.encoder(images), "(b p) n d -> b (p n) d", b=len(ids))
        x = self.gpt.embed(words, positions)
        for look, block in zip(self.looking.blocks, self.gpt.blocks, strict=True):
            x = block(look(x, picture), mask, positions)
        return F.pad(self.gpt.norm(x), (0, 0, count, 0))

    def _count_in_front(self, ids: Tensor, images: Tensor) -> int:
        """The number of picture tokens at the front of every row. Raises ValueError where they are not all there."""
        is_image = ids == self.image_id
        count = len(images) * self.tokens_per_image // len(ids)
        if len(images) % len(ids) or not is_image[:, :count].all() or is_image[:, count:].any():
            raise ValueError(
                f"{len(images)} pictures for {len(ids)} rows: every row needs the same number, and the {count} tokens"
                " of its pictures at its front"
            )
        return count


# -- training all three alike -----------------------------------------------------------------------------------------


def three_ways(named: GPT4V) -> dict[str, GPT4V]:
    """Name -> model, for a GPT4V whose encoder has learned to see: three that start from the same weights.

    Their encoder is frozen and left out: what they are given as `images` are its tokens [pictures, tokens, width], made
    once by `FrozenStream`.
    """
    kinds = {"prefix": GPT4V, "causal": CausalGPT4V, "cross-attention": CrossGPT4V}
    models = {name: kind(named.config, named.tokenizer) for name, kind in kinds.items()}
    for model in models.values():
        model.load_state_dict(model.state_dict() | named.state_dict())
        model.encoder = nn.Identity()  # type: ignore[assignment]
    return models


@torch.no_grad()
def see(encoder: nn.Module, batch: dict) -> dict:
    """The batch with its pictures [pictures, 3, h, w] replaced by their tokens [pictures, tokens, width]."""
    return batch | {"images": encoder.eval()(batch["images"])}


class FrozenStream:
    """The first `batches` batches of a stream, over and over, with pictures that were encoded once."""

    def __init__(self, stream: Stream, encoder: nn.Module, batches: int):
        self._batches = [see(encoder, stream.batch(step)) for step in range(batches)]

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, Any]:
        """Batch number `step`. Raises ValueError where only a part is asked for."""
        if parts != 1:
            raise ValueError(f"part {part} of {parts} parts of a batch was asked for: batches are kept whole here")
        return self._batches[step % len(self._batches)]
