"""The exercises of chapter 08: independently written answers pass, plausible wrong ones are told what is wrong."""

import math

import torch
from exercise_checks import assert_diagnosed, assert_passes
from torch import Tensor


def test_odds():
    assert_passes("08.1", math.sqrt(9))
    assert_passes("08.1", 3)
    assert_diagnosed("08.1", 9 / 2, "halved the ratio")
    assert_diagnosed("08.1", 9**2, "0.5")
    assert_diagnosed("08.1", 18, "doubled")
    assert_diagnosed("08.1", 9, "The ratio changes")


def test_soften():
    def by_powers(logits: Tensor, temperature: float) -> Tensor:
        """Probabilities raised to 1 / T, which is the same thing."""
        if not temperature:
            return (logits == logits.max()).float()
        powers = logits.softmax(0) ** (1 / temperature)
        return powers / powers.sum()

    def wrong_way_round(logits: Tensor, temperature: float) -> Tensor:
        if temperature == 0:
            return (logits == logits.max()).float()
        powers = logits.softmax(0) ** temperature
        return powers / powers.sum()

    def after_the_softmax(logits: Tensor, temperature: float) -> Tensor:
        if temperature == 0:
            return (logits == logits.max()).float()
        exponentials = logits.exp() / temperature
        return exponentials / exponentials.sum()

    def never_zero(logits: Tensor, temperature: float) -> Tensor:
        return torch.softmax(logits / torch.tensor(temperature), 0)

    def left_as_logits(logits: Tensor, temperature: float) -> Tensor:
        return logits * (1 / temperature) if temperature else (logits == logits.max()).float()

    assert_passes("08.2", by_powers)
    assert_diagnosed("08.2", left_as_logits, "still logits")
    assert_diagnosed("08.2", wrong_way_round, "sharpen")
    assert_diagnosed("08.2", after_the_softmax, "changes nothing")
    assert_diagnosed("08.2", never_zero, "divides by zero")


def test_nucleus():
    def one_by_one(probabilities: Tensor, p: float) -> Tensor:
        kept, total = [0.0] * len(probabilities), 0.0
        for place in sorted(range(len(probabilities)), key=lambda place: -probabilities[place]):
            if total >= p:
                break
            kept[place] = float(probabilities[place])
            total += kept[place]
        return torch.tensor(kept) / total

    def stops_too_early(probabilities: Tensor, p: float) -> Tensor:
        kept, total = torch.zeros(len(probabilities)), 0.0
        for place in probabilities.argsort(descending=True):
            total += probabilities[place]
            if total > p:
                break
            kept[place] = probabilities[place]
        return kept / kept.sum()

    def loses_places(probabilities: Tensor, p: float) -> Tensor:
        return one_by_one(probabilities, p).sort(descending=True).values

    def sums_to_less(probabilities: Tensor, p: float) -> Tensor:
        return torch.where(one_by_one(probabilities, p) > 0, probabilities, 0)

    def found(probabilities: Tensor, p: float) -> Tensor:
        ordered = probabilities[probabilities.argsort(descending=True)]
        return ordered * (ordered.cumsum(0) <= p)

    def keeps_the_first(probabilities: Tensor, p: float) -> Tensor:
        kept = stops_too_early(probabilities, p)
        return kept if kept.isfinite().all() else (probabilities == probabilities.max()).float()

    def reads_the_order(probabilities: Tensor, p: float) -> Tensor:
        return loses_places(probabilities, p)[probabilities.argsort(descending=True)]

    assert_passes("08.3", one_by_one)
    assert_diagnosed("08.3", found, "three faults")
    assert_diagnosed("08.3", keeps_the_first, "still missing")
    assert_diagnosed("08.3", reads_the_order, "wrong places")
    assert_diagnosed("08.3", stops_too_early, "at least")
    assert_diagnosed("08.3", loses_places, "sorted order")
    assert_diagnosed("08.3", sums_to_less, "sum to 1")


def test_min_p():
    def in_logs(probabilities: Tensor, share: float) -> Tensor:
        logs = probabilities.log()
        return logs.masked_fill(logs < logs.max() + math.log(share), -math.inf).softmax(0)

    def fixed_threshold(probabilities: Tensor, share: float) -> Tensor:
        kept = probabilities * (probabilities >= share)
        return kept / kept.sum()

    def left_as_they_are(probabilities: Tensor, share: float) -> Tensor:
        return probabilities * (probabilities / probabilities.max() >= share)

    def by_subtraction(probabilities: Tensor, share: float) -> Tensor:
        kept = probabilities * (probabilities.max() - probabilities <= share)
        return kept / kept.sum()

    assert_passes("08.4", in_logs)
    assert_diagnosed("08.4", by_subtraction, "*of* it")
    assert_diagnosed("08.4", fixed_threshold, "same for every distribution")
    assert_diagnosed("08.4", left_as_they_are, "do not sum to 1")


def test_beam_step():
    def listed(scores: Tensor, log_probabilities: Tensor, beams: int, join=lambda a, b: a + b) -> tuple[Tensor, ...]:
        rows, columns = log_probabilities.shape
        everything = [
            (float(join(scores[row], log_probabilities[row, column])), row, column)
            for row in range(rows)
            for column in range(columns)
        ]
        best = sorted(everything, key=lambda each: -each[0])[:beams]
        values, parents, tokens = (torch.tensor(column) for column in zip(*best, strict=True))
        return parents, tokens, values

    def only_new(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, ...]:
        return listed(scores, log_probabilities, beams, join=lambda a, b: b)

    def products(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, ...]:
        return listed(scores, log_probabilities, beams, join=lambda a, b: a * b)

    def greedy_each(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, ...]:
        tokens = log_probabilities.argmax(1)
        values = scores + log_probabilities.amax(1)
        order = values.argsort(descending=True)[:beams]
        return order, tokens[order], values[order]

    def mixed_up(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, ...]:
        parents, tokens, values = listed(scores, log_probabilities, beams)
        return tokens, parents, values

    def by_texts(scores: Tensor, log_probabilities: Tensor, beams: int) -> tuple[Tensor, ...]:
        parents, tokens, values = listed(scores, log_probabilities, beams)
        places = parents * log_probabilities.shape[1] + tokens
        return *torch.stack([places // len(scores), places % len(scores)]), values

    assert_passes("08.5", listed)
    assert_diagnosed("08.5", by_texts, "length of a *row*")
    assert_diagnosed("08.5", only_new, "already had")
    assert_diagnosed("08.5", products, "multiplied")
    assert_diagnosed("08.5", greedy_each, "one continuation")
    assert_diagnosed("08.5", mixed_up, "changed places")
