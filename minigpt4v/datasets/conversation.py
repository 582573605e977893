"""Conversations as text and as tokens.

    <|image|> <|user|> question <|assistant|> answer <|end|> <|user|> ...

`<|image|>` is repeated once for every token that the encoder makes of a picture. The loss counts only what the
assistant says, its `<|end|>` included. Several conversations about the same picture can be *packed* behind one image
prefix: each is a segment of its own that sees the picture and itself, and its positions start right after the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from minigpt4v.tokenizer import CharTokenizer, Tokenizer

_SHORT = 1000  # characters
IGNORED = -100
"""The label of a token that the loss leaves out (PyTorch's `ignore_index`)."""


def check_labels(labels: torch.Tensor) -> None:
    """Refuse labels, int64 of any shape, of which a loss would count none: nothing would be learned from them."""
    if not (labels != IGNORED).any():
        raise ValueError("no label of this batch counts: give it at least one answer, name or token to learn from")


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and its answer; family and language group the scores."""

    question: str
    answer: str
    family: str | None = None
    language: str | None = None


@dataclass(frozen=True)
class Tokens:
    """A packed row, one entry a token; labels are `IGNORED` outside answers, segment 0 is the picture."""

    ids: list[int]
    labels: list[int]
    positions: list[int]
    segments: list[int]

    def append(self, ids: Sequence[int], labels: Sequence[int], start: int, segment: int) -> None:
        """Add a conversation as a segment whose positions count from `start`."""
        self.ids.extend(ids)
        self.labels.extend(labels)
        self.positions.extend(range(start, start + len(ids)))
        self.segments.extend([segment] * len(ids))


class ConversationEncoder:
    """Turns conversations into token ids, labels, positions and segments."""

    def __init__(self, tokenizer: Tokenizer | CharTokenizer, tokens_per_image: int):
        self.tokenizer = tokenizer
        self.tokens_per_image = tokens_per_image
        self.pad, self.user, self.assistant, self.image, self.end = (
            tokenizer.special_id(f"<|{name}|>") for name in ("pad", "user", "assistant", "image", "end")
        )
        self._encode_short = lru_cache(maxsize=100_000)(lambda text: tuple(tokenizer.encode(text)))

    def _encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text; those of short ones are remembered, those of long ones would fill the memory."""
        return self._encode_short(text) if len(text) <= _SHORT else tuple(self.tokenizer.encode(text))

    @property
    def never_said(self) -> tuple[int, ...]:
        """The ids that no answer may hold."""
        return self.pad, self.user, self.assistant, self.image

    def prefix(self, images: int = 1) -> list[int]:
        """The ids that stand for the pictures in front of a conversation."""
        return [self.image] * (self.tokens_per_image * images)

    def question(self, question: str) -> list[int]:
        """<|user|> question <|assistant|>: what the model is given before it answers."""
        return [self.user, *self._encode(question), self.assistant]

    def turns(self, turns: Sequence[Turn]) -> tuple[list[int], list[int]]:
        """Ids and labels of a whole conversation, without its pictures."""
        ids: list[int] = []
        labels: list[int] = []
        for turn in turns:
            question, answer = self.question(turn.question), [*self._encode(turn.answer), self.end]
            ids += question + answer
            labels += [IGNORED] * len(question) + answer
        return ids, labels

    def prompt(self, question: str, history: Sequence[Turn] = (), images: int = 1) -> list[int]:
        """The ids of pictures, earlier turns and a new question, ready for the model to answer."""
        return self.prefix(images) + self.turns(history)[0] + self.question(question)

    def pack(self, conversations: Sequence[Sequence[Turn]], images: int = 1) -> Tokens:
        """All conversations about the same pictures in one row behind the pictures."""
        prefix = self.prefix(images)
        row = Tokens([*prefix], [IGNORED] * len(prefix), list(range(len(prefix))), [0] * len(prefix))
        for number, turns in enumerate(conversations, start=1):
            row.append(*self.turns(turns), len(prefix), number)
        return row

    def short_rows(
        self, conversations: Sequence[Sequence[Sequence[Turn]]], length: int = 64
    ) -> dict[str, torch.Tensor]:
        """The conversations about each picture in rows of at most `length` tokens (more where one alone is longer).

        ids, labels, positions, segments [r, t] as of `batch`, but without the picture in front; picture [r] is the
        number of the picture that a row is about. Longest first, each conversation goes where it still fits.
        """
        rows: list[Tokens] = []
        pictures: list[int] = []
        for picture, about in enumerate(conversations):
            mine: list[Tokens] = []
            for number, (ids, labels) in enumerate(sorted(map(self.turns, about), key=lambda both: -len(both[0])), 1):
                row = next((row for row in mine if len(row.ids) + len(ids) <= length), None)
                if row is None:
                    mine.append(row := Tokens([], [], [], []))
                row.append(ids, labels, self.tokens_per_image, number)
            rows += mine
            pictures += [picture] * len(mine)
        return self.batch(rows) | {"picture": torch.tensor(pictures)}

    def batch(self, rows: Sequence[Tokens]) -> dict[str, torch.Tensor]:
        """Rows [b] -> ids, labels, positions, segments, each int64 [b, t], padded on the right.

        Padding is a segment of its own (-1), so no word ever looks at it.
        """
        length = max(len(row.ids) for row in rows)
        fill = {"ids": self.pad, "labels": IGNORED, "positions": 0, "segments": -1}
        arrays = {name: np.full((len(rows), length), value, dtype=np.int64) for name, value in fill.items()}
        for i, row in enumerate(rows):
            for name, array in arrays.items():
                values = getattr(row, name)
                array[i, : len(values)] = values
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
