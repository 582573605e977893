"""Reading one token per text: the blocks of a GPT with the same arithmetic in fewer, larger operations.

While a text is written, every step reads a single token per text. Then a small model spends most of its time not on
matrix products but on everything around them, and a large one on fetching its weights from memory. So, once per text:
queries, keys and values become one product, and every matrix is laid out in the order in which a single row walks
through it. Once per step: the angles of rotary positions. And no mask is made: the newest token may see everything but
padding. `GPT.transform` comes here by itself; `TransformerBlock` is the form to read first, and to train.

Letters in shape comments: b texts, h heads, d width of one head, s tokens seen, the new one included.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minigpt4v.attention import KeyValueCache, unit_scale, with_head_axis
from minigpt4v.block import TransformerBlock
from minigpt4v.feedforward import SwiGLU
from minigpt4v.position import apply_rotary, wave_frequencies


class RowProduct:
    """What linear layers that read the same input give for a few rows, side by side: [b, in] -> [b, out].

    A row times a matrix is a weighted sum of the matrix's rows, so these lie one after the other: [in, out], where
    `nn.Linear` keeps [out, in].
    """

    def __init__(self, *layers: nn.Linear) -> None:
        self.weight = torch.cat([layer.weight.detach() for layer in layers]).t().contiguous()  # [in, out]
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.bias = torch.cat(biases) if biases else None

    def __call__(self, x: Tensor) -> Tensor:
        """[b, in] -> [b, out]."""
        return x @ self.weight if self.bias is None else torch.addmm(self.bias, x, self.weight)


class OneTokenBlock:
    """`TransformerBlock` for a single new token per text, in evaluation mode and without gradients."""

    def __init__(self, block: TransformerBlock) -> None:
        attention, feed_forward = block.attention, block.feed_forward
        self.block = block
        self.pre = block.config.norm_place == "pre"
        self.heads = attention.heads
        self.sharpness = None if attention.sharpness is None else rearrange(attention.sharpness, "h -> h 1 1")
        self.project = RowProduct(attention.query, attention.key, attention.value)
        self.output = RowProduct(attention.output)
        self.activation: Callable[[Tensor], Tensor] | None = None  # None: SwiGLU
        if isinstance(feed_forward, SwiGLU):
            self.hidden = RowProduct(feed_forward.gate, feed_forward.hidden)
        else:
            self.activation, self.hidden = feed_forward.activation, RowProduct(feed_forward.hidden)
        self.feed_forward_output = RowProduct(feed_forward.output)

    def __call__(
        self, x: Tensor, angles: Tensor | None, mask: Tensor | None, cache: KeyValueCache, layer: int
    ) -> Tensor:
        """x [b, width] -> [b, width]; angles [b or 1, 1, 1, 1, d / 2]; mask broadcasts to [b, 1, 1, s]."""
        attention_norm, feed_forward_norm = self.block.attention_norm, self.block.feed_forward_norm
        if self.pre:
            x = x + self.attend(attention_norm(x), angles, mask, cache, layer)
            return x + self.feed_forward(feed_forward_norm(x))
        x = attention_norm(x + self.attend(x, angles, mask, cache, layer))
        return feed_forward_norm(x + self.feed_forward(x))

    def attend(self, x: Tensor, angles: Tensor | None, mask: Tensor | None, cache: KeyValueCache, layer: int) -> Tensor:
        """`MultiHeadAttention`: a single token needs no axis moved, only cut into heads."""
        projected = self.project(x).view(len(x), 3, self.heads, 1, -1)  # [b, 3, h, 1, d]
        query_and_key, value = projected[:, :2], projected[:, 2]
        if self.sharpness is not None:
            query_and_key = unit_scale(query_and_key)
        if angles is not None:
            query_and_key = apply_rotary(query_and_key, angles)
        query, key = query_and_key.unbind(1)  # [b, h, 1, d] each
        if self.sharpness is not None:
            query = query * self.sharpness
        keys, values = cache.append(layer, key, value)  # [b, h, s, d]
        attended = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask)
        return self.output(attended.reshape(x.shape))

    def feed_forward(self, x: Tensor) -> Tensor:
        """`FeedForward` or `SwiGLU`."""
        hidden = self.hidden(x)
        if self.activation is not None:
            return self.feed_forward_output(self.activation(hidden))
        gate, hidden = hidden.chunk(2, dim=-1)
        return self.feed_forward_output(F.silu(gate) * hidden)


class OneTokenReader:
    """All blocks of a GPT, made ready for reading one token per text; worth it from a few tokens on.

    It holds a second copy of the weights, made once: a `KeyValueCache` carries it along, since neither is true any more
    once the weights change.
    """

    def __init__(self, blocks: Sequence[TransformerBlock]) -> None:
        self.blocks = [OneTokenBlock(block) for block in blocks]
        self.frequencies = None
        rotary = blocks[0].attention.rotary  # the same in every block
        if rotary is not None:
            device = blocks[0].attention.query.weight.device
            self.frequencies = wave_frequencies(rotary.head_width, rotary.base, device)

    def __call__(self, x: Tensor, positions: Tensor, mask: Tensor | None, cache: KeyValueCache) -> Tensor:
        """Vectors [b, 1, width] through all blocks; positions [1] or [b, 1]; mask [1, s] or [b, 1, s]."""
        if mask is not None:
            mask = with_head_axis(mask, len(x), 1, cache.length + 1)
        angles = None
        if self.frequencies is not None:
            angles = rearrange(positions, "... 1 -> (...) 1 1 1 1") * self.frequencies
        x = rearrange(x, "b 1 w -> b w")
        for layer, block in enumerate(self.blocks):
            x = block(x, angles, mask, cache, layer)
        return rearrange(x, "b w -> b 1 w")
