"""bench/time_to_see.py: what the command line says, and what a very short run writes down."""

import sys

import pytest
import torch

from bench import time_to_see
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
