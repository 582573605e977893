"""Text for the language chapters: Shakespeare and the Tang quatrains, cut into windows to train and to test on.

Batches are a function of (seed, step) alone. No random state is carried from step to step, so a run that resumes at
step 1,000 sees exactly the text that an uninterrupted run sees there.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from einops import rearrange

from minigpt4v.datasets.folder import load_plain_text
from minigpt4v.paths import data_folder

TEXTS = {"shakespeare": "shakespeare.txt", "tang": "tang_quatrains.txt"}
SPLITS = ("all", "train", "validation")
_VALIDATION_SHARE = 0.1
_SHIFT_SHARE = 0.01


def load_text(name: str, split: str = "all") -> str:
    """A text of the course: "shakespeare" or "tang"; whole, or one of the two parts of `split_text`.

    Raises:
        ValueError: an unknown name or split, or a data file that is missing or damaged (`DataError`).
    """
    if name not in TEXTS:
        raise ValueError(f"there is no text named {name!r}: choose one of {', '.join(map(repr, TEXTS))}")
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(map(repr, SPLITS))}, not {split!r}")
    text = load_plain_text(data_folder() / "text" / TEXTS[name])
    if split == "all":
        return text
    return split_text(text)[SPLITS.index(split) - 1]


def split_text(text: str) -> tuple[str, str]:
    """Train and validation part: the validation part is the whole end of the text, its last tenth.

    Windows drawn at random would let a model train on the lines around every held-out line; one cut lets it see
    nothing of the end. The cut moves on to the next blank line, or else the next line, if one comes within 1% of the
    text, so that no poem and no speech is cut in two.

    Raises:
        ValueError: the text is too short to have two parts (fewer than 10 characters).
    """
    if len(text) < 10:
        raise ValueError(f"a text of {len(text)} characters has no tenth to hold out: give at least 10 characters")
    cut = len(text) - round(len(text) * _VALIDATION_SHARE)
    furthest = cut + int(len(text) * _SHIFT_SHARE)
    for border in ("\n\n", "\n"):
        place = text.find(border, cut - len(border), furthest)
        if place >= 0:
            return text[: place + len(border)], text[place + len(border) :]
    return text[:cut], text[cut:]


class TextDataset:
    """Token ids of one text, cut into pairs of windows: inputs, and the same window one token later as targets.

    Args:
        ids: token ids, one dimension [length]; at least `context_length + 1` of them.
        context_length: tokens in a window.

    Raises:
        ValueError: the text is too short for one window, or the ids are not one row of whole numbers.
    """

    def __init__(self, ids: Sequence[int] | torch.Tensor, context_length: int) -> None:
        if context_length < 1:
            raise ValueError(f"context_length must be at least 1, not {context_length}")
        tokens = torch.as_tensor(ids)
        if len(tokens.shape) != 1 or (tokens.numel() and tokens.is_floating_point()):
            raise ValueError(f"ids must be one row of whole numbers, not {tokens.dtype} of shape {list(tokens.shape)}")
        if len(tokens) < context_length + 1:
            raise ValueError(
                f"the text has {len(tokens)} tokens, but a context of {context_length} needs at least "
                f"{context_length + 1}: give a longer text or a smaller context_length"
            )
        self.ids = tokens.to(torch.int64)
        self.context_length = context_length

    def __len__(self) -> int:
        """How many windows can be drawn: one for every start that leaves room for a window and its last target."""
        return len(self.ids) - self.context_length

    def batch(self, step: int, batch_size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The training batch of one step: windows at random starts, a function of (seed, step) alone.

        Returns:
            inputs, targets: int64 [batch_size, context_length]; `targets[:, i]` follows `inputs[:, i]` in the text.

        Raises:
            ValueError: a negative step or seed, or a batch size below 1.
        """
        if step < 0 or seed < 0:
            raise ValueError(f"step and seed must not be negative: step {step}, seed {seed}")
        _check_batch_size(batch_size)
        # The pair is hashed. A generator seeded with seed + step would give seed 0 at step 1 the batch of seed 1 at
        # step 0, and two "independent" runs would read the same text.
        starts = np.random.default_rng((seed, step)).integers(len(self), size=batch_size)
        return self._windows(torch.from_numpy(starts), self.context_length)

    def validation_batches(self, batch_size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """The whole text once, in order: every token but the first is a target exactly once.

        Yields:
            inputs, targets: int64 [b, context_length] with b <= batch_size; what is left at the end of the text comes
            last as one shorter row [1, rest]. Batches differ in size: weigh their means by `targets.numel()`.

        Raises:
            ValueError: a batch size below 1.
        """
        _check_batch_size(batch_size)
        windows, rest = divmod(len(self.ids) - 1, self.context_length)
        for starts in torch.split(torch.arange(windows) * self.context_length, batch_size):
            yield self._windows(starts, self.context_length)
        if rest:
            yield self._windows(torch.tensor([windows * self.context_length]), rest)

    def _windows(self, starts: torch.Tensor, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        places = rearrange(starts, "b -> b 1") + torch.arange(length)  # [b, t]
        return self.ids[places], self.ids[places + 1]


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
