"""The model that ships: its record is complete, its numbers are in the README, and a fresh measurement agrees."""

import json

import pytest

from minigpt4v.datasets.scenes import load_world
from minigpt4v.evaluation import TextOnly, evaluate_split
from minigpt4v.gpt4v import GPT4V
from minigpt4v.paths import data_folder

FOLDER = data_folder() / "checkpoints" / "laptop"
README = (data_folder().parent / "README.md").read_text(encoding="utf-8")
METRICS = json.loads((FOLDER / "metrics.json").read_text(encoding="utf-8"))
GOALS = {"seen": 0.95, "style": 0.82}
FRESH_SCENES = 60


def test_the_record_says_how_it_was_made():
    run = json.loads((FOLDER / "run.json").read_text(encoding="utf-8"))
    assert run["command"].startswith("minigpt4v train --preset laptop")
    assert len(run["code_revision"]) == 40
    assert run["minutes"] > 1
    assert run["machine"]["processor"]
    history = [json.loads(line) for line in (FOLDER / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    assert history[-1]["step"] == run["steps"]
    assert history[-1]["loss" if "loss" in history[-1] else "held_out_accuracy"] < history[0]["loss"]


def test_it_is_small():
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 10e6


@pytest.mark.parametrize(("split", "goal"), GOALS.items())
def test_the_goals_are_met_on_two_thousand_fresh_scenes(split, goal):
    result = METRICS["splits"][split]
    assert METRICS["scenes"] == result["scenes"] == 2000
    assert result["accuracy"] >= goal
    # it looks: without the right picture it knows no more than one who only hears the questions
    for blindfold in ("blind", "shuffled"):
        assert result["baselines"][blindfold] <= result["baselines"]["text_only"] + 0.02


def test_the_readme_tells_these_numbers():
    for result in METRICS["splits"].values():
        assert f"{result['accuracy']:.1%}" in README
    for family, row in METRICS["splits"]["style"]["families"].items():
        seen = METRICS["splits"]["seen"]["families"][family]
        assert f"| {seen['accuracy']:.1%} | {row['accuracy']:.1%} |" in README, family


@pytest.fixture(scope="module")
def model() -> GPT4V:
    return GPT4V.from_pretrained("laptop")


@pytest.mark.parametrize("split", GOALS)
def test_a_fresh_measurement_agrees_with_the_published_one(model, split):
    world = load_world("core64")
    fresh = evaluate_split(model, world, split, FRESH_SCENES, "tests", TextOnly(world, conversations=2000))
    # 60 scenes are some 900 questions: three standard errors are about 4 points, more where pictures are hard
    assert fresh["accuracy"] == pytest.approx(METRICS["splits"][split]["accuracy"], abs=0.06)
    assert fresh["baselines"]["blind"] < fresh["accuracy"] - 0.3
    assert fresh["baselines"]["shuffled"] < fresh["accuracy"] - 0.3
