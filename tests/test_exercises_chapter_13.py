"""Chapter 13's exercises: answers written in other ways pass, and wrong ones hear what is wrong with them."""

from itertools import pairwise

import numpy as np
import torch
from einops import rearrange
from exercise_checks import assert_diagnosed, assert_passes

from minigpt4v.evaluation import calibration


def test_who_looks():
    assert_passes("13.1", "b")
    assert_diagnosed("13.1", "a", "loses")
    assert_diagnosed("13.1", "c", "another")


def percentiles(of, low=2.5, high=97.5):
    def answer(right, draws):
        return tuple(float(np.percentile(of(right, draws), end)) for end in (low, high))

    return answer


def weighted(right, draws):
    """Each picture's answers, weighted by how often it was drawn."""
    counts = np.array([np.bincount(draw, minlength=len(right)) for draw in draws])
    return counts @ right.sum(axis=1) / right.size


def test_bootstrap_by_pictures():
    assert_passes("13.2", percentiles(weighted))
    assert_diagnosed("13.2", percentiles(lambda right, _: [row.mean() for row in right]), "single *pictures*")
    assert_diagnosed("13.2", percentiles(weighted, 5, 95), "90%")
    assert_diagnosed("13.2", percentiles(weighted, 0, 100), "lowest")

    def as_sets(right, draws):
        return [np.mean([right[picture].mean() for picture in set(draw.tolist())]) for draw in draws]

    assert_diagnosed("13.2", percentiles(as_sets), "twice")


def bins_of(confidence, right, bins):
    """(mean confidence, accuracy, count) of each bin that is not empty."""
    members = {}
    for sure, hit in zip(confidence, right, strict=True):
        members.setdefault(min(int(sure * bins), bins - 1), []).append((sure, float(hit)))
    return [(*np.mean(rows, axis=0), len(rows)) for rows in members.values()]


def test_calibration_error():
    def by_rows(confidence, right, bins):
        return sum(count * abs(sure - hit) for sure, hit, count in bins_of(confidence, right, bins)) / len(right)

    assert_passes("13.3", by_rows)
    confidence, right = np.array([0.95, 1.0, 0.15, 0.4]), np.array([True, False, False, True])
    library = calibration(confidence, right)["expected_calibration_error"]  # ten bins, four digits
    assert abs(by_rows(confidence, right, 10) - library) < 1e-4

    def unweighted(confidence, right, bins):
        return float(np.mean([abs(sure - hit) for sure, hit, _ in bins_of(confidence, right, bins)]))

    assert_diagnosed("13.3", unweighted, "two hundred")
    assert_diagnosed("13.3", lambda confidence, right, bins: abs(float(np.mean(confidence - right))), "one bin")
    assert_diagnosed("13.3", lambda confidence, right, bins: float(np.mean(confidence - right)), "signs")
    alone = np.vectorize(lambda sure, hit: 1 - sure if hit else sure)
    assert_diagnosed("13.3", lambda confidence, right, bins: alone(confidence, right).mean(), "single answer")

    def half_open(confidence, right, bins):
        edges = np.linspace(0, 1, bins + 1)
        parts = [(confidence >= low) & (confidence < high) for low, high in pairwise(edges)]
        return sum(abs((confidence[part] - right[part]).sum()) for part in parts) / len(right)

    assert_diagnosed("13.3", half_open, "exactly 1")

    def mean_of_nothing(confidence, right, bins):
        place = np.clip((confidence * bins).astype(int), 0, bins - 1)
        counts = np.bincount(place, minlength=bins)
        with np.errstate(invalid="ignore"):
            gaps = np.bincount(place, weights=confidence - right, minlength=bins) / counts
        return np.sum(np.abs(gaps) * counts) / len(right)

    assert_diagnosed("13.3", mean_of_nothing, "empty")


def test_repair_an_attack():
    def by_cases(image, gradient, budget):
        moved = torch.where(gradient > 0, image + budget, image - budget)
        return moved.clip(min=0, max=1)

    assert_passes("13.4", by_cases)
    assert_diagnosed("13.4", lambda image, gradient, budget: image.sub(gradient, alpha=budget), "three faults")
    assert_diagnosed("13.4", lambda image, gradient, budget: (image + gradient * budget).clip(0, 1), "direction")
    assert_diagnosed("13.4", lambda i, g, b: torch.where(g > 0, i - b, i + b).clip(0, 1), "downhill")
    assert_diagnosed("13.4", lambda i, g, b: torch.where(g > 0, i + b, i - b), "left 0..1")
    assert_diagnosed("13.4", lambda i, g, b: i.add(g, alpha=b), "uphill now")
    assert_diagnosed("13.4", lambda i, g, b: i.sub(g, alpha=b).clip(0, 1), "stays a picture")
    assert_diagnosed("13.4", lambda i, g, b: torch.where(g > 0, i - b, i + b), "right length")


def test_an_occlusion_map():
    def over_cells(change):
        def answer(probability, image, cell):
            rows, columns = image.shape[1] // cell, image.shape[2] // cell
            number = torch.arange(rows * columns).view(rows, columns)
            number = number.repeat_interleave(cell, 0).repeat_interleave(cell, 1)
            falls = [probability(image) - probability(change(image, number, place)) for place in range(rows * columns)]
            return rearrange(torch.tensor(falls), "(r c) -> r c", r=rows)

        return answer

    def grey(image, number, place):
        return torch.where(number == place, 0.5, image)

    assert_passes("13.5", over_cells(grey))
    assert_diagnosed("13.5", over_cells(lambda i, n, p: torch.where(n <= p, 0.5, i)), "fresh")
    assert_diagnosed("13.5", over_cells(lambda i, n, p: i * (n != p)), "black")
    assert_diagnosed("13.5", over_cells(lambda i, n, p: torch.where(n == p, i, 0.5)), "everything")
    assert_diagnosed("13.5", lambda *arguments: over_cells(grey)(*arguments).mT, "on its side")

    def left_over(probability, image, cell):
        return probability(image) - over_cells(grey)(probability, image, cell)

    assert_diagnosed("13.5", left_over, "that are left")
    assert_diagnosed("13.5", lambda *arguments: 0 - over_cells(grey)(*arguments), "turned round")
