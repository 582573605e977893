"""`minigpt4v train`: what a run leaves behind, how it is stopped and goes on, and what it refuses to begin."""

import json
import math
import os
import platform
import signal
import subprocess
import time

import pytest
import torch
from cli_helpers import assert_harmless, invoke, program, refuse, succeed, write_own_data
from PIL import Image

from minigpt4v import __version__, sort_of_clevr
from minigpt4v.checkpoint import checkpoints_in
from minigpt4v.commands import run_folder
from minigpt4v.datasets.sort_of_clevr import generate
from minigpt4v.gpt4v import GPT4V
from minigpt4v.language_model import LanguageModel
from minigpt4v.training import Interrupted


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with my.jsonl, its pictures, and text.txt."""
    monkeypatch.chdir(tmp_path)
    write_own_data(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 100)
    return tmp_path


def record_of(folder):
    return json.loads((folder / "run.json").read_text(encoding="utf-8"))


def history_of(folder):
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def edit_record(folder, **changes):
    record = record_of(folder)
    record["options"] |= changes
    (folder / "run.json").write_text(json.dumps(record))


# What a run leaves behind


def test_a_benchmark_trains_into_a_folder_that_is_a_model(here, monkeypatch):
    monkeypatch.setattr(sort_of_clevr, "load", lambda split: generate(8, seed=1))
    monkeypatch.setattr(sort_of_clevr, "_VALIDATION_PICTURES", 4)
    result = succeed("train", "--dataset", "sort-of-clevr", "--steps", 1, "--labels", "original")
    folder = here / "runs" / "sort-of-clevr"
    assert result.stdout == "runs/sort-of-clevr\n"
    assert "of the held-out answers right" in result.stderr
    assert GPT4V.from_pretrained(folder).config.vision.image_size == 80
    assert history_of(folder)[-1]["kinds"].keys() == {"non_relational", "relational"}
    assert record_of(folder)["options"]["labels"] == "original"
    succeed("train", "--out", folder, "--resume", "--steps", 2)
    assert history_of(folder)[-1]["step"] == 2
    error = refuse("train", "--out", folder, "--resume", "--labels", "fixed")
    assert "--labels 'fixed': the run began with 'original'" in error


def test_a_preset_trains_into_a_folder_that_is_a_model(here):
    result = succeed("train", "--preset", "tiny", "--steps", 2, "--seed", 5)
    folder = here / "runs" / "tiny"
    assert result.stdout == "runs/tiny\n"
    assert "2 steps in" in result.stderr
    assert "of the held-out answers right" in result.stderr
    assert 'To ask it: minigpt4v ask PICTURE "What is in the picture?" --model runs/tiny' in result.stderr
    assert isinstance(GPT4V.from_pretrained(folder), GPT4V)
    assert history_of(folder)[-1]["step"] == 2
    with Image.open(folder / "history.png") as figure:
        assert figure.width > 300
    assert not [path for path in folder.rglob("*") if path.name.startswith(".")]


def test_run_json_says_what_was_done(here):
    succeed(
        "train", "--data", "my.jsonl", "--val", "my.jsonl", "--steps", 3, "--seed", 5, "--out", "a b", "--device", "cpu"
    )
    record = record_of(here / "a b")
    command = "minigpt4v train --data my.jsonl --val my.jsonl --steps 3 --seed 5 --out 'a b' --device cpu"
    assert record["command"] == command
    assert record["version"] == __version__
    assert record["python"] == platform.python_version()
    assert record["torch"] == torch.__version__
    assert record["machine"].keys() == {"system", "processor", "threads", "gpu"}
    assert platform.node() not in json.dumps(record["machine"])
    assert record["steps"] == 3
    assert 0 <= record["minutes"] < 5
    assert record["world"] is None
    assert record["options"]["seed"] == 5
    assert record["options"]["data"] == str(here / "my.jsonl")
    assert len(record["options"]["data_sha256"]) == 64


def test_seeds_are_what_makes_runs_differ(here):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        succeed("train", "--data", "my.jsonl", "--steps", 2, "--seed", seed, "--out", name)
    first, again, other = ((here / name / "model.safetensors").read_bytes() for name in "abc")
    assert first == again != other


def test_without_a_seed_it_is_zero(here):
    succeed("train", "--data", "my.jsonl", "--steps", 2, "--out", "a")
    succeed("train", "--data", "my.jsonl", "--steps", 2, "--out", "b", "--seed", 0)
    assert (here / "a" / "model.safetensors").read_bytes() == (here / "b" / "model.safetensors").read_bytes()


def test_own_data_and_the_model_to_go_on_from(here):
    succeed("train", "--data", "my.jsonl", "--steps", 2)
    base = GPT4V.from_pretrained("runs/my")
    result = succeed(
        "train", "--data", "my.jsonl", "--val", "my.jsonl", "--from", "runs/my", "--steps", 2, "--out", "more"
    )
    assert "of the held-out answers right" in result.stderr
    assert GPT4V.from_pretrained("more").tokenizer == base.tokenizer
    assert record_of(here / "more")["options"]["start"] == str(here / "runs" / "my")


def test_minutes_end_a_run(here):
    for arguments in (["--data", "my.jsonl"], ["--preset", "tiny"]):
        folder = here / arguments[1]
        succeed("train", *arguments, "--minutes", 0.005, "--out", f"{folder}.run")
        assert history_of(here / f"{arguments[1]}.run")[-1]["seconds"] < 30


@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
def test_a_text_makes_a_language_model(here, tokenizer):
    result = succeed("train", "--data", "text.txt", "--tokenizer", tokenizer, "--steps", 2, "--out", "lm")
    assert 'minigpt4v write "Once" --model lm --temperature 0.8' in result.stderr
    assert "held-out loss" in result.stderr
    assert type(LanguageModel.load("lm").tokenizer).file_type == tokenizer
    assert {path.name for path in (here / "lm").iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}


def test_a_text_may_be_measured_on_another(here):
    (here / "other.txt").write_text("the mat sat on the cat. " * 30)
    succeed("train", "--data", "text.txt", "--val", "other.txt", "--steps", 2, "--out", "lm")
    assert record_of(here / "lm")["options"]["tokenizer"] == "bpe"


# Stopping and going on


def test_ctrl_c_saves_and_resume_goes_on(here):
    process = program("train", "--data", "my.jsonl", "--steps", 100_000, "--out", "run", cwd=here)
    history = here / "run" / "history.jsonl"
    deadline = time.monotonic() + 120
    while not (history.exists() and history.stat().st_size) and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=120)
    assert (process.returncode, stdout) == (130, b"")
    assert stderr.decode().endswith("Stopped; everything is saved. To go on: minigpt4v train --out run --resume\n")
    assert b"Traceback" not in stderr

    (checkpoint,) = checkpoints_in(here / "run")
    done = int(checkpoint.name.split("-")[1])
    assert 0 < done < 100_000
    GPT4V.from_pretrained(here / "run")
    before, minutes = history_of(here / "run"), record_of(here / "run")["minutes"]

    succeed("train", "--out", "run", "--resume", "--steps", done + 30)
    after = history_of(here / "run")
    assert after[: len(before)] == before
    assert after[-1]["step"] == done + 30
    record = record_of(here / "run")
    assert record["minutes"] >= minutes
    assert record["steps"] == done + 30
    assert record["options"]["steps"] == done + 30
    assert (here / "run" / "history.png").exists()


def test_a_resumed_run_ends_where_an_unbroken_one_does(here, monkeypatch):
    succeed("train", "--data", "my.jsonl", "--steps", 6, "--out", "whole")

    from minigpt4v.training import Trainer

    train_step = Trainer.train_step

    def stop_after_three(self):
        totals = train_step(self)
        self._interrupted = self.step == 3
        return totals

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", stop_after_three)
        assert invoke("train", "--data", "my.jsonl", "--steps", 6, "--out", "broken").exit_code == 130
    assert checkpoints_in(here / "broken")[-1].name == "step-00000003"
    taken = []
    monkeypatch.setattr(Trainer, "train_step", lambda self: taken.append(self.step) or train_step(self))
    succeed("train", "--out", "broken", "--resume")
    assert taken == [3, 4, 5]
    assert (here / "broken" / "model.safetensors").read_bytes() == (here / "whole" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("what", [["--preset", "tiny"], ["--data", "text.txt"]])
def test_ctrl_c_before_anything_is_saved(here, monkeypatch, what):
    def stop(self, resume=False):
        raise Interrupted(0)

    monkeypatch.setattr("minigpt4v.presets.PresetRun.train", stop)
    monkeypatch.setattr("minigpt4v.own_data.TextRun.train", stop)
    result = invoke("train", *what, "--steps", 1, "--out", "run")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == (
        "Stopped; it was too early to save anything. To go on: minigpt4v train --out run --resume\n"
    )
    monkeypatch.undo()
    os.chdir(here)
    succeed("train", "--out", "run", "--resume", "--device", "cpu")


@pytest.mark.parametrize(
    ("stream", "step", "saved", "said"),
    [
        ("NamingStream", 0, False, "Nothing was saved yet: beginning again."),
        ("NamingStream", 2, True, "Going on after step 2 of naming."),
        ("SceneStream", 0, True, "Going on after step 3 of naming."),
        ("SceneStream", 2, True, "Going on after step 2."),
    ],
)
def test_a_preset_is_stopped_in_any_stage_and_goes_on(here, monkeypatch, stream, step, saved, said):
    from minigpt4v import presets
    from minigpt4v.training import Trainer

    kind, ask = getattr(presets, stream), Trainer._agree

    def stop_there(self):
        return ask(self) or (self.step == step and type(self.stream) is kind)

    def refuse_to_begin(self):
        if step == 0 and type(self.stream) is kind:
            raise Interrupted(0)
        return run(self)

    run = Trainer.run
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_agree", stop_there)
        patch.setattr(Trainer, "run", refuse_to_begin)
        stopped = invoke("train", "--preset", "tiny", "--steps", 3, "--out", "run")
    assert stopped.exit_code == 130
    assert ("everything is saved" if saved else "it was too early to save anything") in stopped.stderr
    assert said in succeed("train", "--out", "run", "--resume").stderr
    assert history_of(here / "run")[-1]["step"] == 3


def test_a_benchmark_goes_on_behind_its_first_stage(here, monkeypatch):
    monkeypatch.setattr(sort_of_clevr, "load", lambda split: generate(8, seed=1))
    monkeypatch.setattr(sort_of_clevr, "_VALIDATION_PICTURES", 4)

    def stop(self):
        raise Interrupted(0)

    with monkeypatch.context() as patch:
        patch.setattr(sort_of_clevr.SortOfClevrRun, "_measure", stop)
        assert invoke("train", "--dataset", "sort-of-clevr", "--steps", 1, "--out", "run").exit_code == 130
    monkeypatch.setattr(sort_of_clevr.SingleThingStream, "batch", lambda *_: pytest.fail("that is learned"))
    assert "Going on after step 1 of looking." in succeed("train", "--out", "run", "--resume").stderr


def test_resume_of_a_finished_run_changes_nothing(here):
    succeed("train", "--data", "my.jsonl", "--steps", 2, "--out", "run")
    before = (here / "run" / "model.safetensors").read_bytes(), history_of(here / "run")
    succeed("train", "--out", "run", "--resume")
    assert ((here / "run" / "model.safetensors").read_bytes(), history_of(here / "run")) == before


def test_resume_finds_its_data_from_another_folder(here, monkeypatch):
    succeed("train", "--data", "my.jsonl", "--steps", 2, "--out", "run")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    succeed("train", "--data", "../my.jsonl", "--out", "../run", "--resume", "--steps", 3, "--seed", 0)
    assert history_of(here / "run")[-1]["step"] == 3


def test_resume_by_the_name_of_the_preset(here):
    succeed("train", "--preset", "tiny", "--steps", 1)
    succeed("train", "--preset", "tiny", "--resume", "--steps", 2)
    assert record_of(here / "runs" / "tiny")["command"] == "minigpt4v train --preset tiny --steps 1"


# What is refused before anything is done


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "nothing says what to train: give --preset tiny, or your own data"),
        (["--preset", "huge"], "'huge' is not one of 'tiny', 'laptop', 'gpu'"),
        (["--preset", "tiny", "--data", "my.jsonl"], "give one of them"),
        (["--preset", "tiny", "--dataset", "sort-of-clevr"], "--preset and --dataset each say what to train on"),
        (["--preset", "tiny", "--labels", "fixed"], "--labels goes with --dataset, not with --preset"),
        (["--dataset", "sort-of-clevr", "--tokenizer", "bpe"], "--tokenizer goes with --data, not with --dataset"),
        (["--preset", "tiny", "--val", "my.jsonl"], "--val goes with --data, not with --preset"),
        (["--preset", "tiny", "--from", "laptop"], "--from goes with --data"),
        (["--preset", "tiny", "--tokenizer", "bpe"], "--tokenizer goes with --data"),
        (["--preset", "tiny", "--allow-outside"], "--allow-outside goes with --data"),
        (["--preset", "tiny", "--minutes", "0"], "minutes is 0.0: give a number above 0"),
        (["--preset", "tiny", "--minutes", "-3"], "minutes is -3.0"),
        (["--preset", "tiny", "--minutes", "nan"], "minutes is nan"),
        (["--preset", "tiny", "--minutes", "inf"], "minutes is inf"),
        (["--preset", "tiny", "--minutes", "soon"], "'soon' is not a valid float"),
        (["--preset", "tiny", "--steps", "0"], "0 is not in the range x>=1"),
        (["--preset", "tiny", "--steps", "1.5"], "'1.5' is not a valid integer"),
        (["--preset", "tiny", "--seed", "-1"], "-1 is not in the range"),
        (["--preset", "tiny", "--seed", str(2**31)], "is not in the range"),
        (["--preset", "tiny", "--device", "tpu"], "'tpu' is not one of"),
        (["--data", "nowhere.jsonl"], "there is no file 'nowhere.jsonl'"),
        (["--data", "nowhere.txt"], "there is no file 'nowhere.txt'"),
        (["--data", "evil\x1b[31m.txt"], r"'evil\x1b[31m.txt'"),
        (["--data", "red.png"], "'red.png' is no data file by its name"),
        (["--data", "my.jsonl", "--val", "text.txt"], "is of another kind than --data: both must end in .jsonl"),
        (["--data", "my.jsonl", "--tokenizer", "char"], "--tokenizer is for a plain text"),
        (["--data", "my.jsonl", "--from", "gpt5"], "no model at 'gpt5'"),
        (["--data", "text.txt", "--from", "laptop"], "--from is for conversations"),
        (["--data", "text.txt", "--tokenizer", "words"], "'words' is not one of 'bpe', 'char'"),
        (["--data", "short.txt"], "too short for a context of 128"),
        (["--data", "text.txt", "--val", "short.txt"], "too short for a context of 128"),
        (["--data", "text.txt", "--val", "other.txt", "--tokenizer", "char"], "character 'X'"),
        (["--data", "empty.txt"], "is empty"),
        (["--data", "binary.txt"], "is not UTF-8 text"),
        (["--preset", "tiny", "--out", "full"], "--out 'full' is not empty: name a new folder"),
        (["--preset", "tiny", "--out", "text.txt"], "--out 'text.txt' is a file"),
        (["--preset", "tiny", "--out", "text.txt/run"], "cannot be made"),
        (["--resume"], "--resume needs to know which run: name its folder with --out"),
        (["--resume", "--out", "full"], "'full' is no training run"),
        (["--resume", "--out", "nowhere"], "'nowhere' is no training run"),
        (["--resume", "--preset", "gpu"], "'runs/gpu' is no training run"),
        (["--resume", "--out", "odd"], "'odd' is no training run"),
    ],
)
def test_bad_options(here, arguments, fault):
    (here / "short.txt").write_text("too short")
    (here / "empty.txt").write_text("")
    (here / "other.txt").write_text("XYZ " * 100)
    (here / "binary.txt").write_bytes(b"\xfa\xfb" * 100)
    for folder, name in (("full", "notes.txt"), ("odd", "run.json")):
        (here / folder).mkdir()
        (here / folder / name).write_text("[]")
    before = sorted(here.rglob("*"))
    if "--resume" not in arguments and "--out" not in arguments:
        arguments = [*arguments, "--out", "run"]
    assert fault in refuse("train", *arguments)
    assert sorted(here.rglob("*")) == before


def test_a_run_is_not_overwritten(here):
    succeed("train", "--data", "my.jsonl", "--steps", 2, "--out", "run")
    before = (here / "run" / "model.safetensors").read_bytes()
    error = refuse("train", "--data", "my.jsonl", "--steps", 2, "--out", "run")
    assert "--out 'run' is not empty: add --resume to go on with it" in error
    assert (here / "run" / "model.safetensors").read_bytes() == before


def test_an_empty_folder_may_be_used(here):
    (here / "run").mkdir()
    succeed("train", "--data", "my.jsonl", "--steps", 1, "--out", "run")


@pytest.mark.skipif(os.name == "nt" or not hasattr(os, "geteuid"), reason="needs Unix permissions")
def test_a_folder_that_may_not_be_written_is_refused(here, monkeypatch):
    monkeypatch.setattr(run_folder.os, "access", lambda path, mode: False)  # root may write everywhere
    assert "may not be written to" in refuse("train", "--preset", "tiny", "--out", "run")


def test_every_faulty_line_of_both_files_is_reported(here):
    (here / "my.jsonl").write_text(
        '{"images": ["red.png"], "turns": []}\n{"images": ["no.png"], "turns": [{"answer": "x"}]}'
    )
    (here / "val.jsonl").write_text("{")
    result = invoke("train", "--data", "my.jsonl", "--val", "val.jsonl", "--out", "run")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["my.jsonl:1", "my.jsonl:2", "val.jsonl:1", "Error"]
    assert (
        lines[-1] == "Error: my.jsonl has 2 faulty lines and val.jsonl has 1 faulty line: correct what is listed above"
    )
    assert not (here / "run").exists()


def test_conversations_that_are_too_long_are_reported_by_line(here):
    turn = {"question": "Why?", "answer": "because " * 3000}
    (here / "long.jsonl").write_text("\n\n" + json.dumps({"images": ["red.png"], "turns": [turn]}))
    result = invoke("train", "--data", "long.jsonl", "--out", "run")
    assert result.exit_code == 2
    assert result.stderr.startswith("line:3: has ")
    assert "Error: 1 conversations are too long: line 3 has" in result.stderr
    assert not (here / "run").exists()


@pytest.mark.parametrize(
    "content",
    [
        *('{"options": [], "minutes": 0}', '{"options": {}, "minutes": "0"}', '{"options": {}}', "\xff", None),
        *("[" * 100_000, '{"options": {}, "minutes": NaN}', '{"options": {}, "minutes": 1' + "0" * 400 + "}"),
        *('{"options": {}, "minutes": true}', '{"options": {}, "minutes": -1}'),
    ],
)
def test_a_folder_without_a_usable_record_is_no_run(here, content):
    (here / "run").mkdir()
    if content is not None:
        (here / "run" / "run.json").write_text(content, encoding="latin-1")
    assert "'run' is no training run (it has no usable run.json)" in refuse("train", "--resume", "--out", "run")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_in_the_folder_of_a_run_are_not_waited_for(here):
    (here / "run").mkdir()
    os.mkfifo(here / "run" / "run.json")
    assert "is no training run" in refuse("train", "--resume", "--out", "run")
    os.mkfifo(here / "data.txt")
    (here / "run" / "run.json").unlink()
    (here / "run" / "run.json").write_text(json.dumps({"options": {"data": "data.txt", "steps": 3}, "minutes": 1}))
    assert "is a pipe, socket or device" in refuse("train", "--resume", "--out", "run")


@pytest.mark.parametrize("value", [[[["x"] * 50] * 50] * 50, "x" * 70_000])
def test_a_damaged_option_is_quoted_in_short(here, value):
    (here / "run").mkdir()
    (here / "run" / "run.json").write_text(json.dumps({"options": {"seed": value}, "minutes": 1}))
    said = refuse("train", "--resume", "--out", "run")
    assert "run.json of this run is damaged: 'seed' cannot be " in said
    assert len(said) < 1000


@pytest.fixture
def finished(here):
    succeed("train", "--data", "my.jsonl", "--steps", 1, "--out", "run")
    return here / "run"


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--preset", "tiny"], "--preset 'tiny': the run began without it"),
        (["--data", "text.txt"], "text.txt': the run began with '"),
        (["--seed", "7"], "--seed 7: the run began with 0"),
        (["--from", "laptop"], "--from 'laptop': the run began without it"),
        (["--allow-outside"], "--allow-outside True: the run began without it"),
        (["--steps", "0"], "is not in the range"),
        (["--minutes", "-1"], "minutes is -1.0"),
    ],
)
def test_a_run_goes_on_as_it_began_or_not_at_all(finished, arguments, fault):
    before = (finished / "run.json").read_bytes()
    assert fault in refuse("train", "--resume", "--out", finished, *arguments)
    assert (finished / "run.json").read_bytes() == before


def test_a_run_does_not_go_on_with_other_data(finished):
    with (finished.parent / "my.jsonl").open("a") as file:
        file.write("\n")
    assert "my.jsonl' has changed since the run began" in refuse("train", "--resume", "--out", finished)
    (finished.parent / "my.jsonl").unlink()
    assert "my.jsonl' cannot be read (No such file or directory)" in refuse("train", "--resume", "--out", finished)


@pytest.mark.parametrize(
    "change",
    [{"seed": "0"}, {"steps": [1]}, {"minutes": "long"}, {"data": 5}, {"allow_outside": "yes"}, {"preset": {}}],
    ids=str,
)
def test_a_damaged_record_is_refused(finished, change):
    edit_record(finished, **change)
    error = refuse("train", "--resume", "--out", finished)
    assert "run.json of this run is damaged" in error
    assert next(iter(change)) in error


@pytest.mark.parametrize(
    "change", [{"preset": "huge", "data": None}, {"steps": -4}, {"minutes": math.inf, "steps": None}], ids=str
)
def test_a_record_with_values_out_of_range_is_refused(finished, change):
    edit_record(finished, **change)
    refuse("train", "--resume", "--out", finished)


def test_a_damaged_checkpoint_is_refused(finished):
    (checkpoint,) = checkpoints_in(finished)
    (checkpoint / "weights.safetensors").write_bytes(b"nothing")
    assert "is not a checkpoint of this run" in refuse("train", "--resume", "--out", finished, "--steps", "3")


def test_a_loss_that_is_no_number_ends_with_a_sentence(here, monkeypatch):
    monkeypatch.setattr("torch.nn.functional.cross_entropy", lambda logits, labels, **_: logits.sum(-1) * math.nan)
    assert "the loss of step 1 is not a finite number" in refuse(
        "train", "--data", "my.jsonl", "--steps", 2, "--out", "run", code=1
    )


def test_a_full_disk_ends_with_a_sentence(here, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minigpt4v.training.save_checkpoint", fail)
    result = invoke("train", "--data", "my.jsonl", "--steps", 2, "--out", "run")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-2:] == [
        "To go on: minigpt4v train --out run --resume",
        "Error: the disk is full: make room, and try again",
    ]


def test_pictures_outside_may_be_allowed(here):
    (here / "sub").mkdir()
    (here / "sub" / "my.jsonl").write_text(json.dumps({"images": ["../red.png"], "turns": [{"answer": "red"}]}))
    assert "1 faulty line" in invoke("train", "--data", "sub/my.jsonl", "--steps", 1).stderr
    succeed("train", "--data", "sub/my.jsonl", "--steps", 1, "--allow-outside")
    succeed("train", "--data", "sub/my.jsonl", "--steps", 2, "--resume")  # what was allowed stays so


# The record of the code and the machine


def test_the_revision_of_the_code(tmp_path, monkeypatch):
    monkeypatch.setattr(run_folder, "PACKAGE_FOLDER", tmp_path / "minigpt4v")
    assert run_folder.code_revision() is None  # an installed library
    environment = os.environ | {
        f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }

    def git(*arguments):
        command = ["git", "-C", str(tmp_path), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    git("init")
    assert run_folder.code_revision() is None  # nothing is committed
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "first", "--no-verify")
    assert run_folder.code_revision() == git("rev-parse", "HEAD")
    (tmp_path / "code.py").write_text("2")
    assert run_folder.code_revision() == git("rev-parse", "HEAD") + "-changed"


def test_the_processor_where_there_is_no_proc(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert run_folder._processor() == platform.processor() or platform.machine()


def test_only_the_first_of_several_processes_writes(here, monkeypatch):
    monkeypatch.setattr("minigpt4v.commands.train.is_main_process", lambda: False)
    (here / "run").mkdir()
    (here / "run" / "run.json").write_text("{}")  # the first process has been here
    result = succeed("train", "--data", "my.jsonl", "--steps", 1, "--out", "run")
    assert result.stdout == ""
    assert (here / "run" / "run.json").read_text() == "{}"
    monkeypatch.setenv("RANK", "1")
    assert not run_folder.is_main_process()
    monkeypatch.delenv("RANK")
    assert run_folder.is_main_process()


@pytest.mark.parametrize("content", [None, "{", "[]", '{"world": 5}'])
def test_the_world_of_a_model_that_does_not_say(tmp_path, content):
    if content:
        (tmp_path / "run.json").write_text(content)
    assert run_folder.world_of(tmp_path) is None


def test_names_with_control_characters_are_written_harmlessly(here):
    result = succeed("train", "--data", "my.jsonl", "--steps", 1, "--out", "run\x1b[31m")
    assert_harmless(result.output)
