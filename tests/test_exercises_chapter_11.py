"""Chapter 11's exercises: answers written in other ways pass, and wrong ones hear what is wrong with them."""

import numpy as np
import torch
from exercise_checks import assert_diagnosed, assert_passes


def test_count_the_cells():
    assert_passes("11.1", sum(range(1, 10)) + 3 + 2 + 1)
    assert_diagnosed("11.1", 45, "causal mask alone")
    assert_diagnosed("11.1", 9 * 10 // 2 + 4 * 4, "Ten of those 16")
    assert_diagnosed("11.1", 57, "fewer cells than 12")
    assert_diagnosed("11.1", 9**2, "must guess")


def filled(places_of):
    """Put the tokens at the (row, place) pairs that `places_of` gives, one after the other."""

    def answer(vectors, is_image, tokens):
        result, flat = vectors.clone(), tokens.flatten(0, 1)
        for number, (row, place) in enumerate(places_of(is_image.tolist())):
            result[row, place] = flat[number]
        return result

    return answer


def test_put_pictures():
    def in_order(rows):
        return [(b, t) for b, row in enumerate(rows) for t, here in enumerate(row) if here]

    def in_front(rows):
        return [(b, t) for b, row in enumerate(rows) for t in range(sum(row))]

    def interleaved(vectors, is_image, tokens):
        return filled(in_order)(vectors, is_image, tokens.transpose(0, 1).reshape(tokens.shape))

    def added(vectors, is_image, tokens):
        return vectors + filled(in_order)(vectors * 0, is_image, tokens)

    def from_the_start(vectors, is_image, tokens):
        flat = tokens.flatten(0, 1)
        return torch.stack([row.masked_scatter(here[:, None], flat) for row, here in zip(vectors, is_image)])  # noqa: B905

    assert_passes("11.2", filled(in_order))
    assert_diagnosed("11.2", filled(in_front), "front of the row")
    assert_diagnosed("11.2", interleaved, "shuffled into each other")
    assert_diagnosed("11.2", added, "added")
    assert_diagnosed("11.2", from_the_start, "Every row gets")


def looped(rule):
    """A mask [t, t] from a rule about (kind of the row, its place, kind of the column, its place)."""

    def answer(kinds):
        kinds = kinds.tolist()
        return np.array([[rule(a, i, b, j) for j, b in enumerate(kinds)] for i, a in enumerate(kinds)])

    return answer


def test_mask_from_kinds():
    assert_passes("11.3", looped(lambda a, i, b, j: j <= i or (a == b != 0)))
    assert_diagnosed("11.3", looped(lambda a, i, b, j: j <= i or a == b), "0 equals 0")
    assert_diagnosed("11.3", looped(lambda a, i, b, j: j <= i or a * b > 0), "two pictures")
    assert_diagnosed("11.3", looped(lambda a, i, b, j: j <= i), "causal mask")
    assert_diagnosed("11.3", looped(lambda a, i, b, j: j >= i or (a == b != 0)), "exchanged")


def test_repair_the_leak_test():
    def by_gradient(read, vectors):
        table = torch.autograd.functional.jacobian(lambda x: read(x[None])[0], vectors)
        return table.abs().amax(dim=(1, 3)) > 1e-7

    def unrepaired(read, vectors):
        before = read(vectors[None])[0]
        heard = torch.zeros(len(vectors), len(vectors), dtype=torch.bool)
        changed = vectors.clone()
        for j in range(len(vectors)):
            changed[j] += 1.0
            heard[j] = (read(changed[None])[0] - before).abs().amax(dim=-1) > 1e-5
        return heard

    assert_passes("11.4", by_gradient)
    assert_diagnosed("11.4", unrepaired, "Both faults")
    assert_diagnosed("11.4", lambda read, vectors: by_gradient(read, vectors).T, "column")
    assert_diagnosed("11.4", lambda read, vectors: unrepaired(read, vectors).T, "original")


def test_join():
    def by_sigmoid(output_a, log_sum_a, output_b, log_sum_b):
        share = torch.sigmoid(log_sum_a - log_sum_b).unsqueeze(1)
        return share * output_a + (1 - share) * output_b

    assert_passes("11.5", by_sigmoid)
    assert_diagnosed("11.5", lambda a, la, b, lb: torch.stack([a, b]).mean(0), "half")
    assert_diagnosed("11.5", lambda a, la, b, lb: torch.stack([a, b]).sum(0), "add up to 2")
    assert_diagnosed("11.5", lambda a, la, b, lb: by_sigmoid(a, lb, b, la), "other one's")

    def naive(a, la, b, lb):
        total = np.e**la + np.e**lb
        return (np.e**la / total)[:, None] * a + (np.e**lb / total)[:, None] * b

    assert_diagnosed("11.5", naive, "NaN")
    assert_diagnosed("11.5", lambda a, la, b, lb: ((a.T * la + b.T * lb) / (la + lb)).T, "logarithms")
