"""Training streams from one's own data (`folder.py`): conversations about pictures, or the windows of a text.

As every stream, these give batch number `step` as a pure function of a seed and `step` (see `training.Stream`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.streams import share
from minigpt4v.datasets.text import TextDataset
from minigpt4v.processor import PictureProcessor

CONVERSATIONS_PER_ROW = 8  # packed behind the same pictures: enough to share the work, few enough to mix a batch

Conversation = tuple[tuple[Path, ...], tuple[Turn, ...]]
"""The pictures of a conversation, and its turns."""
Row = tuple[tuple[int, ...], list[tuple[Turn, ...]]]
"""Indices of pictures, and conversations about them."""


class Album:
    """All pictures of some conversations, each kept once, ready for the model, in memory.

    pictures: uint8 [n, 3, image_size, image_size]; 12 kB each for 64 pixels. (A 16-bit picture loses its finer half.)
    """

    def __init__(self, paths: Iterable[Path], image_size: int, device: str | torch.device = "cpu") -> None:
        self.numbers = {path: number for number, path in enumerate(dict.fromkeys(paths))}
        processor = PictureProcessor(image_size)
        pictures = [(255 * processor(path).tensor).round().to(torch.uint8) for path in self.numbers]
        empty = torch.empty(0, 3, image_size, image_size, dtype=torch.uint8)
        self.pictures = (torch.stack(pictures) if pictures else empty).to(device)

    def images(self, numbers: Sequence[int]) -> torch.Tensor | None:
        """The pictures with these numbers, float32 [pictures, 3, h, w] in 0..1; None for no pictures."""
        return self.pictures[list(numbers)].float() / 255 if len(numbers) else None


def rows_of(conversations: Iterable[Conversation], album: Album) -> list[Row]:
    """Conversations about the same pictures are put into one row, up to `CONVERSATIONS_PER_ROW`."""
    together: dict[tuple[int, ...], list[tuple[Turn, ...]]] = {}
    for paths, turns in conversations:
        together.setdefault(tuple(album.numbers[path] for path in paths), []).append(turns)
    return [
        (pictures, about[start : start + CONVERSATIONS_PER_ROW])
        for pictures, about in together.items()
        for start in range(0, len(about), CONVERSATIONS_PER_ROW)
    ]


def batch_of(rows: Sequence[Row], album: Album, encoder: ConversationEncoder) -> dict[str, torch.Tensor | int | None]:
    """Rows as `AnswerObjective` takes them.

    ids, labels, positions, segments [b, t]; images [pictures, 3, h, w] in the order of the rows, None where the rows
    show none; count = the number of answers.
    """
    batch = encoder.batch([encoder.pack(about, images=len(pictures)) for pictures, about in rows])
    count = sum(len(turns) for _, about in rows for turns in about)
    on_device = {name: tensor.to(album.pictures.device) for name, tensor in batch.items()}
    return on_device | {"images": album.images([number for pictures, _ in rows for number in pictures]), "count": count}


class ConversationStream:
    """Conversations in an order that changes from one pass over the data to the next."""

    def __init__(
        self,
        conversations: Iterable[Conversation],
        album: Album,
        encoder: ConversationEncoder,
        batch_size: int,
        seed: int,
    ) -> None:
        self.rows = rows_of(conversations, album)
        self.album, self.encoder, self.batch_size, self.seed = album, encoder, batch_size, seed
        if not self.rows:
            raise ValueError("there is no conversation to learn from: give at least one")
        self._order = lru_cache(maxsize=2)(  # a batch spans two passes at most, unless the data is tiny
            lambda number: np.random.default_rng((seed, number)).permutation(len(self.rows))
        )

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, torch.Tensor | int | None]:
        """Part `part` of batch number `step`, see `batch_of`."""
        chosen = []
        for number in share(self.batch_size, part, parts):
            passes, place = divmod(step * self.batch_size + number, len(self.rows))
            chosen.append(self.rows[self._order(passes)[place]])
        return batch_of(chosen, self.album, self.encoder)


class TextStream:
    """Windows of a text at random places, with the token that follows each token as its target."""

    def __init__(self, dataset: TextDataset, batch_size: int, seed: int, device: str | torch.device = "cpu") -> None:
        self.dataset, self.batch_size, self.seed, self.device = dataset, batch_size, seed, device

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, torch.Tensor | int]:
        """inputs, targets int64 [b, context_length]; count = the number of targets."""
        mine = share(self.batch_size, part, parts)
        whole = self.dataset.batch(step, self.batch_size, self.seed)
        inputs, targets = (windows[mine.start : mine.stop].to(self.device) for windows in whole)
        return {"inputs": inputs, "targets": targets, "count": targets.numel()}
