"""bench/time_to_see.py: what the command line says, and what a very short run writes down."""

import sys

import pytest
import torch

from bench import time_to_see, time_to_see_figure
from minigpt4v.datasets.scenes import load_world
from minigpt4v.evaluation import evaluate_split
from minigpt4v.gpt4v import GPT4V


@pytest.fixture
def options(monkeypatch, tmp_path):
    words = ["time_to_see", "--preset", "tiny", "--leave-out", "fluent", "--scenes", "8", "--keep", str(tmp_path)]
    monkeypatch.setattr(
        sys, "argv", [*words, "--set", "steps=4", "evaluate_every=2", "batch_size=4", "families=('what',)"]
    )
    return time_to_see._options()


def test_changes_go_to_the_preset_or_to_the_settings(options):
    preset, settings = time_to_see._changes(options)
    assert preset == {"batch_size": 4, "families": ("what",)}
    assert settings == {"steps": 4, "evaluate_every": 2}
    options.set = []
    assert time_to_see._changes(options) == ({}, {})


def test_the_folder_is_nobody_elses():
    assert time_to_see._without_folder(["--seed", "1", "--keep", "/a", "--minutes", "2"]) == [
        "--seed",
        "1",
        "--minutes",
        "2",
    ]
    assert time_to_see._without_folder(["--seed", "1"]) == ["--seed", "1"]


def test_a_run_is_measured_on_fresh_scenes_of_both_kinds(options, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    time_to_see._train(options)
    tested = []

    def evaluate(model, world, *rest):
        tested.append(world.held_out_style)
        return evaluate_split(model, world, *rest)

    monkeypatch.setattr(time_to_see, "evaluate_split", evaluate)
    result = time_to_see._result(options, tmp_path)
    assert tested == ["fluent", "fluent"]
    assert result["steps"] == 4
    assert len(result["curve"]) == 2
    assert str(tmp_path) not in str(result)
    model, world = GPT4V.from_pretrained(tmp_path), load_world("core16", "fluent")
    for split in ("seen", "style"):
        assert result[split] == evaluate_split(model, world, split, 8, "time-to-see")["accuracy"]
    assert result["left_out"] == "fluent"
    assert result["parameters"] == model.parameter_count()


def test_the_figure_shows_the_runs_of_the_record():
    run = {"minutes": 5.0, "curve": [[200, 0.7], [300, 0.9]], "style": 0.8, "stages": {}}
    runs = {
        "laptop, 5 minutes, seed 0": run,
        "laptop, 10 minutes, seed 1": run | {"minutes": 10.0, "curve": [[250, 0.8], [600, 0.95]]},
        "trial": run,
        "laptop, an older record": {"minutes": 5.0, "curve": [[100, 0.1]]},
    }
    (axes,) = time_to_see_figure.draw(runs).axes
    ends = {(line.get_xdata()[-1], line.get_ydata()[-1]) for line in axes.lines if len(line.get_xdata()) == 2}
    assert ends == {(300, 0.9), (600, 0.95)}
    crosses = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert crosses == [(300, 0.8), (600, 0.8)]
