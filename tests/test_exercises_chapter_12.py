"""Chapter 12's exercises: answers written in other ways pass, and wrong ones hear what is wrong with them."""

import math

import numpy as np
import torch
from exercise_checks import assert_diagnosed, assert_passes


def test_the_loud_answer():
    assert_passes("12.1", 3)
    assert_passes("12.1", (1 / 4) / (1 / 12))
    assert_diagnosed("12.1", 1 / 4, "rightful weight")
    assert_diagnosed("12.1", (1 / 12) / (1 / 4), "larger")
    assert_diagnosed("12.1", 9.0, "last")


def spans(ids, assistant, end):
    """Where each answer starts, behind its `<assistant>`, and the place of its end."""
    ids = ids.tolist()
    starts = [t + 1 for t, token in enumerate(ids) if token == assistant]
    return [(start, ids.index(end, start)) for start in starts]


def labelled(ids, ranges):
    labels = torch.full_like(ids, -100)
    for start, stop in ranges:
        labels[start:stop] = ids[start:stop]
    return labels


def test_who_is_to_blame():
    def right(ids, assistant, end):
        return labelled(ids, [(start, stop + 1) for start, stop in spans(ids, assistant, end)])

    def asking(ids, assistant, end):
        return labelled(ids, [(start - 1, stop + 1) for start, stop in spans(ids, assistant, end)])

    def endless(ids, assistant, end):
        return labelled(ids, spans(ids, assistant, end))

    def once(ids, assistant, end):
        start, stop = spans(ids, assistant, end)[0]
        return labelled(ids, [(start, stop + 1)])

    def onwards(ids, assistant, end):
        return labelled(ids, [(spans(ids, assistant, end)[0][0], len(ids))])

    assert_passes("12.2", right)
    assert_diagnosed("12.2", asking, "prompt")
    assert_diagnosed("12.2", endless, "stop")
    assert_diagnosed("12.2", once, "later turns")
    assert_diagnosed("12.2", onwards, "next question")


def cooled(done, floor):
    return 1 - (1 - floor) * math.sin(math.pi / 2 * done) ** 2


def test_half_a_cosine():
    def by(first, done, low=lambda floor: floor):
        def answer(step, steps, warmup, floor):
            return first(step) / warmup if step < warmup else cooled(done(step, steps, warmup), low(floor))

        return answer

    def rest(step, steps, warmup):
        return 1 - (steps - step) / (steps - warmup)

    assert_passes("12.3", by(lambda step: step + 1, rest))
    assert_diagnosed("12.3", by(lambda step: step, rest), "rate 0")
    assert_diagnosed("12.3", by(lambda step: step + 1, lambda step, steps, _: step / steps), "remaining")
    assert_diagnosed("12.3", by(lambda step: step + 1, rest, lambda _: 0.0), "falls to 0")
    right, flat = by(lambda step: step + 1, rest), by(lambda step: step + 1, rest, lambda _: 0.0)
    assert right(99, 100, 10, 0.1) != flat(99, 100, 10, 0.1)
    assert_diagnosed("12.3", lambda *given: max(given[3], flat(*given)), "cut off")


def slope(weight, x, y):
    """The gradient of the summed squared error, as one derives it on paper."""
    return 2 * x.T @ (x @ weight - y)


def test_repair_the_accumulation():
    def whole(weight, parts):
        x, y = (torch.cat(each) for each in zip(*parts, strict=True))
        return slope(weight, x, y) / len(y)

    def mean_of_means(weight, parts):
        return torch.stack([slope(weight, x, y) / len(y) for x, y in parts]).mean(0)

    def last(weight, parts):
        return slope(weight, *parts[-1]) / sum(len(y) for _, y in parts)

    def given(weight, parts):
        weight = weight.clone().requires_grad_()
        for x, y in parts:
            weight.grad = None
            (((x @ weight - y) ** 2).mean() / len(parts)).backward()
        return weight.grad

    assert_passes("12.4", whole)
    assert_diagnosed("12.4", mean_of_means, "mean of means")
    assert_diagnosed("12.4", last, "thrown away")
    assert_diagnosed("12.4", lambda weight, parts: len(parts) * mean_of_means(weight, parts), "added up")
    assert_diagnosed("12.4", given, "Both faults")


def on_singular_values(update, rounds, scale, b=-4.7750, c=2.0315):
    """The iteration on the singular values alone."""
    u, s, v = np.linalg.svd(update.double().numpy(), full_matrices=False)
    s = s / scale(s)
    for _ in range(rounds):
        s = 3.4445 * s + b * s**3 + c * s**5
    return torch.tensor(u * s @ v)


def test_all_directions_alike():
    def frobenius(s):
        return np.sqrt((s**2).sum())

    assert_passes("12.5", lambda update, rounds: on_singular_values(update, rounds, frobenius))
    assert_diagnosed("12.5", lambda update, rounds: on_singular_values(update, rounds, frobenius, c=0), "term with c")

    def squared(update, rounds):
        x = update / update.pow(2).sum().sqrt()
        for _ in range(rounds):
            gram = torch.einsum("ik,jk->ij", x, x)
            x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram.square() @ x
        return x

    assert_diagnosed("12.5", squared, "entry by entry")


def test_wrong_answers_that_a_reader_gave():
    def early(ids, assistant, end):
        return torch.roll(labelled(ids, [(start, stop + 1) for start, stop in spans(ids, assistant, end)]), -1)

    def wave(step, steps, warmup, floor):
        fall = math.cos((step - warmup) / (steps - warmup) * math.pi)
        return (step + 1) / warmup if step < warmup else floor + fall - floor * fall

    def undivided(weight, parts):
        return sum(2 * x.T @ (x @ weight - y) for x, y in parts)

    assert_diagnosed("12.2", early, "shifted")
    assert_diagnosed("12.3", wave, "squeeze")
    assert_diagnosed("12.4", undivided, "sum")
