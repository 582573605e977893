"""Exercises of chapter 00: a warm-up with what all later ones need, shapes, shares, and a fair comparison."""

from __future__ import annotations

from collections import Counter

import torch
from einops import rearrange
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Welcome"


def share_of_right_answers(answers: list[str], truths: list[str]) -> float:
    """How many answers equal their truth, as a share of all."""
    return sum(answer == truth for answer, truth in zip(answers, truths, strict=True)) / len(truths)


def _how_many(answers: list[str], truths: list[str]) -> float:
    return sum(answer == truth for answer, truth in zip(answers, truths, strict=True))


def _in_percent(answers: list[str], truths: list[str]) -> float:
    return 100 * share_of_right_answers(answers, truths)


def _anywhere(answers: list[str], truths: list[str]) -> float:
    return sum(answer in truths for answer in answers) / len(truths)


def _each_one(answers: list[str], truths: list[str]) -> list[bool]:
    return [answer == truth for answer, truth in zip(answers, truths, strict=True)]


def _all_or_nothing(answers: list[str], truths: list[str]) -> bool:
    return answers == truths


def _share_of_wrong(answers: list[str], truths: list[str]) -> float:
    return 1 - share_of_right_answers(answers, truths)


def always_guess(truths: list[str]) -> float:
    """The share that one answer to every question gets right, if it is the best one."""
    return Counter(truths).most_common(1)[0][1] / len(truths)


def _evenly(truths: list[str]) -> float:
    return 1 / len(set(truths))


def _first(truths: list[str]) -> float:
    return truths.count(truths[0]) / len(truths)


def _best_answer(truths: list[str]) -> str:
    return Counter(truths).most_common(1)[0][0]


def _count(truths: list[str]) -> int:
    return Counter(truths).most_common(1)[0][1]


def channels_first(pictures: Tensor) -> Tensor:
    """[pictures, height, width, channels] -> [pictures, channels, height, width]."""
    return rearrange(pictures, "b h w c -> b c h w")


def _transposed(pictures: Tensor) -> Tensor:
    return rearrange(pictures, "b h w c -> b c w h")


def _viewed(pictures: Tensor) -> Tensor:
    batch, height, width, channels = pictures.shape
    return pictures.reshape(batch, channels, height, width)


def _batch_moved(pictures: Tensor) -> Tensor:
    return rearrange(pictures, "b h w c -> c b h w")


_TRUTHS = ["cat", "dog", "cat", "cat", "hat"]

EXERCISES = (
    Exercise(
        id="00.1",
        title="How often is it right?",
        difficulty=1,
        minutes=3,
        task="""
            Write `share_of_right_answers(answers, truths)`: two lists of texts, equally long, in; out comes the share
            of answers that equal the truth *at the same place*, a number from 0 to 1.
        """,
        hint="`zip` walks through two lists side by side, and Python counts `True` as 1.",
        help="A share is a count divided by how many there are in all; it is never above 1.",
        solution=share_of_right_answers,
        inputs=lambda: [(["cat", "dog", "dog"], ["cat", "dog", "cat"]), (["cat", "hat"], ["hat", "cat"])],
        mistakes=(
            Mistake(_how_many, "That is how many are right, not which share: divide by the number of questions."),
            Mistake(_in_percent, "That is in percent: a share lies between 0 and 1."),
            Mistake(
                _each_one,
                "That is one verdict for each answer: count the right ones, and divide by how many there are.",
            ),
            Mistake(_all_or_nothing, "That compares the two lists as wholes: compare them place by place, and count."),
            Mistake(_share_of_wrong, "That is the share of wrong answers."),
            Mistake(_anywhere, "An answer counts only if it equals the truth at its own place, not one anywhere."),
        ),
    ),
    Exercise(
        id="00.2",
        title="A guess to beat",
        difficulty=2,
        minutes=5,
        task="""
            A model is right in 75% of all cases. Is that good? It depends on what one gets *without looking*. Write
            `always_guess(truths)`: from the list of true answers, the share that somebody gets right who always gives
            the same answer, and gives the best one for that.
        """,
        hint="Which answer is best if you may give only one? `collections.Counter` knows it.",
        help="It is not one over the number of different answers: they need not be equally frequent.",
        solution=always_guess,
        inputs=lambda: [(_TRUTHS,), (["no", *_TRUTHS],), (["yes", "no", "no"],), (["yes"],)],
        mistakes=(
            Mistake(_evenly, "This holds only if all answers are equally frequent. Take the most frequent one."),
            Mistake(
                _best_answer, "That is the best answer itself. How large is the share of questions that it gets right?"
            ),
            Mistake(_count, "That is how often the best answer is right: divide by the number of all answers."),
            Mistake(_first, "This always gives the first answer, which need not be the most frequent."),
        ),
    ),
    Exercise(
        id="00.3",
        title="Moving axes by name",
        difficulty=2,
        minutes=5,
        task="""
            Files store pictures as `[pictures, height, width, channels]`, PyTorch wants
            `[pictures, channels, height, width]`. Write `channels_first(pictures)` with `rearrange` from einops (it is
            imported), naming every axis.
        """,
        hint='The pattern reads like a sentence: `"b h w c -> ..."`. Which order should be on the right?',
        help="`reshape` and `view` do not move axes: they read the same numbers in a new form, and colours get mixed.",
        solution=channels_first,
        inputs=lambda: [
            (torch.arange(2 * 4 * 4 * 3).reshape(2, 4, 4, 3),),
            (torch.arange(3 * 3 * 3 * 3).reshape(3, 3, 3, 3),),
        ],
        mistakes=(
            Mistake(_transposed, "Height and width have changed places: every picture lies on its side."),
            Mistake(
                _viewed, "The shape is right, the numbers are not where they belong: axes must be moved, not re-read."
            ),
            Mistake(_batch_moved, "The channels must come second: the pictures stay in front."),
        ),
    ),
)
