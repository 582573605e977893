"""The demonstration: what it asks, what it says and draws, and how it ends."""

import re
import subprocess
import sys

import pytest
import torch
from cli_helpers import assert_harmless
from click.testing import CliRunner
from PIL import Image

from minigpt4v import demo
from minigpt4v.datasets.conversation import Turn
from minigpt4v.datasets.scenes import load_world
from minigpt4v.evaluation import Example, Prediction
from minigpt4v.gpt4v import GPT4V
from minigpt4v.presets import PRESETS, make_model
from minigpt4v.training import Interrupted

WORLD = load_world("core64")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model that has learnt nothing, and writes names by chance."""
    folder = tmp_path_factory.mktemp("model")
    world = load_world("core16")
    made = make_model(PRESETS["tiny"], world, seed=0)
    with torch.no_grad():
        for noun in world.nouns[: world.trained]:
            made.gpt.head.weight[made.tokenizer.encode(f" {noun.en}")] = torch.randn(made.config.text.width)
    made.save_pretrained(folder)
    (folder / "run.json").write_text('{"world": "core16"}')
    return folder


def show(*arguments):
    result = CliRunner().invoke(demo.main, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# What is asked


def test_scenes_are_of_the_style_that_was_never_seen():
    scenes = demo.demo_scenes(WORLD)
    assert len(scenes) == demo.PICTURES
    assert {thing.style for scene in scenes for thing in scene.objects} == {"twemoji"}
    assert all(len(scene.objects) > 1 for scene in scenes)
    assert scenes == demo.demo_scenes(WORLD)


def test_every_picture_is_asked_about_in_both_languages():
    kinds = set()
    for number, scene in enumerate(demo.demo_scenes(WORLD)):
        turns = demo.demo_questions(WORLD, scene, number)
        assert [turn.family for turn in turns[:2]] == ["caption", "caption"]
        assert [turn.language for turn in turns] == ["en", "zh", "en", "zh", "en"]
        assert len({turn.family for turn in turns[2:]}) == 3
        kinds |= {turn.family for turn in turns}
    assert kinds >= {"where", "how_many", "colour", "relation", "what", "is_there", "caption"}


# What is said and drawn


def test_the_demonstration(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_TINY_SCENES", 6)
    result = show("--model", model, "--minutes", 0.002)
    assert result.exit_code == 0, result.output
    assert_harmless(result.output)
    text = result.stdout
    assert "Pictures drawn in a style it never saw" in text
    assert [f"picture {number}" in text for number in range(1, 7)] == [True] * 6
    answers = re.findall(r"^    ([✓✗]) .* \(\d+% sure(; truth: .+)?\)$", text, re.MULTILINE)
    assert len(answers) == 30
    assert all((mark == "✓") == (truth == "") for mark, truth in answers)
    right = sum(mark == "✓" for mark, _ in answers)
    assert f"\n{right} of 30 right.\n" in text
    assert re.search(r"^0% right before, \d+% after, on 36 questions about fresh pictures", text, re.MULTILINE)
    assert re.search(r"^  question +before +after +truth$", text, re.MULTILINE)
    assert text.index("1. The model") < text.index("2. A small model learns") < text.index("3. Your turn")
    assert f"chat scene.png --model {model}" in text
    assert "make lab" in text
    with Image.open(tmp_path / "demo.png") as figure:
        assert figure.width > 1300
        assert len(figure.convert("RGB").getcolors(2**24)) > 1000
    assert [path.name for path in tmp_path.iterdir()] == ["demo.png"]


def test_right_and_wrong_are_told_apart():
    class Said:
        question, text, confidence = "What is it?", "A Cat", 0.5

    assert demo._marked(Turn("", "a cat."), Said).right
    wrong = demo._marked(Turn("", "a dog."), Said)
    assert (wrong.right, wrong.truth, wrong.confidence) == (False, "a dog.", 0.5)


def test_the_map_is_that_of_a_name_in_the_caption(model):
    loaded = GPT4V.from_pretrained(model)
    chat = loaded.chat(torch.rand(3, 64, 64))
    answer = chat.ask("What is in the picture?")
    names = [chat.model.tokenizer.piece(step.token).strip() for step in answer.steps]
    world = load_world("core16")
    places = [place for place, name in enumerate(names) if name in {noun.en for noun in world.nouns}]
    assert len(places) > 1, "this model should write names"
    looked = chat.looked(answer)
    for number in range(3):
        attention, word = demo._where_it_looked(chat, answer, world, number)
        place = places[number % len(places)]
        assert word == names[place]
        assert torch.equal(attention, looked[place])


def test_an_answer_without_a_name_has_no_map(model):
    chat = GPT4V.from_pretrained(model).chat(torch.rand(3, 64, 64))
    answer = chat.ask("What is in the picture?")
    empty = type(answer)(answer.question, "", ())
    assert demo._where_it_looked(chat, empty, WORLD, 0) == (None, "")


def test_always_guessing_is_counted_per_family():
    turns = [("a", "yes"), ("a", "yes"), ("a", "no"), ("b", "one"), ("b", "two"), ("b", "three"), ("b", "two")]
    examples = [Example(0, Turn("", answer, family)) for family, answer in turns]
    assert demo._guess_share(examples) == pytest.approx(4 / 7)


def test_a_slow_machine_gets_a_word_why_little_was_learned():
    assert "It had time" not in demo._what_was_learned((0.0, 0.5), 0.3, 36, [{"step": 400}])
    assert "It had time for only 40 steps: this machine is slow" in demo._what_was_learned(
        (0.0, 0.2), 0.3, 36, [{"step": 40}]
    )
    assert "for hardly any steps" in demo._what_was_learned((0.0, 0.2), 0.3, 36, [])


def test_long_and_empty_answers_fit_the_table():
    assert demo._short(Prediction("", 1.0)) == "(nothing)"
    assert len(demo._short(Prediction("cow " * 20, 1.0))) == 20


@pytest.mark.parametrize(("installed", "program"), [("minigpt4v", "  minigpt4v ask"), (None, "minigpt4v ask")])
def test_what_to_try_next_can_be_typed(capsys, monkeypatch, installed, program):
    monkeypatch.setattr("shutil.which", lambda name: installed)
    demo._show_next("laptop")
    said = capsys.readouterr().out
    assert program in said
    assert "--model" not in said
    assert "train --preset laptop" in said


# How it ends


def test_ctrl_c_ends_it(model, tmp_path, monkeypatch):
    def stop(self, resume=False):
        raise Interrupted(3)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "_TINY_SCENES", 1)
    monkeypatch.setattr("minigpt4v.presets.PresetRun.train", stop)
    result = show("--model", model)
    assert result.exit_code == 130
    assert result.stderr.endswith("Error: stopped\n")


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--model", "gpt5"], "no model at 'gpt5'"),
        (["--minutes", "0"], "0.0 is not in the range x>0"),
        (["--out", "demo.jpg"], "'demo.jpg': the picture is a PNG"),
        (["--out", "nowhere/demo.png"], "cannot be written"),
    ],
)
def test_bad_input(tmp_path, monkeypatch, arguments, fault):
    monkeypatch.chdir(tmp_path)
    result = show(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")
    assert fault in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_it_is_a_module_that_can_be_run(tmp_path):
    command = [sys.executable, "-m", "minigpt4v.demo", "--model", "gpt5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: no model at 'gpt5'")
