"""Exercises of chapter 01: predicting the next word."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Predicting the next word"


def perplexity(probabilities: Tensor) -> float:
    """Perplexity of a text whose tokens were given these probabilities [n]."""
    return probabilities.log().mean().neg().exp().item()


def _product(probabilities: Tensor) -> float:
    return (1 / probabilities.prod()).item() ** (1 / len(probabilities))


def _no_mean(probabilities: Tensor) -> float:
    return probabilities.log().sum().neg().exp().item()


def _mean_of_inverses(probabilities: Tensor) -> float:
    return (1 / probabilities).mean().item()


def _two_to_the_nats(probabilities: Tensor) -> float:
    return 2 ** probabilities.log().mean().neg().item()


def _inverse_of_mean(probabilities: Tensor) -> float:
    return 1 / probabilities.mean().item()


def per_byte(nats: float, text: str) -> float:
    """Bits per byte of a text that costs so many nats in all."""
    return nats / math.log(2) / len(text.encode())


def _per_character(nats: float, text: str) -> float:
    return nats / math.log(2) / len(text)


def _still_nats(nats: float, text: str) -> float:
    return nats / len(text.encode())


def _wrong_way(nats: float, text: str) -> float:
    return nats * math.log(2) / len(text.encode())


def _times_characters(nats: float, text: str) -> float:
    return nats * len(text) / math.log(2) / len(text.encode())


def posterior_of(log_likelihoods: Tensor, prior: Tensor) -> Tensor:
    """P(author | text) for each author [a]."""
    return (log_likelihoods + prior.log()).softmax(dim=0)


def _underflowing(log_likelihoods: Tensor, prior: Tensor) -> Tensor:
    joint = log_likelihoods.exp() * prior
    return joint / joint.sum()


def _no_prior(log_likelihoods: Tensor, prior: Tensor) -> Tensor:  # noqa: ARG001
    return log_likelihoods.softmax(dim=0)


def _prior_without_log(log_likelihoods: Tensor, prior: Tensor) -> Tensor:
    return (log_likelihoods + prior).softmax(dim=0)


def _prior_afterwards(log_likelihoods: Tensor, prior: Tensor) -> Tensor:
    return log_likelihoods.softmax(dim=0) * prior


def backed_off(levels: list[Tensor], discount: float) -> Tensor:
    """P(next | the longest context) [v]; levels: the counts [v] after ever longer contexts, the empty one first."""
    shorter = torch.full_like(levels[0], 1 / len(levels[0]))
    for counts in levels:
        if counts.sum() > 0:
            taken = discount * (counts > 0).sum()
            shorter = ((counts - discount).clamp(min=0) + taken * shorter) / counts.sum()
    return shorter


def _step(counts: Tensor, shorter: Tensor, taken: Tensor | float, discount: float) -> Tensor:
    if counts.sum() == 0:
        return shorter
    return ((counts - discount).clamp(min=0) + taken * shorter) / counts.sum()


def _uniform(levels: list[Tensor]) -> Tensor:
    return torch.full_like(levels[0], 1 / len(levels[0]))


def _keeps_what_it_took(levels: list[Tensor], discount: float) -> Tensor:
    shorter = _uniform(levels)
    for counts in levels:
        shorter = _step(counts, shorter, 0.0, discount)
    return shorter


def _hands_over_once(levels: list[Tensor], discount: float) -> Tensor:
    shorter = _uniform(levels)
    for counts in levels:
        shorter = _step(counts, shorter, discount, discount)
    return shorter


def _for_all_tokens(levels: list[Tensor], discount: float) -> Tensor:
    shorter = _uniform(levels)
    for counts in levels:
        shorter = _step(counts, shorter, discount * len(counts), discount)
    return shorter


def _longest_first(levels: list[Tensor], discount: float) -> Tensor:
    return backed_off(levels[::-1], discount)


def _asks_nobody(levels: list[Tensor], discount: float) -> Tensor:
    return _step(levels[-1], _uniform(levels), discount * (levels[-1] > 0).sum(), discount)


def _unseen_context(levels: list[Tensor], discount: float) -> Tensor:
    shorter = _uniform(levels)
    for counts in levels:
        taken = discount * (counts > 0).sum()
        shorter = ((counts - discount).clamp(min=0) + taken * shorter) / counts.sum()
    return shorter


def _two_hypotheses() -> list[tuple[Tensor, Tensor]]:
    return [
        (torch.tensor([-4.0, -3.0]), torch.tensor([0.75, 0.25])),
        (torch.tensor([-2001.0, -2000.0, -2003.0]), torch.tensor([0.6, 0.1, 0.3])),
    ]


EXERCISES = (
    Exercise(
        id="01.1",
        title="Nine times sure, once wrong",
        difficulty=1,
        minutes=4,
        task="""
            A model reads ten characters. To nine of them it gave the probability 1; to the tenth it gave 1/1024. What
            is its perplexity on these ten characters? Work it out on paper, then write the number.
        """,
        hint="$P^{-1/N}$: the probability of all ten together is quickly found. What is the tenth root of 1,024?",
        help="Perplexity is one number for the whole text: first multiply, then take the root. The only mean in it is "
        "the mean of the *logarithms*.",
        solution=2.0,
        mistakes=(
            Mistake(1033 / 10, "That is the mean of 1/p. Perplexity averages the logarithms of p, not the inverses."),
            Mistake(
                10240 / 9217, "That is 1 over the mean of p. Perplexity averages the logarithms of p, not p itself."
            ),
            Mistake(1024.0, "That is 1/P of the whole text. Which root turns it into a number per character?"),
            Mistake(math.log(2), "That is the cross-entropy in nats. How does it become a perplexity?"),
            Mistake(1.0, "That is the cross-entropy in bits. How does it become a perplexity?"),
        ),
    ),
    Exercise(
        id="01.2",
        title="A perplexity that survives a long text",
        difficulty=2,
        minutes=6,
        task="""
            Write `perplexity(probabilities)`: a tensor `[n]` with the probability that the model gave to each token
            of a text; out comes one number. It must survive a text of 3,000 tokens.
        """,
        hint="$\\exp(-\\frac1N \\sum_i \\log P_i)$, read from the inside out.",
        help="If you get `inf`: the product of 3,000 probabilities is 0 in floating point. Sum logarithms instead.",
        solution=perplexity,
        inputs=lambda: [
            (torch.tensor([0.5, 0.25, 0.125]),),
            (torch.tensor([0.9]),),
            (torch.linspace(0.01, 0.9, 3000),),
        ],
        mistakes=(
            Mistake(_product, "Short texts are right, long ones overflow: the product becomes 0. Stay in logarithms."),
            Mistake(_no_mean, "It grows with the length of the text: the mean over the tokens is missing."),
            Mistake(_mean_of_inverses, "You average 1/p. Take the mean of the logarithms, and `exp` only at the end."),
            Mistake(_two_to_the_nats, "2 to the power of *nats*: logarithm and power must have the same base."),
            Mistake(_inverse_of_mean, "You average p itself. Take the mean of the logarithms of p."),
        ),
    ),
    Exercise(
        id="01.3",
        title="Bits per byte",
        difficulty=2,
        minutes=5,
        task="""
            Write `per_byte(nats, text)`: `nats` is what a model needed for the whole `text` (the sum of $-\\log P$),
            out come bits per byte in UTF-8. `math` is Python's own.
        """,
        hint="How many nats are one bit? And how long is `'春'.encode()`?",
        help="A bit is a choice between two equal chances: $\\log 2$ nats, about 0.69. So bits outnumber nats.",
        solution=per_byte,
        inputs=lambda: [(7.0, "to be or not"), (21.5, "春眠不觉晓"), (3.0, "é")],
        mistakes=(
            Mistake(_per_character, "English is right, Chinese is not: you divide by characters. Count bytes."),
            Mistake(_still_nats, "These are nats per byte. Turn nats into bits."),
            Mistake(_wrong_way, "There must be more bits than nats: did you multiply where you should divide?"),
            Mistake(_times_characters, "`nats` is the sum for the whole text already, not the mean per character."),
        ),
    ),
    Exercise(
        id="01.4",
        title="Who wrote it?",
        difficulty=3,
        minutes=8,
        task="""
            Write `posterior_of(log_likelihoods, prior)`: `log_likelihoods` `[a]` holds $\\log P(\\text{text} \\mid
            \\text{author})$ for each author, `prior` `[a]` their probabilities before reading. Out comes
            $P(\\text{author} \\mid \\text{text})$, `[a]`, summing to 1. Log-likelihoods of -2,000 are normal.
        """,
        hint="The product of likelihood and prior is a sum of logarithms. Which function exponentiates and divides by "
        "the sum, without underflow?",
        help="If you get `nan`: `exp(-2000)` is 0, and 0/0 is no number. Exponentiate *differences*: `softmax` does.",
        solution=posterior_of,
        inputs=_two_hypotheses,
        mistakes=(
            Mistake(
                _underflowing, "Short texts are right, long ones give `nan`: `exp(-2000)` is 0. Stay in logarithms."
            ),
            Mistake(_no_prior, "The prior has no effect: Bayes' rule multiplies each likelihood by it."),
            Mistake(_prior_without_log, "You add the prior itself to a logarithm. What must be done to it first?"),
            Mistake(_prior_afterwards, "The prior comes after the division: the result does not sum to 1 any more."),
        ),
    ),
    Exercise(
        id="01.5",
        title="Ask the shorter context, which asks a shorter one",
        difficulty=3,
        minutes=12,
        task="""
            In the chapter we asked the shorter context twice, by hand. Write `backed_off(levels, discount)` for any
            number of contexts. `levels` is a list of tensors `[v]`: how often each token followed the empty context,
            then the last token, then the last two, and so on. Before the first level, every token has `1 / v`. At
            each level, take `discount` (below 1) from every count that is not zero and hand all you took to what the
            level before believes. A context that was never seen (all counts 0) believes what the one before it does.
            Give back the probabilities `[v]` after the longest context. `torch` is imported.
        """,
        hint="A loop over `levels` that carries one tensor along: what the contexts so far believe.",
        help="Check the sum: whatever the counts are, the result must sum to 1. In all you take `discount` once for "
        "each *kind* of token that was seen.",
        solution=backed_off,
        inputs=lambda: [
            ([torch.tensor([7.0, 1.0, 0.0])], 0.5),
            ([torch.tensor([5.0, 3.0, 4.0, 0.0]), torch.tensor([0.0, 2.0, 1.0, 0.0])], 0.75),
            ([torch.tensor([4.0, 3.0, 0.0]), torch.tensor([1.0, 2.0, 0.0]), torch.tensor([0.0, 0.0, 0.0])], 0.5),
        ],
        mistakes=(
            Mistake(_keeps_what_it_took, "The result sums to less than 1: what you took must go to the level before."),
            Mistake(_hands_over_once, "You took the discount from several kinds of tokens, but hand it over once."),
            Mistake(_for_all_tokens, "You hand over the discount for all tokens, but took it from the seen ones only."),
            Mistake(_longest_first, "You go from the longest context to the empty one: the longest must speak last."),
            Mistake(_asks_nobody, "Only the longest context is asked: what it takes must go to the level before it."),
            Mistake(_unseen_context, "A context that was never seen gives 0/0: what should it believe?"),
        ),
    ),
)
