"""Exercises of chapter 12: training."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Training"


def answer_labels(ids: Tensor, assistant: int, end: int) -> Tensor:
    """The labels of a conversation [t]: the ids of all answers with their ends, -100 everywhere else."""
    labels, answering = torch.full_like(ids, -100), False
    for t, token in enumerate(ids.tolist()):
        if answering:
            labels[t] = token
        if token == assistant:
            answering = True
        if token == end:
            answering = False
    return labels


def _with_assistant(ids: Tensor, assistant: int, end: int) -> Tensor:
    labels = answer_labels(ids, assistant, end)
    return torch.where(ids == assistant, ids, labels)


def _without_end(ids: Tensor, assistant: int, end: int) -> Tensor:
    labels = answer_labels(ids, assistant, end)
    return torch.where(ids == end, -100, labels)


def _first_answer_only(ids: Tensor, assistant: int, end: int) -> Tensor:
    first_end = ids.tolist().index(end)
    return torch.where(torch.arange(len(ids)) <= first_end, answer_labels(ids, assistant, end), -100)


def _all_after_the_first(ids: Tensor, assistant: int, end: int) -> Tensor:  # noqa: ARG001 - that is the mistake
    return torch.where(torch.arange(len(ids)) > ids.tolist().index(assistant), ids, -100)


def _shifted(ids: Tensor, assistant: int, end: int) -> Tensor:
    labels = answer_labels(ids, assistant, end)
    return torch.cat([labels[1:], torch.tensor([-100])])


def cosine_rate(step: int, steps: int, warmup: int, floor: float) -> float:
    """The share of the full rate at a step: a linear warm-up, then half a cosine from 1 down to the floor."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    return floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2


def _starts_at_zero(step: int, steps: int, warmup: int, floor: float) -> float:
    return step / warmup if step < warmup else cosine_rate(step, steps, warmup, floor)


def _warmup_counted_twice(step: int, steps: int, warmup: int, floor: float) -> float:
    if step < warmup:
        return (step + 1) / warmup
    return floor + (1 - floor) * (1 + math.cos(math.pi * step / steps)) / 2


def _no_floor(step: int, steps: int, warmup: int, floor: float) -> float:  # noqa: ARG001 - that is the mistake
    return cosine_rate(step, steps, warmup, 0.0)


def _floor_cut_off(step: int, steps: int, warmup: int, floor: float) -> float:
    return max(floor, cosine_rate(step, steps, warmup, 0.0))


def _whole_wave(step: int, steps: int, warmup: int, floor: float) -> float:
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / (steps - warmup)
    return floor + (1 - floor) * math.cos(math.pi * done)


