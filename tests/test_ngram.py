"""ngram.py against counting with Counter, formulas written out, and F.cross_entropy."""

import math
from collections import Counter, defaultdict
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from minigpt4v.ngram import CountModel, NeuralNGram, train_neural

V = 4
TEXTS = st.lists(st.integers(0, V - 1), min_size=2, max_size=40)


def random_ids(length, seed=0, vocabulary=V):
    return torch.randint(vocabulary, (length,), generator=torch.Generator().manual_seed(seed))


def brute_kneser_ney(text, n, v):
    """P(word | context) by the formulas, one context and one word at a time, with dictionaries of tuples."""
    counts = []  # per length: context -> Counter of next tokens
    for length in range(n + 1):
        table = defaultdict(Counter)
        neighbours = defaultdict(set)
        for i in range(length, len(text)):
            context = tuple(text[i - length : i])
            table[context][text[i]] += 1
            neighbours[(*context, text[i])].add(text[i - length - 1] if i > length else "beginning")
        if length < n:
            for context, row in table.items():
                for word in row:
                    row[word] = len(neighbours[(*context, word)])
        counts.append(table)

    def discount(table):
        values = [count for row in table.values() for count in row.values()]
        ones, twos = values.count(1), values.count(2)
        return ones / (ones + 2 * twos) if ones and twos else 0.5

    discounts = [discount(table) for table in counts]

    def probability(word, context):
        context = tuple(context)[max(0, len(context) - n) :]
        shorter = probability(word, context[1:]) if context else 1 / v
        row = counts[len(context)].get(context)
        if not row:
            return shorter
        d = discounts[len(context)]
        return (max(row[word] - d, 0) + d * len(row) * shorter) / sum(row.values())

    return probability


@given(TEXTS, TEXTS, st.integers(0, 3))
def test_kneser_ney_is_the_formula(text, other, n):
    n = min(n, len(text) - 1)
    model, oracle = CountModel.train(text, V, n), brute_kneser_ney(text, n, V)
    expected = [math.log(oracle(word, other[max(0, i - n) : i])) for i, word in enumerate(other)]
    torch.testing.assert_close(model.log_probabilities(other), torch.tensor(expected, dtype=torch.float64))


@given(TEXTS, TEXTS, st.integers(0, 3), st.sampled_from([0.01, 1]))
def test_add_k_is_the_formula(text, other, n, k):
    n = min(n, len(text) - 1)
    runs = Counter(tuple(text[i - n : i + 1]) for i in range(n, len(text)))
    contexts = Counter(run[:-1] for run in runs.elements())
    model = CountModel.train(text, V, n, smoothing=k)
    expected = []
    for i, word in enumerate(other):
        context = tuple(other[i - n : i]) if i >= n else None  # too early in the text: never seen
        expected.append((runs[(*context, word)] + k) / (contexts[context] + k * V) if context is not None else 1 / V)
    torch.testing.assert_close(model.log_probabilities(other).exp(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("smoothing", ["kneser-ney", 0.1])
@pytest.mark.parametrize("n", [0, 1, 3])
def test_probabilities_sum_to_one_and_agree_with_log_probabilities(smoothing, n):
    text, other = random_ids(60), random_ids(30, seed=1)
    model = CountModel.train(text, V, n, smoothing)
    for i in range(len(other)):
        shares = model.probabilities(other[:i])
        assert shares.shape == (V,)
        assert shares.sum().item() == pytest.approx(1)
        assert shares.log()[other[i]].item() == pytest.approx(model.log_probabilities(other)[i].item())


def test_a_token_that_was_never_seen_has_a_probability():
    model = CountModel.train([0, 1, 0, 1, 0, 2], 5, 2)
    assert (model.probabilities([0, 1]) > 0).all()


def test_loss_asks_for_the_tokens_from_start_on():
    text, other = random_ids(200), random_ids(50, seed=1)
    model = CountModel.train(text, V, 2)
    assert model.loss(other, start=8) == pytest.approx(-model.log_probabilities(other)[8:].mean().item())


def test_contexts_longer_than_an_int64_can_number():
    # with one number per context, 3000^8 would overflow
    text = random_ids(400, vocabulary=3000)
    model = CountModel.train(text, 3000, 8)
    place = 100
    assert model.probabilities(text[:place])[text[place]] > 0.3


def test_stored_counts():
    text = [0, 1, 0, 1, 2]
    assert CountModel.train(text, 3, 1, smoothing=1).stored_counts == 3  # 01, 10, 12
    assert CountModel.train(text, 3, 1).stored_counts == 3 + 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (([0, 1], 2, 2), "context of 2"),
        (([0, 1], 2, -1), "context of -1"),
        (([0, 2], 2, 1), "vocabulary"),
        (([0, 1], 2, 1, 0), "above 0"),
        (([0, 1], 2, 1, "laplace"), "laplace"),
        (([[0, 1]], 2, 1), "one row"),
    ],
)
def test_count_model_refuses(arguments, words):
    with pytest.raises(ValueError, match=words):
        CountModel.train(*arguments)


