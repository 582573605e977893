"""The benchmarks run, and compare like with like; what they measure is for `make bench`, not for tests."""

import json
import os
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench import __main__ as everything
from bench import answering, cost_model, generation, pipeline, record, scaling, sort_of_clevr, training_step
from bench.timing import in_turn, ratios, spread, threads
from minigpt4v import sort_of_clevr as sort_of_clevr_run
from minigpt4v.datasets import sort_of_clevr as benchmark
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.gpt import GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.objectives import AnswerObjective
from minigpt4v.tokenizer import CharTokenizer
from minigpt4v.vision import VisionConfig


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    """What a benchmark writes goes to a folder of its own."""
    saved = {}
    monkeypatch.setattr(record, "save", lambda name, results: saved.update({name: json.loads(json.dumps(results))}))
    return saved


def clock_of(*readings):
    return iter(readings).__next__


# -- timing -----------------------------------------------------------------------------------------------------------


def test_candidates_take_turns_and_the_first_round_does_not_count():
    order = []
    candidates = {name: lambda name=name: order.append(name) for name in "ab"}
    seconds = in_turn(candidates, 2, clock_of(0, 10, 20, 21, 30, 32, 40, 43, 50, 54))
    assert order == ["a", "b"] * 3
    assert seconds == {"a": [1, 3], "b": [2, 4]}


def test_spread_and_ratios_go_from_least_to_most():
    assert spread([3.0, 1.0, 2.0, 9.0], 1000) == [1000, 2500, 9000]
    assert ratios([4.0, 3.0, 5.0], [2.0, 3.0, 1.0]) == [1, 2, 5]  # round by round


