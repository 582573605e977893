"""The benchmarks run, and compare like with like; what they measure is for `make bench`, not for tests."""

import time

import pytest
import torch

from bench import against_transformers, pipeline
from bench.timing import medians


def test_the_median_is_of_the_rounds_after_the_first():
    calls = []

    def work() -> None:
        calls.append(time.sleep(0.05 if not calls else 0.001))

    assert medians({"work": work}, rounds=3)["work"] < 0.04
    assert len(calls) == 4


def test_candidates_take_turns():
    order = []
    medians({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=2)
    assert order == ["a", "b"] * 3


def test_the_two_models_are_the_same_function():
    ours, theirs = against_transformers._twins(2, 2, 16, 12)
    ids = torch.randint(512, (2, 12))
    torch.testing.assert_close(ours(ids), theirs.eval()(ids).logits, atol=1e-4, rtol=1e-4)


def test_each_comparison_gives_a_ratio():
    assert against_transformers.training_step(1, 2, 16, 8, 2) > 0
    assert against_transformers.greedy_decoding(1, 2, 16, 4) > 0


def test_different_texts_are_no_comparison(monkeypatch):
    monkeypatch.setattr(against_transformers, "generate", lambda *_: [[0]])
    with pytest.raises(AssertionError, match="different texts"):
        against_transformers.greedy_decoding(1, 2, 16, 4)


def test_the_pipeline_is_measured(monkeypatch):
    monkeypatch.setattr(pipeline, "_SCENES", 4)
    measured = pipeline.measure("tiny")
    assert all(value > 0 for value in measured.values())
    assert measured["share of a training step"] < 1