@pytest.mark.parametrize("start", [-1, 5])
def test_start_must_lie_in_the_text(start):
    with pytest.raises(ValueError, match="start"):
        CountModel.train([0, 1, 0], 2, 1).loss([0, 1, 0, 1, 0], start=start)


def test_neural_logits_are_the_formula():
    torch.manual_seed(0)
    model = NeuralNGram(V, 3, width=5, hidden=7)
    contexts = random_ids(12).reshape(4, 3)
    rows = [torch.cat([model.embedding.weight[token] for token in context]) for context in contexts]
    hidden = [(model.hidden.weight @ row + model.hidden.bias).clamp(min=0) for row in rows]
    expected = torch.stack([model.output.weight @ h + model.output.bias for h in hidden])
    torch.testing.assert_close(model(contexts), expected)


def test_neural_loss_is_the_cross_entropy():
    torch.manual_seed(0)
    model, ids = NeuralNGram(V, 2), random_ids(20)
    contexts = torch.stack([ids[i - 2 : i] for i in range(5, 20)])
    assert model.loss(ids, start=5) == pytest.approx(F.cross_entropy(model(contexts), ids[5:]).item(), rel=1e-5)
    assert model.log_probabilities(ids).shape == (18,)
    torch.testing.assert_close(model.probabilities(ids[:7]).log()[ids[7]], model.log_probabilities(ids, start=7)[0])


def test_training_finds_the_counts():
    # after 0 comes 1 three times out of four, after 1 always 0: the best loss is the entropy of this
    text = ([0, 1] * 3 + [0, 0]) * 100
    torch.manual_seed(0)
    model = NeuralNGram(2, 1, width=4, hidden=16)
    losses = train_neural(model, text, steps=150)
    assert losses[-1] < losses[0]
    exact = Counter(pairwise(text))
    for before in (0, 1):
        share = exact[before, 1] / (exact[before, 0] + exact[before, 1])
        assert model.probabilities([before])[1].item() == pytest.approx(share, abs=0.05)


def test_training_is_a_function_of_the_seed():
    def trained(seed):
        torch.manual_seed(0)
        return train_neural(NeuralNGram(V, 1, width=2, hidden=4), random_ids(50), steps=3, seed=seed)

    assert trained(0) == trained(0) != trained(1)


def test_neural_refuses():
    with pytest.raises(ValueError, match="at least 1"):
        NeuralNGram(V, 0)
    model = NeuralNGram(V, 3)
    with pytest.raises(ValueError, match="2 tokens"):
        model(torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="start"):
        model.loss([0, 1, 2, 3], start=2)
    with pytest.raises(ValueError, match="start"):
        train_neural(model, [0, 1, 2])


def test_a_loss_that_is_no_number_stops_the_training():
    model = NeuralNGram(V, 1, width=2, hidden=4)
    with torch.no_grad():
        model.hidden.weight[1, 1] = math.nan
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(
        FloatingPointError, match="the loss of step 1 of seed 3 is not a finite number: the weights that"
    ):
        train_neural(model, random_ids(50), steps=3, seed=3)
    assert all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in zip(before, model.parameters(), strict=True))
