"""Exercises of chapter 13: does it really see?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Does it really see?"


def interval(right: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    """The middle 95% of the accuracies of resampled sets of pictures."""
    accuracies = right[draws].mean(axis=(1, 2))  # one for each resample
    low, high = np.quantile(accuracies, [0.025, 0.975])
    return float(low), float(high)


def _spread_of_pictures(right: np.ndarray, draws: np.ndarray) -> tuple[float, float]:  # noqa: ARG001 - the mistake
    low, high = np.quantile(right.mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _each_picture_once(right: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile([right[np.unique(draw)].mean() for draw in draws], [0.025, 0.975])
    return float(low), float(high)


def _five_percent_on_each_side(right: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(right[draws].mean(axis=(1, 2)), [0.05, 0.95])
    return float(low), float(high)


def _least_and_most(right: np.ndarray, draws: np.ndarray) -> tuple[float, float]:
    accuracies = right[draws].mean(axis=(1, 2))
    return float(accuracies.min()), float(accuracies.max())


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    """The gap between mean confidence and accuracy of each bin, weighted by how many answers are in it."""
    number = np.minimum((confidence * bins).astype(int), bins - 1)  # a confidence of 1 belongs to the last bin
    error = 0.0
    for one in np.unique(number):
        here = number == one
        error += here.mean() * abs(confidence[here].mean() - right[here].mean())
    return float(error)


def _bins_alike(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(confidence[number == one].mean() - right[number == one].mean()) for one in np.unique(number)]
    return float(np.mean(gaps))


def _one_bin(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:  # noqa: ARG001 - the mistake
    return float(abs(confidence.mean() - right.mean()))


def _signed(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:  # noqa: ARG001 - bins cancel, too
    return float(confidence.mean() - right.mean())


def _certain_ones_lost(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    number = (confidence * bins).astype(int)
    error = 0.0
    for one in range(bins):
        here = number == one
        if here.any():
            error += here.mean() * abs(confidence[here].mean() - right[here].mean())
    return float(error)


def _each_answer_alone(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:  # noqa: ARG001 - the mistake
    return float(np.abs(confidence - right).mean())


def _empty_bins(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    return float("nan") if len(np.unique(number)) < bins else calibration_error(confidence, right, bins)


def attack(image: Tensor, gradient: Tensor, budget: float) -> Tensor:
    """One step of the whole budget in the direction in which the loss rises; stays a picture."""
    return (image + budget * gradient.sign()).clamp(0, 1)


def _as_given(image: Tensor, gradient: Tensor, budget: float) -> Tensor:
    return image - budget * gradient


def _no_sign(image: Tensor, gradient: Tensor, budget: float) -> Tensor:
    return (image + budget * gradient).clamp(0, 1)


def _downhill(image: Tensor, gradient: Tensor, budget: float) -> Tensor:
    return (image - budget * gradient.sign()).clamp(0, 1)


def _leaves_the_picture(image: Tensor, gradient: Tensor, budget: float) -> Tensor:
    return image + budget * gradient.sign()


def _no_sign_and_leaves(image: Tensor, gradient: Tensor, budget: float) -> Tensor:
    return image + budget * gradient


def _no_sign_and_downhill(image: Tensor, gradient: Tensor, budget: float) -> Tensor:
    return (image - budget * gradient).clamp(0, 1)


def _downhill_and_leaves(image: Tensor, gradient: Tensor, budget: float) -> Tensor:
    return image - budget * gradient.sign()


def occlusion(probability: Callable[[Tensor], float], image: Tensor, cell: int) -> Tensor:
    """By how much the probability falls when one cell at a time is painted grey."""
    rows, columns = image.shape[1] // cell, image.shape[2] // cell
    falls = torch.zeros(rows, columns)
    for row in range(rows):
        for column in range(columns):
            covered = image.clone()
            covered[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 0.5
            falls[row, column] = probability(image) - probability(covered)
    return falls


def _what_is_left(probability: Callable[[Tensor], float], image: Tensor, cell: int) -> Tensor:
    return probability(image) - occlusion(probability, image, cell)


def _never_uncovered(probability: Callable[[Tensor], float], image: Tensor, cell: int) -> Tensor:
    rows, columns = image.shape[1] // cell, image.shape[2] // cell
    falls, covered = torch.zeros(rows, columns), image.clone()
    for row in range(rows):
        for column in range(columns):
            covered[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 0.5
            falls[row, column] = probability(image) - probability(covered)
    return falls


def _rises(probability: Callable[[Tensor], float], image: Tensor, cell: int) -> Tensor:
    return -occlusion(probability, image, cell)


def _black(probability: Callable[[Tensor], float], image: Tensor, cell: int) -> Tensor:
    rows, columns = image.shape[1] // cell, image.shape[2] // cell
    falls = torch.zeros(rows, columns)
    for row in range(rows):
        for column in range(columns):
            covered = image.clone()
            covered[:, row * cell : (row + 1) * cell, column * cell : (column + 1) * cell] = 0
            falls[row, column] = probability(image) - probability(covered)
    return falls


def _all_but_the_cell(probability: Callable[[Tensor], float], image: Tensor, cell: int) -> Tensor:
    rows, columns = image.shape[1] // cell, image.shape[2] // cell
    falls = torch.zeros(rows, columns)
    for row in range(rows):
        for column in range(columns):
            covered = torch.full_like(image, 0.5)
            place = (slice(None), slice(row * cell, (row + 1) * cell), slice(column * cell, (column + 1) * cell))
            covered[place] = image[place]
            falls[row, column] = probability(image) - probability(covered)
    return falls


def _turned(probability: Callable[[Tensor], float], image: Tensor, cell: int) -> Tensor:
    return occlusion(probability, image, cell).T


def _resamples() -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    trials = []
    for pictures, questions in ((12, 5), (30, 3)):
        share = rng.uniform(0.2, 1, size=(pictures, 1))
        right = rng.random((pictures, questions)) < share
        trials.append((right, rng.integers(0, pictures, size=(400, pictures))))
    return trials


def _answers() -> list[tuple[np.ndarray, np.ndarray, int]]:
    rng = np.random.default_rng(1)
    over, under = rng.uniform(0.5, 1, 200), rng.uniform(0, 0.5, 60)
    confidence = np.concatenate([over, under, [1.0, 1.0, 1.0, 1.0]])
    truth = np.concatenate([over - 0.2, under + 0.3, [0.4] * 4])
    right = rng.random(len(truth)) < truth
    return [(confidence, right, 10), (confidence, right, 4), (np.array([0.1, 0.3, 0.9]), np.array([1, 1, 0]) > 0, 5)]


def _steps() -> list[tuple[Tensor, Tensor, float]]:
    draw = torch.Generator().manual_seed(0)
    image, gradient = torch.rand(3, 4, 6, generator=draw), torch.randn(3, 4, 6, generator=draw)
    image[:, 0, 0], image[:, 0, 1] = 0.01, 0.99
    return [(image, gradient, 0.05), (image, 0.001 * gradient, 0.1)]


def _probabilities() -> list[tuple[Callable[[Tensor], float], Tensor, int]]:
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(3, 8, 12, generator=draw)
    weights = 0.1 * torch.randn(3, 8, 12, generator=draw)  # small: where the sigmoid is flat, every map is zero

    def probability(image: Tensor) -> float:
        return float((weights * image).sum().sigmoid())

    return [(probability, image, 4), (probability, image, 2)]


EXERCISES = (
    Exercise(
        id="13.1",
        title="Who looks?",
        difficulty=1,
        minutes=3,
        task="""
            Three models answer the same questions. Beside their accuracy stands what they reach with an empty picture
            (blind), and with the picture of another scene (shuffled). The best text-only guesser reaches 0.50.

            | model | accuracy | blind | shuffled |
            |---|---|---|---|
            | `"a"` | 0.95 | 0.94 | 0.94 |
            | `"b"` | 0.70 | 0.15 | 0.48 |
            | `"c"` | 0.80 | 0.20 | 0.79 |

            Whose answers rest most on what is *in* the picture?
        """,
        hint="A model that uses the content of the picture is misled by another picture.",
        help="An empty picture is a strange one, and a model may stumble over it without ever using what is in a "
        "picture. Which baseline shows pictures that are not strange?",
        solution="b",
        mistakes=(
            Mistake(
                "a",
                "The highest accuracy, and it stays when the picture is taken away: these questions give their answers"
                " away, and this model has learned how. Look at what it *loses* without the picture.",
            ),
            Mistake(
                "c",
                "It falls on empty pictures only because they are strange to it: with the picture of *another* scene it"
                " answers just as well. Whatever it uses, it is not what is in the picture.",
            ),
        ),
    ),
    Exercise(
        id="13.2",
        title="Bootstrap by pictures",
        difficulty=2,
        minutes=8,
        task="""
            `right` is a NumPy array of booleans `[pictures, questions]`: which answers about which picture are right.
            `draws` `[samples, pictures]` holds resamples: each row names as many pictures as there are, drawn with
            replacement. Write `interval(right, draws)`: the ends `(low, high)` of the 95% bootstrap interval of the
            accuracy, by the percentile method. (`numpy` is imported as `np`.)
        """,
        hint="First one number for each row of `draws`: the accuracy on those pictures, with repeats. Then quantiles.",
        help="Indexing `right` with an array of numbers picks rows, as often as they are named. 95% in the middle leave"
        " 2.5% on each side.",
        solution=interval,
        inputs=_resamples,
        mistakes=(
            Mistake(
                _spread_of_pictures,
                "That is how far single *pictures* lie apart. The question is how far the *accuracy over all pictures*"
                " would move with other pictures: `draws` is there to try that out.",
            ),
            Mistake(
                _each_picture_once,
                "A picture that was drawn twice counts once here. With replacement means that it counts twice: that is"
                " where the spread of a resample comes from.",
            ),
            Mistake(
                _five_percent_on_each_side,
                "5% are cut off on each side, which leaves 90%. For 95% in the middle, cut off half of what remains.",
            ),
            Mistake(
                _least_and_most,
                "These are the lowest and the highest of all resamples: they move apart with every resample you add."
                " Take quantiles.",
            ),
        ),
    ),
    Exercise(
        id="13.3",
        title="Calibration error",
        difficulty=3,
        minutes=10,
        task="""
            Write `calibration_error(confidence, right, bins)`, the expected calibration error: `confidence` is a NumPy
            array `[n]` of numbers from 0 to 1 (both can occur), `right` a boolean array `[n]`, `bins` the number of
            equally wide bins. Give back one number.
        """,
        hint="For each bin that is not empty: share of the answers in it, times the gap between its mean confidence and"
        " its accuracy.",
        help="Which bin has a confidence of exactly 1? And must a bin with two answers weigh as much as one with 200?",
        solution=calibration_error,
        inputs=_answers,
        mistakes=(
            Mistake(
                _bins_alike,
                "Every bin weighs the same here, a bin with two answers as much as one with two hundred: weight each"
                " gap by the share of the answers in its bin.",
            ),
            Mistake(
                _one_bin,
                "That is one bin for everything: where confidence is too high in one place and too low in another, the"
                " two cancel. Take the gap inside each bin, then its size.",
            ),
            Mistake(
                _signed,
                "The result can be below zero: the gaps keep their signs, so that a bin that is too sure and one that"
                " is too modest cancel. Take the size of each gap before you add.",
            ),
            Mistake(
                _certain_ones_lost,
                "Answers with a confidence of exactly 1 are in no bin here: put them into the last one.",
            ),
            Mistake(
                _empty_bins,
                "Where a bin is empty, your result is no number: the mean of nothing is not defined. Leave empty bins"
                " out.",
            ),
            Mistake(
                _each_answer_alone,
                "A single answer is right or wrong, so its distance from its confidence is never small, not even for a"
                " perfectly honest model. Compare *means* over the answers of a bin.",
            ),
        ),
    ),
    Exercise(
        id="13.4",
        title="Repair an attack",
        difficulty=2,
        minutes=7,
        task="""
            `image` `[3, h, w]` lies in 0..1, `gradient` `[3, h, w]` says how the loss of the *right* answer changes
            with each of its numbers, `budget` is the largest change allowed. `attack` should give back the picture
            after one step of the fast gradient sign method: a picture, in 0..1, on which the loss is higher. This one
            has **three** faults. Repair it.

            ```py
            def attack(image, gradient, budget):
                return image - budget * gradient
            ```
        """,
        hint="The loss of the right answer is to rise. How far does each number move, if the budget is to be used up?",
        help="Print the least and the largest number of the result, and of result minus picture. What should they be?",
        solution=attack,
        inputs=_steps,
        mistakes=(
            Mistake(_as_given, "All three faults are still there. Which way does this step go, and how far?"),
            Mistake(
                _no_sign,
                "The step is as long as the gradient: far too short where that is small, and over the budget where it"
                " is large. Only its direction is wanted, up or down, in each number.",
            ),
            Mistake(
                _downhill,
                "This goes downhill: the loss of the right answer falls, and the model becomes *more* sure of it.",
            ),
            Mistake(
                _leaves_the_picture,
                "The step is right, but some numbers have left 0..1: that is no picture any more.",
            ),
            Mistake(
                _no_sign_and_leaves,
                "One fault mended: it goes uphill now. But each number should move by the whole budget, whatever the"
                " size of the gradient, and the result must still be a picture.",
            ),
            Mistake(
                _no_sign_and_downhill,
                "One fault mended: the result stays a picture. But which way does the loss go now, and does each number"
                " move by the whole budget?",
            ),
            Mistake(
                _downhill_and_leaves,
                "One fault mended: the step has the right length. But which way does the loss go now, and is every"
                " number of the result a shade of a picture?",
            ),
        ),
    ),
    Exercise(
        id="13.5",
        title="An occlusion map of your own",
        difficulty=3,
        minutes=12,
        task="""
            `probability` is a function: picture `[3, h, w]` to a number. Write `occlusion(probability, image, cell)`:
            cut the picture into cells of `cell` times `cell` pixels (they fit), paint one at a time grey (0.5 in all
            three channels), and give back a tensor `[h / cell, w / cell]`: by how much the probability *falls* for
            each. The picture need not be square, and is to stay as it was. (`torch` is imported.)
        """,
        hint="Two loops and a fresh copy of the picture for every cell.",
        help="Rows of the map go down the picture (its axis 1), columns across (its axis 2). Cover one cell and"
        " look at the picture before you go on.",
        solution=occlusion,
        inputs=_probabilities,
        mistakes=(
            Mistake(
                _what_is_left,
                "These are the probabilities that are left. Asked is by how much they *fall*, against the picture with"
                " nothing covered.",
            ),
            Mistake(
                _never_uncovered,
                "The first cell is right; from then on ever more of the picture is covered. Every cell needs a fresh"
                " copy of the picture.",
            ),
            Mistake(
                _rises,
                "The signs are turned round: the map should be above zero where covering makes the probability *fall*.",
            ),
            Mistake(_black, "The cells are painted black (0), not grey (0.5): black may look like a thing of its own."),
            Mistake(
                _all_but_the_cell,
                "Here everything *but* the cell is covered. That is an interesting map too, but not this one.",
            ),
            Mistake(
                _turned,
                "The numbers are right and the map lies on its side: its first axis must go down the picture.",
            ),
        ),
    ),
)
