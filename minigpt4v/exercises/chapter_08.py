"""Exercises of chapter 08: decoding."""

from __future__ import annotations

import torch
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Decoding"


def soften(logits: Tensor, temperature: float) -> Tensor:
    """Probabilities [v] for logits [v]; a temperature of 0 gives everything to the likeliest token."""
    if temperature == 0:
        probabilities = torch.zeros_like(logits)
        probabilities[logits.argmax()] = 1.0
        return probabilities
    return (logits / temperature).softmax(dim=-1)


def _multiplied(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).float()
    return (logits * temperature).softmax(dim=-1)


def _probabilities_divided(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).float()
    divided = logits.softmax(dim=-1) / temperature
    return divided / divided.sum()


def _divided_by_zero(logits: Tensor, temperature: float) -> Tensor:
    return (logits / temperature).softmax(dim=-1)


def _no_softmax(logits: Tensor, temperature: float) -> Tensor:
    if temperature == 0:
        return torch.nn.functional.one_hot(logits.argmax(), len(logits)).float()
    return logits / temperature


def nucleus(probabilities: Tensor, p: float) -> Tensor:
    """The probabilities [v] of the nucleus, scaled to sum to 1, and 0 elsewhere."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(dim=0) - ordered  # what the likelier tokens hold together
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(before < p, ordered, 0.0)
    return kept / kept.sum()


def _without_the_last(probabilities: Tensor, p: float) -> Tensor:
    ordered, order = probabilities.sort(descending=True)
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(ordered.cumsum(dim=0) <= p, ordered, 0.0)
    return kept / kept.sum()


def _sorted(probabilities: Tensor, p: float) -> Tensor:
    ordered = probabilities.sort(descending=True).values
    kept = torch.where(ordered.cumsum(dim=0) - ordered < p, ordered, 0.0)
    return kept / kept.sum()


def _not_scaled(probabilities: Tensor, p: float) -> Tensor:
    ordered, order = probabilities.sort(descending=True)
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(ordered.cumsum(dim=0) - ordered < p, ordered, 0.0)
    return kept


def _as_found(probabilities: Tensor, p: float) -> Tensor:
    ordered = probabilities.sort(descending=True).values
    return torch.where(ordered.cumsum(dim=0) <= p, ordered, 0.0)


def _first_saved(probabilities: Tensor, p: float) -> Tensor:
    ordered, order = probabilities.sort(descending=True)
    inside = ordered.cumsum(dim=0) <= p
    inside[0] = True
    kept = torch.zeros_like(probabilities)
    kept[order] = torch.where(inside, ordered, 0.0)
    return kept / kept.sum()


def _order_read_backwards(probabilities: Tensor, p: float) -> Tensor:
    ordered, order = probabilities.sort(descending=True)
    kept = torch.where(ordered.cumsum(dim=0) - ordered < p, ordered, 0.0)[order]
    return kept / kept.sum()


def min_p(probabilities: Tensor, share: float) -> Tensor:
    """Keep tokens [v] with at least `share` of the likeliest token's probability; the result sums to 1."""
    kept = torch.where(probabilities >= share * probabilities.max(), probabilities, 0.0)
    return kept / kept.sum()


def _absolute(probabilities: Tensor, share: float) -> Tensor:
    kept = torch.where(probabilities >= share, probabilities, 0.0)
    return kept / kept.sum()


def _min_p_not_scaled(probabilities: Tensor, share: float) -> Tensor:
    return torch.where(probabilities >= share * probabilities.max(), probabilities, 0.0)


def _difference(probabilities: Tensor, share: float) -> Tensor:
    kept = torch.where(probabilities >= probabilities.max() - share, probabilities, 0.0)
    return kept / kept.sum()


def beam_step(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, Tensor, Tensor]:
    """The best continuations: which text goes on [beams], with which token [beams], and their scores [beams]."""
    continued = scores[:, None] + log_probabilities  # [n, v]
    best = continued.flatten().topk(beams)
    vocabulary = log_probabilities.shape[1]
    return best.indices // vocabulary, best.indices % vocabulary, best.values


def _forgets_the_past(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, Tensor, Tensor]:
    best = (0 * scores[:, None] + log_probabilities).flatten().topk(beams)
    vocabulary = log_probabilities.shape[1]
    return best.indices // vocabulary, best.indices % vocabulary, best.values


def _one_child_each(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, Tensor, Tensor]:
    values, tokens = (scores[:, None] + log_probabilities).max(dim=1)
    best = values.topk(min(beams, len(values)))
    return best.indices, tokens[best.indices], best.values


