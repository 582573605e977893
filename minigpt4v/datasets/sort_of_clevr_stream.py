"""Sort-of-CLEVR as conversations, for training and for scoring a GPT4V (see `training.Stream`).

Pictures of 75 pixels get a white margin, 2 on the left and the top and 3 on the right and the bottom. The middle of
the margin is then x = 37.5, the very line that "on the left" is about: flips and quarter turns of the padded picture
are exact, and so is what they do to questions and answers.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from einops import rearrange
from numpy.typing import NDArray

from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder, Turn
from minigpt4v.datasets.sort_of_clevr import (
    ANSWERS,
    COLOURS,
    KINDS,
    SUBTYPES,
    Picture,
    Question,
    answer,
    draw_indices,
    palette,
)
from minigpt4v.datasets.streams import pack_batch, share

PADDED_SIZE = 80
ASKED_KINDS = KINDS[:2]  # published results are about these two
_MARGIN = (2, 3)
_LEFT, _UP = (SUBTYPES["non-relational"].index(name) for name in ("left", "up"))
_OPPOSITE = {ANSWERS.index("yes"): ANSWERS.index("no"), ANSWERS.index("no"): ANSWERS.index("yes")}
_MIXED_COLOURS_SHARE = 0.5  # of the augmented pictures

Asked = tuple[Question, int]
"""A question and its answer, an index into `ANSWERS`."""


def all_sentences() -> list[str]:
    """Every question and answer that can occur, for a tokenizer to learn from."""
    questions = [
        Question(kind, subtype, colour)
        for kind in ASKED_KINDS
        for subtype in range(3)
        for colour in range(len(COLOURS))
    ]
    return [*map(str, questions), *ANSWERS]


def asked_about(picture: Picture, labels: str) -> tuple[Asked, ...]:
    """The relational and non-relational questions about a picture, each once, with their answers."""
    questions = dict.fromkeys(question for kind in ASKED_KINDS for question in picture.asked(kind))
    return tuple((question, answer(picture.things, question, labels)) for question in questions)


def pad(indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colour indices [75, 75] of `draw_indices` -> [80, 80], with a margin of ground."""
    return np.pad(indices, _MARGIN)


def as_images(indices: NDArray[np.uint8], device: str | torch.device = "cpu") -> torch.Tensor:
    """Colour indices [b, 80, 80] -> pictures [b, 3, 80, 80] in 0..1."""
    colours = torch.from_numpy(palette()).to(device)[torch.from_numpy(indices).to(device).long()]
    return rearrange(colours, "b y x c -> b c y x").float() / 255


# -- augmentation that keeps labels right ---------------------------------------------------------------------------


def mirror(indices: NDArray[np.uint8], asked: Iterable[Asked]) -> tuple[NDArray[np.uint8], tuple[Asked, ...]]:
    """Left becomes right: whether something is on the left has the opposite answer, the rest stays."""
    turned = tuple((q, _OPPOSITE[a]) if _is_about(q, _LEFT) else (q, a) for q, a in asked)
    return np.ascontiguousarray(indices[:, ::-1]), turned


def transpose(indices: NDArray[np.uint8], asked: Iterable[Asked]) -> tuple[NDArray[np.uint8], tuple[Asked, ...]]:
    """x becomes y: "on the left?" becomes "at the top?" and the other way round."""
    swapped = {_LEFT: _UP, _UP: _LEFT}
    turned = tuple(
        (replace(q, subtype=swapped[q.subtype]), a) if _is_about(q, _LEFT, _UP) else (q, a) for q, a in asked
    )
    return np.ascontiguousarray(indices.T), turned


def recolour(
    indices: NDArray[np.uint8], asked: Iterable[Asked], colours: Sequence[int]
) -> tuple[NDArray[np.uint8], tuple[Asked, ...]]:
    """Colour i becomes colours[i], in the picture and in the questions alike.

    Two things at exactly the same distance (0.2% of the questions for the closest) are told apart by the order of
    the colours, which this changes.
    """
    table = np.array([0, *(colour + 1 for colour in colours)], np.uint8)
    return table[indices], tuple((replace(q, colour=colours[q.colour]), a) for q, a in asked)