def test_threads_are_given_back():
    before = torch.get_num_threads()
    with threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_record_says_where_when_and_how(monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.setattr(sys, "argv", ["x", "--long"])
    about = record.about(rounds=3)
    assert about["command"].startswith("python -m ")
    assert about["command"].endswith(" --long")
    assert about["machine"].endswith(f", {os.cpu_count()} cores")
    assert (about["torch"], about["rounds"]) == (torch.__version__, 3)
    record.save("x", {"about": about}, tmp_path)
    assert json.loads((tmp_path / "x.json").read_text())["about"] == about


def test_a_table_shows_spreads_and_single_numbers(capsys):
    record.print_table("title", [("a", [1.0, 2.5, 1000.0]), ("bc", 7)])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [[], ["title", "least", "median", "most"], ["a", "1.0", "2.5", "1,000.0"], ["bc", "7"]]


# -- the training step ------------------------------------------------------------------------------------------------


def test_the_two_models_are_the_same_function():
    ours, theirs = training_step.twins(2, 2, 16, 12)
    ids = torch.randint(512, (2, 12))
    torch.testing.assert_close(ours(ids), theirs.eval()(ids).logits, atol=1e-4, rtol=1e-4)


def test_training_steps_are_compared(monkeypatch, results):
    monkeypatch.setattr(training_step, "SHAPES", {"0.8 M": (1, 2, 16, 8, 2), "10 M": (1, 2, 16, 8, 64)})
    training_step.main([])
    sizes = results["training_step"]["sizes"]
    assert [sizes[name]["batch"] for name in sizes] == [2, 8]
    for found in sizes.values():
        for way in ("one thread, CPU time", "all cores, by the clock"):
            assert min(found[way]["times as fast"]) > 0
            assert set(found[way]["milliseconds"]) == {"ours", "transformers"}


def test_a_step_changes_the_weights():
    model = torch.nn.Linear(2, 1)
    before = model.weight.detach().clone()
    step = training_step.stepper(model, lambda: model(torch.ones(1, 2)).sum())
    step()
    assert not torch.equal(model.weight, before)
    assert model.weight.grad is None


def test_different_models_are_no_comparison(monkeypatch):
    ours, theirs = training_step.twins(1, 2, 16, 8)
    with torch.no_grad():
        ours.head.weight.mul_(2.0)
    monkeypatch.setattr(training_step, "twins", lambda *_: (ours, theirs))
    with pytest.raises(AssertionError, match="nothing to compare"):
        training_step.compare(1, 2, 16, 8, 2, 1, 1, lambda: 0.0)


# -- the data ---------------------------------------------------------------------------------------------------------


def test_the_pipeline_is_measured(monkeypatch, results):
    monkeypatch.setattr(pipeline, "SCENES", 4)
    pipeline.measure(["tiny"], steps=2)
    found = results["pipeline"]
    assert set(found["a second"]["core16"]) == {"scenes", "questions", "packed rows", "augmented pictures"}
    assert all(min(rate) > 0 for rate in found["a second"]["core16"].values())
    for stage in ("naming", "sentences"):
        assert 0 < min(found["a step"]["tiny"][stage]["batch, share"]) < 1


def test_the_share_is_that_of_the_batch(monkeypatch):
    class FakeTrainer:
        stream = None

        def train_step(self):
            self.stream.batch(0)
            return torch.zeros(3)

    class FakeStream:
        def batch(self, *_):
            return {}

    trainer = FakeTrainer()
    trainer.stream = FakeStream()
    ticks = [reading for step in range(5) for reading in (10 * step, 10 * step + 1, 10 * step + 3, 10 * step + 8)]
    monkeypatch.setattr(pipeline.time, "perf_counter", clock_of(*ticks))
    assert pipeline.share(trainer, 2) == {
        "milliseconds": [8000] * 3,
        "batch, milliseconds": [2000] * 3,
        "batch, share": [0.25] * 3,
    }


# -- growth -----------------------------------------------------------------------------------------------------------


def test_exponents_are_those_of_a_power_law():
    sizes = (2, 4, 8)
    seconds = [[3 * size**2, 5 * size**1.5] for size in sizes]
    assert scaling.exponents(sizes, seconds) == [1.5, 1.75, 2.0]


@pytest.mark.parametrize("change", [{}, {"width": 64}, {"image tokens": 64}, {"text tokens": 48}])
def test_each_size_makes_a_model_and_a_batch_of_that_size(monkeypatch, change):
    size = {"width": 32, "layers": 1, "image tokens": 16, "text tokens": 16} | change
    read = []

    class Watched(scaling.AnswerObjective):
        def forward(self, batch):
            read.append((self, batch))
            return super().forward(batch)

    monkeypatch.setattr(scaling, "AnswerObjective", Watched)
    scaling.stepper(size)()
    objective, batch = read[0]
    assert batch["ids"].shape == (scaling.BATCH, size["image tokens"] + size["text tokens"])
    assert objective.model.config.text.width == size["width"]
    assert objective.model.tokens_per_image == size["image tokens"]


def test_growth_is_measured_and_written(monkeypatch, results):
    monkeypatch.setattr(scaling, "BASE", {"width": 32, "layers": 1, "image tokens": 16, "text tokens": 16})
    monkeypatch.setattr(scaling, "SIZES", {"layers": (1, 2)})
    monkeypatch.setattr(scaling, "launch", lambda number, each, steps: 4.0 / (number * each))
    scaling.measure(rounds=2, launches=3, steps=1)
    found = results["scaling"]
    assert set(found["growth"]["layers"]["milliseconds"]) == {"1", "2"}
    assert found["processes"]["two processes, one thread each: times as fast"] == [2.0] * 3
    assert found["processes"]["one process, one thread: milliseconds"] == [4000.0] * 3


def test_a_worker_writes_its_steps_down(monkeypatch, tmp_path):
    monkeypatch.setattr(scaling, "PRESETS", {"laptop": pipeline.PRESETS["tiny"]})
    scaling.main(["--worker", str(tmp_path / "seconds.json"), "--steps", "2"])
    found = json.loads((tmp_path / "seconds.json").read_text())
    assert found["processes"] == 1
    assert len(found["seconds"]) == 2


@pytest.mark.parametrize("heads", [2, 4])
def test_the_cost_model_counts_what_a_model_has_and_does(heads):
    letters = CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz"])
    size = cost_model.Size(32, 2, heads, (8, 16, 24), vocabulary=letters.vocabulary_size, length=48)
    text = GPTConfig(
        vocabulary_size=size.vocabulary, context_length=size.length, layers=size.layers, heads=heads, width=size.width
    )
    model = GPT4V(GPT4VConfig(text, VisionConfig(width=size.width, channels=size.channels)), letters)
    assert size.parameters == model.parameter_count()

    encoder = ConversationEncoder(letters, model.tokens_per_image)
    batch = encoder.batch([encoder.pack([(Turn("abcdefgh", "abcde"),)] * 2)])
    objective, images = AnswerObjective(model), torch.rand(1, 3, 64, 64)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):  # which it can look into
        objective(batch | {"images": images})[0].backward()
    found = {str(operation): count for operation, count in counter.get_flop_counts()["Global"].items()}
    expected = replace(size, answers=2 * len("abcde.")).operations
    assert batch["ids"].shape == (1, size.length)
    assert found["aten.mm"] == expected["matrices"] + expected["head"]
    assert found["aten.bmm"] == expected["attention"]
    first_weights, first_places = size.convolutions[0]
    to_the_picture = 2 * first_weights * first_places  # a gradient that nobody asks for
    assert found["aten.convolution"] + found["aten.convolution_backward"] == expected["encoder"] - to_the_picture


def test_the_page_on_scaling_shows_the_cost_model():
    page = (scaling.ROOT / "docs" / "scaling.md").read_text(encoding="utf-8")
    for name, size in cost_model.SIZES.items():
        assert cost_model.row(name, size) in page


# -- use --------------------------------------------------------------------------------------------------------------


def test_answers_are_timed():
    found = answering.answers(scenes=2)
    assert found["questions"] > 8
    least, median, most = found["spread"]
    assert 0 < least <= median <= found["90 of 100 within"] <= most


def test_a_worker_weighs_its_training(monkeypatch, tmp_path):
    monkeypatch.setattr(answering, "PRESETS", {answering.MODEL: pipeline.PRESETS["tiny"]})
    answering.main(["--worker", str(tmp_path / "memory.json"), "--steps", "1"])
    assert 50e6 < json.loads((tmp_path / "memory.json").read_text()) < 64e9


def test_all_short_forms_run_together(monkeypatch):
    called = []
    for module in (training_step, pipeline, answering, scaling):
        monkeypatch.setattr(module, "main", lambda argv, name=module.__name__: called.append((name, argv)))
    monkeypatch.setattr(generation, "main", lambda rounds: called.append(("bench.generation", rounds)))
    everything.main()
    names = ["training_step", "generation", "pipeline", "answering", "scaling"]
    assert called == [(f"bench.{name}", 3 if name == "generation" else []) for name in names]


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