def _swapped(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, Tensor, Tensor]:
    best = (scores[:, None] + log_probabilities).flatten().topk(beams)
    vocabulary = log_probabilities.shape[1]
    return best.indices % vocabulary, best.indices // vocabulary, best.values


def _rows_counted(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, Tensor, Tensor]:
    best = (scores[:, None] + log_probabilities).flatten().topk(beams)
    return best.indices // len(scores), best.indices % len(scores), best.values


def _multiplies(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, Tensor, Tensor]:
    best = (scores[:, None] * log_probabilities).flatten().topk(beams)
    vocabulary = log_probabilities.shape[1]
    return best.indices // vocabulary, best.indices % vocabulary, best.values


def _distributions() -> list[tuple[Tensor, float]]:
    uneven = torch.tensor([0.1, 0.45, 0.05, 0.3, 0.1])
    peaked = torch.tensor([0.02, 0.95, 0.03])
    return [(uneven, 0.6), (peaked, 0.9), (torch.tensor([0.2, 0.3, 0.26, 0.24]), 0.9)]


def _beams() -> list[tuple[Tensor, Tensor, int]]:
    """In the first trial both survivors grow from the first text; the second has more beams than texts."""
    two = torch.tensor([[0.5, 0.4, 0.1], [0.6, 0.25, 0.15]]).log()
    three = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.35, 0.28, 0.22, 0.15], [0.05, 0.9, 0.03, 0.02]]).log()
    return [
        (torch.tensor([0.7, 0.3]).log(), two, 2),
        (torch.tensor([-0.5]), torch.tensor([[0.5, 0.3, 0.2]]).log(), 2),
        (torch.tensor([0.5, 0.2, 0.3]).log(), three, 3),
    ]