def _is_about(question: Question, *subtypes: int) -> bool:
    return question.kind == "non-relational" and question.subtype in subtypes


# -- batches --------------------------------------------------------------------------------------------------------


class SortOfClevrStream:
    """Training batches: pictures drawn from the training set, augmented, each with its own questions behind it."""

    def __init__(
        self,
        pictures: Sequence[Picture],
        encoder: ConversationEncoder,
        batch_size: int,
        seed: int,
        device: str | torch.device = "cpu",
        labels: str = "fixed",
    ):
        self.encoder, self.batch_size, self.seed, self.device = encoder, batch_size, seed, torch.device(device)
        self.indices = [pad(draw_indices(picture.things)) for picture in pictures]
        self.asked = [asked_about(picture, labels) for picture in pictures]

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, torch.Tensor | int]:
        """ids, labels, positions, segments [b, t], images [b, 3, 80, 80], count = the number of answers."""
        rows = self.rows(step, part, parts)
        return make_batch([row[0] for row in rows], [row[1] for row in rows], self.encoder, self.device)

    def rows(self, step: int, part: int = 0, parts: int = 1) -> list[tuple[NDArray[np.uint8], tuple[Asked, ...]]]:
        """The augmented pictures of a part of a batch, as padded colour indices, each with what is asked about it."""
        return [self._row(step, number) for number in share(self.batch_size, part, parts)]

    def _row(self, step: int, number: int) -> tuple[NDArray[np.uint8], tuple[Asked, ...]]:
        """One augmented picture and its questions. Every picture comes once before any comes again."""
        place, chance = step * self.batch_size + number, random.Random(f"sort-of-clevr/{self.seed}/{step}/{number}")
        epoch, place = divmod(place, len(self.indices))
        picture = _shuffled(len(self.indices), self.seed, epoch)[place]
        indices, asked = self.indices[picture], self.asked[picture]
        for _ in range(chance.randrange(4)):  # quarter turns
            indices, asked = mirror(*transpose(indices, asked))
        if chance.random() < 0.5:
            indices, asked = mirror(indices, asked)
        if chance.random() < _MIXED_COLOURS_SHARE:
            indices, asked = recolour(indices, asked, chance.sample(range(len(COLOURS)), len(COLOURS)))
        return indices, asked


class SingleThingStream:
    """The same pictures with only their non-relational questions, as numbers: what an encoder can learn by itself.

    A batch holds the pictures of `joined` batches of the other stream.
    """

    def __init__(self, stream: SortOfClevrStream, joined: int = 2):
        self.stream, self.joined = stream, joined

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict[str, torch.Tensor | int]:
        """images [b, 3, 80, 80]; labels [b, 6 colours, 3 subtypes]: answers, or `IGNORED` where nothing was asked."""
        steps = range(self.joined * step, self.joined * (step + 1))
        rows = [row for each in steps for row in self.stream.rows(each, part, parts)]
        labels = torch.full((len(rows), len(COLOURS), len(SUBTYPES["non-relational"])), IGNORED)
        for number, (_, asked) in enumerate(rows):
            for question, told in asked:
                if question.kind == "non-relational":
                    labels[number, question.colour, question.subtype] = told
        images = as_images(np.stack([indices for indices, _ in rows]), self.stream.device)
        return {"images": images, "labels": labels.to(images.device), "count": int((labels != IGNORED).sum())}


@lru_cache(maxsize=2)
def _shuffled(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    return tuple(random.Random(f"sort-of-clevr/{seed}/{epoch}").sample(range(count), count))


def make_batch(
    indices: Sequence[NDArray[np.uint8]],
    asked: Sequence[Sequence[Asked]],
    encoder: ConversationEncoder,
    device: torch.device,
) -> dict[str, torch.Tensor | int]:
    """Padded colour indices [80, 80] of each picture, and what is asked about it: a batch."""
    conversations = [
        [(Turn(str(question), ANSWERS[a], family=question.kind),) for question, a in about] for about in asked
    ]
    return pack_batch(conversations, encoder, device) | {"images": as_images(np.stack(indices), device)}
