"""The exercises of chapter 01: other right answers pass, likely wrong ones are told what is wrong."""

import math

import numpy as np
import pytest
import torch
from exercise_checks import assert_diagnosed, assert_passes


def test_perplexity_by_hand():
    assert_passes("01.1", 1024**0.1)
    assert_passes("01.1", 2)
    assert_diagnosed("01.1", (9 * 1 + 1024) / 10, "mean of 1/p")
    assert_diagnosed("01.1", 1 / ((9 + 1 / 1024) / 10), "mean of p")
    assert_diagnosed("01.1", 1024, "whole text")
    assert_diagnosed("01.1", 0.69315, "nats")


def test_perplexity_function():
    assert_passes("01.2", lambda p: math.exp(-sum(math.log(x) for x in p.tolist()) / len(p)))
    assert_passes("01.2", lambda p: 2 ** (-np.log2(p.numpy()).mean()))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda p: (1 / torch.cumprod(p, 0)[-1]) ** (1 / len(p)), "overflow"),
        (lambda p: torch.exp(-torch.log(p).sum()), "mean over the tokens"),
        (lambda p: np.mean(1 / p.numpy()), "average 1/p"),
        (lambda p: 2.0 ** (-np.log(p.numpy()).mean()), "same base"),
        (lambda p: len(p) / p.sum(), "p itself"),
    ],
)
def test_perplexity_mistakes(answer, words):
    assert_diagnosed("01.2", answer, words)


def test_bits_per_byte():
    assert_passes("01.3", lambda nats, text: nats * math.log2(math.e) / sum(1 for _ in bytes(text, "utf-8")))
    assert_diagnosed("01.3", lambda nats, text: nats * math.log2(math.e) / len(text), "characters")
    assert_diagnosed("01.3", lambda nats, text: nats / len(bytes(text, "utf-8")), "nats per byte")
    assert_diagnosed("01.3", lambda nats, text: nats / math.log2(math.e) / len(text.encode("utf-8")), "more bits")
    assert_diagnosed("01.3", lambda nats, text: nats * len(text) / (0.6931472 * len(text.encode())), "whole text")


def test_posterior():
    def with_the_largest_taken_away(likelihoods, prior):
        joint = (likelihoods - likelihoods.max()).exp() * prior
        return joint / joint.sum()

    assert_passes("01.4", with_the_largest_taken_away)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda ll, prior: prior * torch.exp(ll) / torch.dot(prior, torch.exp(ll)), "nan"),
        (lambda ll, prior: torch.softmax(ll, 0), "no effect"),
        (lambda ll, prior: torch.softmax(prior + ll, 0), "must be done"),
        (lambda ll, prior: prior * torch.softmax(ll, 0), "sum to 1"),
    ],
)
def test_posterior_mistakes(answer, words):
    assert_diagnosed("01.4", answer, words)


def from_the_longest(levels, discount):
    """The same, as a recursion from the longest context down to none, one token at a time."""
    if not levels:
        return None
    *shorter_levels, counts = levels
    total, below = sum(counts.tolist()), from_the_longest(shorter_levels, discount)
    below = below or [1 / len(counts)] * len(counts)
    if not total:
        return below
    taken = sum(min(discount, count) for count in counts.tolist())
    return [(c - min(discount, c) + taken * p) / total for c, p in zip(counts.tolist(), below, strict=True)]


def test_backed_off():
    assert_passes("01.5", from_the_longest)


def backing_off(taken, unseen=True, order=1, last=0):
    def answer(levels, discount):
        belief = torch.ones(len(levels[0])) / len(levels[0])
        for counts in levels[last:][::order]:
            if unseen and counts.max() == 0:
                continue
            belief = torch.relu(counts - discount) / counts.sum() + taken(counts, discount) * belief / counts.sum()
        return belief

    return answer


def all_that_was_taken(counts, discount):
    return discount * counts.count_nonzero()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (backing_off(lambda counts, discount: 0), "less than 1"),
        (backing_off(lambda counts, discount: discount), "once"),
        (backing_off(lambda counts, discount: discount * counts.numel()), "all tokens"),
        (backing_off(all_that_was_taken, order=-1), "speak last"),
        (backing_off(all_that_was_taken, last=-1), "Only the longest"),
        (backing_off(all_that_was_taken, unseen=False), "never seen"),
    ],
)
def test_backed_off_mistakes(answer, words):
    assert_diagnosed("01.5", answer, words)
