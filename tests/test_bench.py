"""The benchmarks run, and compare like with like; what they measure is for `make bench`, not for tests."""

import json
import time

import pytest
import torch

from bench import against_transformers, pipeline, sort_of_clevr
from bench.timing import medians
from minigpt4v import sort_of_clevr as sort_of_clevr_run
from minigpt4v.datasets import sort_of_clevr as benchmark


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


def test_a_row_of_sort_of_clevr_is_scored_and_replaces_the_one_it_repeats(tmp_path, monkeypatch):
    pictures = benchmark.generate(8, seed=1)
    for module in (sort_of_clevr_run, sort_of_clevr):
        monkeypatch.setattr(module, "load", lambda split: pictures)
    monkeypatch.setattr(sort_of_clevr_run, "_VALIDATION_PICTURES", 4)
    monkeypatch.setattr(sort_of_clevr, "_FRESH_PICTURES", 3)
    monkeypatch.setattr(sort_of_clevr, "RESULTS", tmp_path / "rows.json")
    sort_of_clevr_run.SortOfClevrRun(folder=tmp_path / "run", batch_size=2, settings={"steps": 1}).train()
    made = {"seed": 0, "labels": "fixed", "batch_size": 2, "device": torch.device("cpu")}
    row = sort_of_clevr.score_run(tmp_path / "run", **made)
    assert row["test"]["fixed"]["relational"]["count"] == 80
    assert row["fresh"]["original"]["non-relational"]["count"] == 30
    assert len(row["curve"]) == 1
    for seed in (1, 0, 0):
        sort_of_clevr.record(row | {"seed": seed, "minutes": seed})
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert [old["seed"] for old in rows] == [0, 1]