def accumulated_gradient(weight: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The gradient [d] of the mean squared error over all examples of a batch that is cut into parts."""
    weight = weight.clone().requires_grad_()
    weight.grad = torch.zeros_like(weight)
    total = sum(len(y) for _, y in parts)
    for x, y in parts:
        loss = ((x @ weight - y) ** 2).sum() / total
        loss.backward()  # adds to weight.grad
    return weight.grad


def _gradient(weight: Tensor, parts: list[tuple[Tensor, Tensor]], shares: list[float]) -> Tensor:
    weight = weight.clone().requires_grad_()
    losses = torch.stack([((x @ weight - y) ** 2).mean() for x, y in parts])
    (gradient,) = torch.autograd.grad(losses @ torch.tensor(shares), [weight])
    return gradient


def _mean_of_means(weight: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    return _gradient(weight, parts, [1 / len(parts)] * len(parts))


def _sum_of_means(weight: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    return _gradient(weight, parts, [1.0] * len(parts))


def _last_part_only(weight: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    total = sum(len(y) for _, y in parts)
    return _gradient(weight, parts[-1:], [len(parts[-1][1]) / total])


def _sum_of_sums(weight: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    return _gradient(weight, parts, [float(len(y)) for _, y in parts])


def _as_given(weight: Tensor, parts: list[tuple[Tensor, Tensor]]) -> Tensor:
    return _gradient(weight, parts[-1:], [1 / len(parts)])


def orthogonalise(update: Tensor, rounds: int) -> Tensor:
    """An update [rows, columns] with its directions kept and all its stretches brought near 1."""
    x = update / update.norm()
    for _ in range(rounds):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x


def _rounds(x: Tensor, rounds: int, b: float = -4.7750, c: float = 2.0315) -> Tensor:
    for _ in range(rounds):
        gram = x @ x.T
        x = 3.4445 * x + (b * gram + c * gram @ gram) @ x
    return x


def _not_scaled(update: Tensor, rounds: int) -> Tensor:
    return _rounds(update, rounds)


def _scaled_by_largest(update: Tensor, rounds: int) -> Tensor:
    return _rounds(update / update.abs().max(), rounds)


def _elementwise_square(update: Tensor, rounds: int) -> Tensor:
    x = update / update.norm()
    for _ in range(rounds):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram**2) @ x
    return x


def _two_terms(update: Tensor, rounds: int) -> Tensor:
    return _rounds(update / update.norm(), rounds, c=0.0)


def _conversations() -> list[tuple[Tensor, int, int]]:
    return [
        (torch.tensor([7, 11, 12, 8, 21, 9, 7, 13, 8, 22, 23, 9]), 8, 9),
        (torch.tensor([1, 5, 2, 6, 6, 3]), 2, 3),
        (torch.tensor([7, 11, 8, 9, 7, 12, 8, 30, 9]), 8, 9),  # the first answer is empty but for its end
    ]


def _batches() -> list[tuple[Tensor, list[tuple[Tensor, Tensor]]]]:
    def part(size: int) -> tuple[Tensor, Tensor]:
        return torch.randn(size, 3), torch.randn(size)

    return [(torch.randn(3), [part(n) for n in sizes]) for sizes in ((1, 1, 6), (4, 2), (3, 3, 3))]


def _updates() -> list[tuple[Tensor, int]]:
    return [(torch.randn(4, 6), 5), (3 * torch.randn(5, 3), 5), (0.02 * torch.randn(3, 3), 1)]


EXERCISES = (
    Exercise(
        id="12.1",
        title="The loud answer",
        difficulty=1,
        minutes=4,
        task="""
            A batch holds 12 answers, cut into four parts with 1, 1, 1 and 9 answers. Somebody takes the mean loss of
            each part and then the mean of the four means. The answer that is alone in the first part then counts *how
            many times* as much as it does in the mean over all 12 answers? Give a number.
        """,
        hint="Write down the factor in front of that answer's loss, once in each of the two ways.",
        help="Mean of means: a part counts a quarter. Right mean: an answer counts a twelfth.",
        solution=3,
        mistakes=(
            Mistake(0.25, "That is its weight in the mean of means. How does it compare with its rightful weight?"),
            Mistake(1 / 3, "Turned around: which of the two weights of this answer is the *larger* one?"),
            Mistake(
                9,
                "That compares it with an answer of the *last* part. The question compares it with what it should"
                " count, one of 12.",
            ),
            Mistake(
                12, "A twelfth is its rightful weight; in the mean of means its part counts only a quarter, not 1."
            ),
        ),
    ),
    Exercise(
        id="12.2",
        title="Who is to blame",
        difficulty=2,
        minutes=10,
        task="""
            Write `answer_labels(ids, assistant, end)`: `ids` is an integer tensor `[t]` that holds one or more turns,
            each `<user> question <assistant> answer <end>`; `assistant` and `end` are the ids of these two special
            tokens. Give back the labels `[t]`: the id itself for every token that the assistant has to write, -100
            for all others. Not shifted: the label of a token is about that token.
        """,
        hint="Go through the tokens and remember whether an answer is being given.",
        help="Is `<assistant>` written by the model, or given to it? And who says that the answer is over?",
        solution=answer_labels,
        inputs=_conversations,
        mistakes=(
            Mistake(
                _with_assistant,
                "`<assistant>` has a label, but it stands in the prompt: it *asks* the model to speak, the model never"
                " writes it.",
            ),
            Mistake(
                _without_end,
                "The ends have no label. Then nobody teaches the model to stop: it would talk on after every answer.",
            ),
            Mistake(_first_answer_only, "The first answer is right, the later turns are left out."),
            Mistake(
                _all_after_the_first,
                "From the first answer on everything counts, the next question too. Where does an answer end?",
            ),
            Mistake(
                _shifted,
                "Right tokens, one place too early: these are shifted. Here the label of a token is about that token"
                " itself; the loss does the shift.",
            ),
        ),
    ),
    Exercise(
        id="12.3",
        title="Half a cosine",
        difficulty=2,
        minutes=10,
        task="""
            Many models cool down along a cosine. Write `cosine_rate(step, steps, warmup, floor)`: the share of the
            full rate at a step (0, 1, ..., `steps` - 1). While `step` is below `warmup` it is `(step + 1) / warmup`.
            From step `warmup` on it follows half a cosine, from 1 (at `step == warmup`) down to `floor` (which it
            would reach at `step == steps`). (`import math`.)
        """,
        hint="How far is the cool-down: 0 at its start, 1 at the end? Half a cosine is (1 + cos(pi x)) / 2.",
        help="The half cosine goes from 1 to 0. To go from 1 to the floor, squeeze it into the room above the floor.",
        solution=cosine_rate,
        inputs=lambda: [
            (0, 100, 10, 0.1),
            (9, 100, 10, 0.1),
            (10, 100, 10, 0.1),
            (55, 100, 10, 0.1),
            (99, 100, 10, 0.1),
        ],
        mistakes=(
            Mistake(
                _starts_at_zero, "The first step has rate 0: its batch is computed for nothing. Compare with the task."
            ),
            Mistake(
                _warmup_counted_twice,
                "After the warm-up it does not start from 1: the cosine has been running since step 0. How many of the"
                " *remaining* steps are done?",
            ),
            Mistake(
                _whole_wave,
                "A cosine goes from 1 down to -1, so this falls below the floor. Lift and squeeze it to 1 ... 0 first.",
            ),
            Mistake(_no_floor, "It falls to 0 and not to the floor."),
            Mistake(
                _floor_cut_off,
                "The floor is cut off flat at the end. The cosine itself should glide to it, so its middle must lie"
                " higher too.",
            ),
        ),
    ),
    Exercise(
        id="12.4",
        title="Repair the accumulation",
        difficulty=3,
        minutes=12,
        task="""
            `weight` `[d]`; `parts` is a list of pairs `(x, y)` with shapes `[n, d]` and `[n]`, where `n` may differ
            from part to part. The function should give the gradient `[d]` of the **mean** squared error over *all*
            examples of all parts, while it holds only one part in memory at a time. It runs, and has **two** faults.
            Copy it and repair it.

            ```py
            def accumulated_gradient(weight, parts):
                weight = weight.clone().requires_grad_()
                for x, y in parts:
                    weight.grad = None
                    loss = ((x @ weight - y) ** 2).mean() / len(parts)
                    loss.backward()
                return weight.grad
            ```
        """,
        hint="Which line throws work away? And by what must a *sum* over a part be divided?",
        help="`backward` adds to `weight.grad`: that is the whole trick. Count the examples of all parts first.",
        solution=accumulated_gradient,
        inputs=_batches,
        mistakes=(
            Mistake(
                _as_given,
                "Both faults are still there. Try parts of one size first: what is the result the gradient of?",
            ),
            Mistake(
                _mean_of_means,
                "Right where all parts are equally long. Otherwise this is the mean of means: an example in a short"
                " part counts too much.",
            ),
            Mistake(
                _last_part_only,
                "The division is right, but only the last part is in the result: the gradients of the others were"
                " thrown away.",
            ),
            Mistake(
                _sum_of_sums,
                "All parts are in it, but this is the gradient of the *sum* over all examples. What makes it a mean?",
            ),
            Mistake(_sum_of_means, "The means of the parts are added up: the more parts, the longer the gradient."),
        ),
    ),
    Exercise(
        id="12.5",
        title="All directions alike",
        difficulty=4,
        minutes=15,
        task="""
            Write `orthogonalise(update, rounds)` in PyTorch: `update` `[rows, columns]` is divided by its Frobenius
            norm (the root of the sum of all squares), then the Newton-Schulz iteration of section 4 runs for `rounds`
            rounds. Gives back `[rows, columns]`. The coefficients are 3.4445, -4.7750 and 2.0315.
        """,
        hint="One round: the Gram matrix A of the rows, then a X + (b A + c A A) X.",
        help="All products are matrix products, `A A` too. Print the singular values after each round: they must stay"
        " below about 1.2.",
        solution=orthogonalise,
        inputs=_updates,
        mistakes=(
            Mistake(
                _not_scaled,
                "The update is not scaled first. The iteration keeps singular values between 0 and 1 in hand; larger"
                " ones run away.",
            ),
            Mistake(
                _scaled_by_largest,
                "Scaled by the largest entry: a matrix of small entries can still have a singular value above 1. The"
                " Frobenius norm never lets one through.",
            ),
            Mistake(_elementwise_square, "`gram` is squared entry by entry: `A A` is a matrix product."),
            Mistake(_two_terms, "The term with c is missing. Without it large singular values are overshot downwards."),
        ),
    ),
)
