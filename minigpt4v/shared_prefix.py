"""Training that reads a picture once for all the questions about it (chapter 12).

Packed into one long row, the questions about a picture share its tokens, but every token is still compared with every
other one, and most of these comparisons are masked away. Here the questions stand in short rows, and what is shared
moves into a cache, as when text is written: the picture is read first, and each row looks at the keys and values of
its own picture. The numbers are the same, their cost is not. Unlike `KeyValueCache`, this one lets gradients through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from minigpt4v.attention import KeyValueCache, causal_mask

if TYPE_CHECKING:
    from minigpt4v.gpt4v import GPT4V


class SharedPrefix(KeyValueCache):
    """Keys and values of prefixes [b, t], for rows of tokens that come behind one of them each.

    The first pass through the model fills it; `behind` then gives the cache for the rows. It only grows: to select,
    repeat or truncate is for writing text.
    """

    def __init__(self, layers: int) -> None:
        self.lengths = [0] * layers
        self.reader = None
        self._stored: list[tuple[Tensor, Tensor]] = []
        self._prefix_of: Tensor | None = None

    def behind(self, prefix_of: Tensor) -> SharedPrefix:
        """The cache for rows [r] of which each comes behind the prefix of that number; prefix_of: int64 [r]."""
        rows = SharedPrefix(0)
        rows.lengths, rows._stored, rows._prefix_of = self.lengths, self._stored, prefix_of
        return rows

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values [b, h, t, d] of the prefixes, or put those in front of the rows' own."""
        if self._prefix_of is None:
            self._stored.append((key, value))
            self.lengths[layer] = key.shape[2]
            return key, value
        keys, values = self._stored[layer]
        return torch.cat([keys[self._prefix_of], key], dim=2), torch.cat([values[self._prefix_of], value], dim=2)


def hidden_behind_pictures(model: GPT4V, batch: dict) -> Tensor:
    """What the model makes of the tokens of short rows, [r, t, width]; batch: as of `ConversationEncoder.short_rows`.

    The same as `model.hidden` for conversations packed behind their picture in one row.
    """
    images, ids, segments = batch["images"], batch["ids"], batch["segments"]
    prefix_ids = torch.full((len(images), model.tokens_per_image), model.image_id, device=ids.device)
    prefix = SharedPrefix(model.config.text.layers)
    # The readable attention: for rows as short as these a CPU needs less time for it than for the fused kernel.
    readable = ids.device.type == "cpu"
    model.hidden(prefix_ids, images, cache=prefix, return_weights=readable)
    mask = row_mask(segments, prefix.length)
    hidden = model.hidden(
        ids, mask=mask, positions=batch["positions"], cache=prefix.behind(batch["picture"]), return_weights=readable
    )
    return hidden[0] if readable else hidden


def row_mask(segments: Tensor, prefix_length: int) -> Tensor:
    """Who may look at whom, bool [r, t, prefix_length + t]: a token sees the prefix, and its segment up to itself."""
    rows, length = segments.shape
    own = causal_mask(length, segments.device) & (segments[:, None, :] == segments[:, :, None])
    return torch.cat([own.new_ones(rows, length, prefix_length), own], dim=2)
