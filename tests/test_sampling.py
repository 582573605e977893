"""The filters on logits against their definitions, and against those of `transformers`."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from torch import Tensor

from minigpt4v.sampling import (
    Sampling,
    apply_temperature,
    block_repeated_ngrams,
    keep_nucleus,
    keep_top_k,
    penalise_repetition,
)

VOCABULARY = 20
LOGITS = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=6)


@given(LOGITS, st.floats(0.05, 20))
def test_temperature_takes_a_root_of_the_odds(logits: list[float], temperature: float):
    probabilities = torch.tensor(logits, dtype=torch.float64).softmax(-1) ** (1 / temperature)
    expected = probabilities / probabilities.sum()
    torch.testing.assert_close(apply_temperature(torch.tensor(logits).double(), temperature).softmax(-1), expected)


@given(LOGITS, st.integers(1, 9))
@example([1.0, 1.0, 1.0], 2)
def test_top_k_keeps_the_k_largest(logits: list[float], k: int):
    kept = keep_top_k(torch.tensor(logits), k)
    assert sorted(kept[kept > -math.inf].tolist()) == sorted(logits)[-k:]
    assert all(value in (logits[i], -math.inf) for i, value in enumerate(kept.tolist()))


@given(LOGITS, st.floats(0.01, 1))
@example([0.0, 0.0, 0.0], 0.5)
@example([5.0, -8.0], 1.0)
def test_nucleus_is_the_smallest_set_that_holds_p(logits: list[float], p: float):
    """Brute force: of all sets of tokens the smallest with mass p, and of those the likeliest."""
    scores = torch.tensor(logits, dtype=torch.float64)
    probabilities = scores.softmax(-1).tolist()
    sets = [c for size in range(1, len(logits) + 1) for c in itertools.combinations(range(len(logits)), size)]
    masses = {members: sum(probabilities[i] for i in members) for members in sets}
    assume(p == 1 or all(abs(mass - p) > 1e-9 for mass in masses.values()))
    enough = [members for members in sets if masses[members] >= p] if p < 1 else sets[-1:]
    best = max(enough, key=lambda members: (-len(members), masses[members]))
    kept = keep_nucleus(scores, p)
    members = [i for i, value in enumerate(kept.tolist()) if value > -math.inf]
    assert len(members) == len(best)
    assert sum(probabilities[i] for i in members) == pytest.approx(masses[best])
    assert all(kept[i] == scores[i] for i in members)


def test_the_whole_nucleus_keeps_what_rounding_would_lose():
    logits = torch.tensor([30.0, 0.0])
    assert logits.softmax(-1)[0] == 1
    assert torch.equal(keep_nucleus(logits, 1.0), logits)


@given(LOGITS, st.data())
def test_repetition_penalty_lowers_exactly_the_tokens_seen(logits: list[float], data: st.DataObject):
    seen = torch.tensor(data.draw(st.lists(st.booleans(), min_size=len(logits), max_size=len(logits))))
    before = torch.tensor(logits)
    after = penalise_repetition(before, seen, 1.5)
    assert torch.equal(after[~seen], before[~seen])
    expected = [value / 1.5 if value > 0 else value * 1.5 for value in before[seen].tolist()]
    torch.testing.assert_close(after[seen], torch.tensor(expected))
    assert (after[seen] <= before[seen]).all()


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(1, 4), st.integers(0, 3))
def test_ngram_block_forbids_what_would_repeat(text: list[int], size: int, padding: int):
    """Definition: a token is forbidden if the last size - 1 tokens and it stand in the text already."""
    forbidden = {
        token
        for token in range(5)
        for start in range(len(text) - size + 1)
        if [*text, token][len(text) + 1 - size :] == text[start : start + size]
    }
    ids = torch.tensor([[0] * padding + text, text + [4] * padding])
    is_text = torch.tensor([[False] * padding + [True] * len(text), [True] * (len(text) + padding)])
    blocked = block_repeated_ngrams(torch.zeros(2, 5), ids, size, is_text)
    assert {i for i, value in enumerate(blocked[0].tolist()) if value == -math.inf} == forbidden


def test_ngram_block_gives_way_where_nothing_is_left():
    logits = torch.tensor([[0.3, -math.inf, 0.1]])
    assert torch.equal(block_repeated_ngrams(logits, torch.tensor([[0, 2]]), 1), logits)
    assert block_repeated_ngrams(logits, torch.tensor([[0, 0]]), 1).tolist() == [[-math.inf, -math.inf, logits[0, 2]]]


@pytest.mark.parametrize(
    "change",
    [
        lambda logits: apply_temperature(logits, 0.7),
        lambda logits: keep_top_k(logits, 3),
        lambda logits: keep_nucleus(logits, 0.8),
        lambda logits: keep_nucleus(logits, 1.0),
        lambda logits: penalise_repetition(logits, logits > 0.5, 1.3),
    ],
)
def test_filters_are_pure_and_take_any_leading_axes(change: Callable[[Tensor], Tensor]):
    logits = torch.randn(2, 3, 7)
    before = logits.clone()
    changed = change(logits)
    assert torch.equal(logits, before)
    for i, j in itertools.product(range(2), range(3)):
        assert torch.equal(changed[i, j], change(logits[i, j]))


def test_filters_agree_with_transformers():
    transformers = pytest.importorskip("transformers")
    logits, ids = torch.randn(50, 30), torch.randint(30, (50, 25))
    seen = torch.zeros(50, 30, dtype=torch.bool).scatter(1, ids, True)
    pairs = [
        (keep_top_k(logits, 7), transformers.TopKLogitsWarper(7)),
        (keep_nucleus(logits, 0.8), transformers.TopPLogitsWarper(0.8)),
        (penalise_repetition(logits, seen, 1.2), transformers.RepetitionPenaltyLogitsProcessor(1.2)),
        (block_repeated_ngrams(logits, ids, 2), transformers.NoRepeatNGramLogitsProcessor(2)),
        (apply_temperature(logits, 0.6), transformers.TemperatureLogitsWarper(0.6)),
    ]
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs(ids, logits.clone()))


@pytest.mark.parametrize(
    ("setting", "value", "fault"),
    [
        ("temperature", -0.1, r"temperature must be 0 \(greedy\) or at least 0.001, not -0.1"),
        ("temperature", 1e-4, "temperature must be .* not 0.0001"),
        ("temperature", math.inf, "temperature must be .* not inf"),
        ("temperature", math.nan, "temperature must be .* not nan"),
        ("top_k", 0, "top_k must be a whole number of at least 1 .* not 0"),
        ("top_k", 2.5, "top_k must be a whole number .* not 2.5"),
        ("top_p", 0.0, "top_p must be above 0 and at most 1 .* not 0.0"),
        ("top_p", 1.01, "top_p must be .* not 1.01"),
        ("top_p", math.nan, "top_p must be .* not nan"),
        ("repetition_penalty", 0.9, "repetition_penalty must be at least 1 .* not 0.9"),
        ("repetition_penalty", math.inf, "repetition_penalty must be .* not inf"),
        ("no_repeat_ngram", -1, "no_repeat_ngram must be a whole number of at least 0 .* not -1"),
    ],
)
def test_settings_out_of_range(setting: str, value: float, fault: str):
    with pytest.raises(ValueError, match=fault):
        Sampling(**{setting: value})
