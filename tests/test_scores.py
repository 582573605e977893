"""scores.py against a brute-force bootstrap, calibration by hand, and answers that come a few at a time."""

import random

import pytest

from minigpt4v.scores import Calibration, Shares, Tally, bootstrap_interval, calibration


def brute_force_interval(groups: list[int], right: list[bool], samples: int) -> tuple[float, float]:
    rng = random.Random(1)
    names = sorted(set(groups))
    shares = []
    for _ in range(samples):
        hits = [
            hit for name in rng.choices(names, k=len(names)) for g, hit in zip(groups, right, strict=True) if g == name
        ]
        shares.append(sum(hits) / len(hits))
    shares.sort()
    return shares[round(0.025 * samples)], shares[round(0.975 * samples) - 1]


@pytest.mark.parametrize("together", [True, False])
def test_the_interval_is_that_of_a_brute_force_bootstrap(together):
    """Groups of one to three answers; where the answers of a group stand and fall together, the interval is wider."""
    rng = random.Random(0)
    groups = [group for group in range(30) for _ in range(1 + group % 3)]
    verdicts = [rng.random() < 0.6 for _ in range(30)]
    right = [verdicts[group] if together else rng.random() < 0.6 for group in groups]
    names = [7 * group + 100 for group in groups]  # any numbers will do
    low, high = bootstrap_interval(names, right, samples=4000)
    assert (low, high) == pytest.approx(brute_force_interval(groups, right, 1000), abs=0.03)
    assert low < sum(right) / len(right) < high
    alone = bootstrap_interval(range(len(right)), right, samples=4000)
    if together:
        assert high - low > 1.2 * (alone[1] - alone[0])


def test_intervals_at_the_ends():
    assert bootstrap_interval([1, 2, 3], [True] * 3) == (1, 1)
    assert bootstrap_interval([1, 2, 3], [False] * 3) == (0, 0)
    assert bootstrap_interval([4, 4, 4, 4], [True, False, False, False]) == (0.25, 0.25)
    assert bootstrap_interval([1, 2], [True, False]) == (0, 1)


def test_the_interval_depends_on_its_arguments_alone():
    groups, right = [number // (1 + number % 4) for number in range(60)], [number % 3 > 0 for number in range(60)]
    interval = bootstrap_interval(groups, right)
    assert bootstrap_interval(groups, right, samples=1000, seed=0) == interval
    assert bootstrap_interval(groups, right, seed=1) != interval
    assert bootstrap_interval(groups, right, samples=1001) != interval


def test_the_bootstrap_draws_the_same_pictures_however_many_samples_at_once(monkeypatch):
    groups, right = [number // 3 for number in range(60)], [number % 7 < 3 for number in range(60)]
    whole = bootstrap_interval(groups, right, samples=12)
    monkeypatch.setattr("minigpt4v.scores._WEIGHTS_AT_ONCE", 170)
    assert bootstrap_interval(groups, right, samples=12) == whole


def test_calibration_by_hand():
    confidences = [0.05, 0.0, 0.31, 0.39, 0.85, 0.95, 1.0, 0.95, 0.95]
    right = [False, True, False, True, False, True, True, True, False]
    found = calibration(confidences, right)
    expected = [(0.025, 0.5, 2), (0.35, 0.5, 2), (0.85, 0, 1), (0.9625, 0.75, 4)]
    for row, (confidence, accuracy, count) in zip(found["bins"], expected, strict=True):
        assert row == {"confidence": pytest.approx(confidence), "accuracy": accuracy, "count": count}
    error = (2 * 0.475 + 2 * 0.15 + 1 * 0.85 + 4 * 0.2125) / 9
    assert found["expected_calibration_error"] == pytest.approx(error, abs=5e-5)


def test_one_who_is_as_sure_as_right_is_calibrated():
    confidences = [0.25] * 4 + [0.75] * 4
    right = [True, False, False, False, True, True, True, False]
    assert calibration(confidences, right)["expected_calibration_error"] == 0
    assert calibration([1.0] * 4, [False] * 4)["expected_calibration_error"] == 1


# -- a few at a time --------------------------------------------------------------------------------------------------


def test_it_does_not_matter_in_how_many_parts_answers_come():
    rng = random.Random(2)
    answers = [
        (picture, rng.choice("abc"), rng.random() < 0.6, rng.random()) for picture in range(40) for _ in range(3)
    ]
    results = []
    for size in (1, 4, 40):  # pictures in a part
        tally, shares, sureness = Tally(), Shares(), Calibration()
        for start in range(0, 40, size):
            part = [answer for answer in answers if start <= answer[0] < start + size]
            pictures, groups, right, confidences = zip(*part, strict=True)
            tally.add((picture - start for picture in pictures), groups, right)
            shares.add(groups, right)
            sureness.add(confidences, right)
        results.append((tally.rows(), shares.accuracies(), sureness.result()))
    first = results[0]
    for tally_rows, accuracies, calibrated in results[1:]:
        assert tally_rows == first[0]
        assert accuracies == first[1] == {group: row["accuracy"] for group, row in tally_rows.items()}
        assert calibrated["expected_calibration_error"] == first[2]["expected_calibration_error"]
    for group, row in first[0].items():
        mine = [(picture, hit) for picture, name, hit, _ in answers if name == group]
        assert row["count"] == len(mine)
        assert (row["low"], row["high"]) == pytest.approx(bootstrap_interval(*zip(*mine, strict=True)), abs=5e-5)


def test_verdicts_without_groups_are_refused():
    for add in (Shares().add, lambda groups, right: Tally().add(range(2), groups, right)):
        with pytest.raises(ValueError, match=r"(shorter|longer) than argument"):
            add(["a"], [True, False])