EXERCISES = (
    Exercise(
        id="08.1",
        title="Odds at another temperature",
        difficulty=1,
        minutes=3,
        task="""
            At temperature 1, token A has probability 0.9 and token B has 0.1: A is 9 times as likely as B. At
            temperature 2, how many times as likely as B is A? Predict first; then you may compute.
        """,
        hint="The ratio of two probabilities is $e$ to the difference of their logits. What happens to the difference?",
        help="The logits are halved, so their difference is halved. What happens to $e^{d}$ when $d$ is halved?",
        solution=3.0,
        mistakes=(
            Mistake(4.5, "You halved the ratio. It is the *logits* that are halved; the ratio is e to a difference."),
            Mistake(81.0, "That is what happens at temperature 0.5: it sharpens. Above 1 the odds move towards even."),
            Mistake(18.0, "You doubled the ratio. A temperature above 1 evens out, so the ratio must get smaller."),
            Mistake(
                9.0, "The ratio changes: dividing logits is no common factor that softmax would cancel, as adding is."
            ),
        ),
    ),
    Exercise(
        id="08.2",
        title="Temperature, down to zero",
        difficulty=2,
        minutes=5,
        task="""
            Write `soften(logits, temperature)`: logits `[v]` (a PyTorch tensor) and a temperature of 0 or more in,
            probabilities `[v]` out. A temperature of exactly 0 is the limit: all probability on the likeliest token.
        """,
        hint="Two cases. For the limit, start from zeros and set one entry.",
        help="If you get `nan`: something was divided by zero. Treat that temperature before you divide.",
        solution=soften,
        inputs=lambda: [
            (torch.tensor([2.0, 1.0, 0.0, -1.0]), 0.5),
            (torch.tensor([0.3, -1.2, 4.0]), 3.0),
            (torch.tensor([1.0, 3.0, -2.0]), 0.0),
        ],
        mistakes=(
            Mistake(_multiplied, "Low and high are mixed up: a low temperature must sharpen. Multiply or divide?"),
            Mistake(
                _probabilities_divided,
                "The temperature changes nothing here: dividing *probabilities* is undone when they are scaled to sum "
                "to 1. Which numbers come before the softmax?",
            ),
            Mistake(
                _no_softmax,
                "These are still logits: divided rightly, but nothing yet makes them positive and lets them sum to 1.",
            ),
            Mistake(
                _divided_by_zero, "Right above zero, but at temperature 0 it divides by zero: treat that case first."
            ),
        ),
    ),
    Exercise(
        id="08.3",
        title="Repair a nucleus",
        difficulty=3,
        minutes=10,
        task="""
            This filter was found in an article. It should keep the **nucleus**, the smallest set of tokens whose
            probabilities sum to at least `p`, and give them back scaled to sum to 1. Where the likeliest token
            alone holds more than `p`, it gives nothing but zeros, and it has two more faults.

            ```python
            def nucleus(probabilities, p):
                ordered = probabilities.sort(descending=True).values
                return torch.where(ordered.cumsum(dim=0) <= p, ordered, 0.0)
            ```

            Write `nucleus(probabilities, p)`: `[v]` in, `[v]` out, every token at its own place, 0 for those left out.
        """,
        hint="A token is in the nucleus if the tokens *before* it hold less than p.",
        help="`probabilities.sort` also returns where each token came from: `kept[order] = ...` puts them back.",
        solution=nucleus,
        inputs=_distributions,
        mistakes=(
            Mistake(
                _without_the_last,
                "The token that carries the sum over p is missing: the nucleus must hold *at least* p, so it belongs "
                "to it, and it may be the only one.",
            ),
            Mistake(
                _first_saved,
                "The likeliest token is always kept now, but where one alone is not enough, the token that carries the "
                "sum over p is still missing.",
            ),
            Mistake(
                _as_found,
                "This is the filter as it was found, with its three faults. Take one at a time: which tokens, at which "
                "places, with which sum?",
            ),
            Mistake(
                _order_read_backwards,
                "The right probabilities at the wrong places: `order` says where each sorted value *came from*. Write "
                "to those places; you read from them.",
            ),
            Mistake(
                _sorted, "The right probabilities, but in sorted order: every token must keep its place in the list."
            ),
            Mistake(
                _not_scaled, "The right tokens, but their probabilities do not sum to 1: nothing can be drawn yet."
            ),
        ),
    ),
    Exercise(
        id="08.4",
        title="A filter that you have not seen: min-p",
        difficulty=2,
        minutes=8,
        task="""
            Nguyen et al. (2024) propose another way to adapt the cut: keep every token with at least a given `share` of
            the probability of the *likeliest* token. Write `min_p(probabilities, share)`: `[v]` in; out `[v]`, 0 for
            the tokens left out, and the others scaled to sum to 1.
        """,
        hint="The threshold is a product of two numbers, and one of them comes from the distribution.",
        help="If a flat distribution gives `nan`, everything fell below your threshold: it does not adapt.",
        solution=min_p,
        inputs=lambda: [
            (torch.tensor([0.1, 0.5, 0.04, 0.3, 0.06]), 0.15),
            (torch.tensor([0.9, 0.06, 0.04]), 0.05),
            (torch.full((50,), 0.02), 0.1),
        ],
        mistakes=(
            Mistake(
                _absolute,
                "Your threshold is the same for every distribution, and a flat one loses all its tokens: it must be a "
                "share of the largest probability.",
            ),
            Mistake(
                _difference,
                "You went down from the largest probability *by* the share. The threshold is that share *of* it.",
            ),
            Mistake(_min_p_not_scaled, "The right tokens, but their probabilities do not sum to 1."),
        ),
    ),
    Exercise(
        id="08.5",
        title="One step of beam search",
        difficulty=4,
        minutes=15,
        task="""
            `scores` `[n]` are the log probabilities of the n texts in the beam, `log_probabilities` `[n, v]` those of
            every next token after each text. Write `beam_step(scores, log_probabilities, beams)`. It returns three
            tensors `[beams]`, best text first: `parents` (which of the n texts goes on), `tokens` (with which token)
            and `new_scores`.
        """,
        hint="Make one table [n, v] of new scores, flatten it, take the best, and find the row and column of each.",
        help="""
            `scores[:, None]` is a column, so that it is added to every entry of its row. In a flattened table of rows
            of length v, entry i is in row i // v and column i % v.
        """,
        solution=beam_step,
        inputs=_beams,
        mistakes=(
            Mistake(
                _forgets_the_past,
                "You rank the next tokens alone. The score of a text is the log probability of *all* its tokens: what "
                "is missing is the score it already had.",
            ),
            Mistake(
                _one_child_each,
                "Every text got one continuation. Two of the best may grow from one text while another dies out: "
                "compare all continuations together.",
            ),
            Mistake(_swapped, "Parents and tokens have changed places: one is the quotient, the other the remainder."),
            Mistake(
                _rows_counted,
                "The scores are right. But to find row and column of entry i you divide by the length of a *row*: is "
                "that the number of texts, or of tokens?",
            ),
            Mistake(
                _multiplies, "Log probabilities are added where probabilities are multiplied; you multiplied them."
            ),
        ),
    ),
)
