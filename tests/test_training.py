"""training.py: gradients against plain PyTorch, runs that stop and go on, and two processes that do the work of one."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from small_models import close, pictures, small_gpt4v
from torch import nn
from two_processes import (
    PressedBy,
    clock,
    gradients,
    long_losses,
    mean_gradients,
    sharded_losses,
    text_objective,
    text_stream,
    text_trainer,
)

from minigpt4v import training
from minigpt4v.checkpoint import checkpoints_in
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.streams import pack_batch, share
from minigpt4v.naming import NamingObjective
from minigpt4v.objectives import AnswerObjective
from minigpt4v.training import Interrupted, Trainer, TrainingSettings, make_optimizers, rate_at
from minigpt4v.vision import VisionConfig, make_encoder

# -- problems to learn ------------------------------------------------------------------------------------------------


class Line(nn.Module):
    """Fits y = 2x. A batch may hold a `factor` for its loss, and a `trap` whose gradient is no number."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        nn.init.constant_(self.layer.weight, 0.5)
        nn.init.constant_(self.layer.bias, 0.1)

    def forward(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        error = (self.layer(batch["x"]) - batch["y"]).abs()
        loss = error.square().sum() * batch["factor"]
        if batch["trap"]:
            loss = loss + (0 * self.layer.weight.sum()).sqrt()  # 0, with the slope 0 * infinity
        return loss, (error < 0.1).sum()


class Points:
    """Seven points a step, so that two or three parts are not of one size; `factors` and `traps` by step."""

    def __init__(self, factors: dict[int, float] | None = None, traps: tuple[int, ...] = ()):
        self.factors, self.traps = factors or {}, traps
        self.asked: list[tuple[int, int, int]] = []

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict:
        self.asked.append((step, part, parts))
        mine = share(7, part, parts)
        x = torch.rand(7, 1, generator=torch.Generator().manual_seed(step))[mine.start : mine.stop]
        factor = self.factors.get(step, 1.0)
        return {"x": x, "y": 2 * x, "factor": factor, "trap": step in self.traps, "count": len(x)}


def line_trainer(stream=None, folder: Path | None = None, **changes) -> Trainer:
    settings = {"steps": 20, "warmup_steps": 1, "log_every": 5, "checkpoint_every": 5} | changes
    more = {name: settings.pop(name) for name in ("evaluate", "on_save") if name in settings}
    return Trainer(Line(), stream or Points(), TrainingSettings(**settings), folder=folder, **more)


class Conversations:
    """Noise pictures, each with two conversations."""

    def __init__(self, encoder: ConversationEncoder):
        self.encoder = encoder

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict:
        about = [(Turn("What?", f"A {step % 3}."),), (Turn("猫？", "有。"), Turn("Where?", "Left."))]
        mine = share(4, part, parts)
        images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(step))[mine.start : mine.stop]
        return pack_batch([about] * len(mine), self.encoder, torch.device("cpu")) | {"images": images}


class Names:
    """Pictures of one colour and its number at every place, for a NamingObjective."""

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict:
        mine = share(6, part, parts)
        colours = torch.randint(3, (6,), generator=torch.Generator().manual_seed(step))[mine.start : mine.stop]
        images = torch.eye(3)[colours][:, :, None, None].expand(-1, 3, 16, 16)
        return {"images": images, "labels": colours[:, None].expand(-1, 5), "count": 5 * len(mine)}


def make_problem(kind: str) -> tuple[nn.Module, object]:
    if kind == "text":
        return text_objective(dropout=0.1), text_stream()
    torch.manual_seed(0)
    if kind == "seeing":
        model = small_gpt4v("conv")
        return AnswerObjective(model), Conversations(ConversationEncoder(model.tokenizer, model.tokens_per_image))
    encoder = make_encoder(VisionConfig(width=8, image_size=16, patch_size=8, channels=(4, 6)))
    return NamingObjective(encoder, 3, 8), Names()


PROBLEMS = ("text", "seeing", "naming")


def weights_of(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.objective.state_dict().items()}


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def timeless(history: list[dict]) -> list[dict]:
    return [{name: value for name, value in entry.items() if name != "seconds"} for entry in history]


def file_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


# -- learning ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", PROBLEMS)
def test_training_makes_the_loss_small(kind):
    objective, stream = make_problem(kind)
    history = Trainer(objective, stream, TrainingSettings(steps=40, warmup_steps=5, log_every=5)).run()
    assert [entry["step"] for entry in history] == list(range(5, 41, 5))
    assert history[-1]["loss"] < 0.75 * history[0]["loss"]
    assert kind == "seeing" or history[-1]["training_accuracy"] > history[0]["training_accuracy"]
    assert not objective.training


def test_the_history_holds_means_over_all_that_was_seen():
    """Loss and accuracy of the entries, added up by hand over the steps since the entry before."""
    history = line_trainer(log_every=3, steps=8, learning_rate=1e-9, accumulate=2).run()
    assert [entry["step"] for entry in history] == [3, 6, 8]
    objective = Line()
    for entry, steps in zip(history, (range(3), range(3, 6), range(6, 8)), strict=True):
        results = [objective(Points().batch(step)) for step in steps]
        assert entry["loss"] == pytest.approx(sum(loss.item() for loss, _ in results) / (7 * len(steps)), abs=1e-4)
        assert entry["training_accuracy"] == pytest.approx(
            sum(right.item() for _, right in results) / (7 * len(steps)), abs=1e-4
        )


# -- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_the_gradient_is_that_of_the_mean_over_the_whole_batch(parts):
    stream = Points()
    found = gradients(line_trainer(stream, accumulate=parts, clip=1000.0))
    assert stream.asked == [(0, part, parts) for part in range(parts)]
    for mine, expected in zip(found, mean_gradients(Line(), Points().batch(0)), strict=True):
        close(mine, expected, 1e-6)


@pytest.mark.parametrize("parts", [1, 4])
def test_the_gradient_of_a_transformer_too(parts):
    expected = mean_gradients(text_objective(), text_stream().batch(0))
    for mine, other in zip(gradients(text_trainer(accumulate=parts)), expected, strict=True):
        close(mine, other, 1e-6)


@pytest.mark.parametrize("trainer", [line_trainer, text_trainer])
def test_a_run_in_four_parts_is_the_run_in_one(trainer):
    """Equal within rounding. (Muon rounds to bfloat16 inside, so the transformer's runs may drift a little.)"""
    histories = [trainer(accumulate=parts, steps=12).run() for parts in (1, 4)]
    for one, four in zip(*histories, strict=True):
        assert one["loss"] == pytest.approx(four["loss"], rel=2e-3)


def test_a_batch_without_answers_is_refused():
    class Nothing(Points):
        def batch(self, step: int, part: int = 0, parts: int = 1) -> dict:
            batch = super().batch(step, part, parts)
            return batch | {"x": batch["x"][:0], "y": batch["y"][:0], "count": 0}

    trainer = line_trainer(Nothing())
    with pytest.raises(ValueError, match="batch 0 has nothing to learn from: every part of a batch needs an answer"):
        trainer.train_step()


@pytest.mark.parametrize("clip", [0.01, 1000.0])
def test_long_gradients_are_shortened_and_short_ones_are_not(clip):
    found = torch.cat([gradient.flatten() for gradient in gradients(line_trainer(clip=clip))])
    whole = torch.cat([gradient.flatten() for gradient in mean_gradients(Line(), Points().batch(0))])
    assert found.norm().item() == pytest.approx(min(clip, whole.norm().item()), rel=1e-3)
    close(found / found.norm(), whole / whole.norm(), 1e-4)


def test_bfloat16_runs_and_stays_close_and_the_weights_stay_exact():
    """One process runs first with, then without, then with bfloat16."""
    losses, dtypes = {}, []
    for precision in ("bf16", "no", "bf16"):
        trainer = text_trainer(precision=precision, steps=15)
        layer = trainer.accelerator.unwrap_model(trainer.objective).model.blocks[0].attention.query
        hook = layer.register_forward_hook(lambda *call: dtypes.append(call[-1].dtype))
        losses[precision] = [entry["loss"] for entry in trainer.run()]
        hook.remove()
        assert {parameter.dtype for parameter in trainer.objective.parameters()} == {torch.float32}
    assert dtypes == [torch.bfloat16] * 15 + [torch.float32] * 15 + [torch.bfloat16] * 15
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.05)
    assert losses["bf16"] != losses["no"]
    assert losses["no"][-1] < 0.9 * losses["no"][0]


# -- settings ---------------------------------------------------------------------------------------------------------


def test_the_largest_seed_works():
    assert len(line_trainer(seed=2**32 - 1, steps=5).run()) == 1


def test_the_optimisers_follow_the_schedule():
    objective, stream = make_problem("seeing")
    settings = TrainingSettings(steps=10, warmup_steps=4, decay_share=0.5, learning_rate=1e-3, encoder_rate=0.1)
    trainer = Trainer(objective, stream, settings)
    for step in range(10):
        trainer.train_step()
        factor = rate_at(step / 10, step, settings)
        adamw, muon = trainer.optimizers
        assert [group["lr"] for group in adamw.param_groups] == pytest.approx([1e-3 * factor, 1e-4 * factor])
        assert [group["lr"] for group in muon.param_groups] == pytest.approx([0.02 * factor])


# -- optimisers -------------------------------------------------------------------------------------------------------


def test_it_learns_with_adamw_alone():
    objective, stream = make_problem("text")
    settings = TrainingSettings(steps=40, warmup_steps=5, log_every=5, optimizer="adamw", matrix_learning_rate=3e-3)
    history = Trainer(objective, stream, settings).run()
    assert history[-1]["loss"] < 0.75 * history[0]["loss"]


def test_batch_norm_sees_one_part_at_a_time():
    """What `train_step` warns of: with stored statistics four parts are the whole, with those of the batch not."""
    different = {}
    for training_mode in (False, True):
        found = []
        for parts in (1, 4):
            objective, stream = make_problem("seeing")
            trainer = Trainer(objective.train(training_mode), stream, TrainingSettings(steps=1, accumulate=parts))
            found.append(torch.cat([gradient.flatten() for gradient in gradients(trainer)]))
        different[training_mode] = ((found[0] - found[1]).norm() / found[0].norm()).item()
    assert different[False] < 1e-4
    assert different[True] > 1e-2


def test_a_model_without_blocks_needs_only_adamw():
    (adamw,) = make_optimizers(Line(), TrainingSettings(steps=1, learning_rate=0.01))
    assert [(len(group["params"]), group["lr"]) for group in adamw.param_groups] == [(2, 0.01)]


def test_naming_trains_the_encoder_and_its_classifier():
    objective, _ = make_problem("naming")
    (adamw,) = make_optimizers(objective, TrainingSettings(steps=1, learning_rate=0.01, encoder_rate=0.5))
    classifier, encoder = adamw.param_groups
    assert [id(each) for each in classifier["params"]] == [id(objective.classifier.weight)]
    assert len(encoder["params"]) == len(list(objective.encoder.parameters()))
    assert (classifier["lr"], encoder["lr"]) == (0.01, 0.005)


# -- the loop ---------------------------------------------------------------------------------------------------------


def test_what_happens_when(tmp_path):
    seen = []
    trainer = line_trainer(
        folder=tmp_path,
        steps=11,
        log_every=4,
        evaluate_every=5,
        checkpoint_every=3,
        evaluate=lambda: seen.append(("evaluate", trainer.step, trainer.objective.training)) or {"held_out": 0.5},
        on_save=lambda: seen.append(("save", trainer.step, len(checkpoints_in(tmp_path)))),
    )
    history = trainer.run()
    assert seen == [
        ("save", 3, 1),
        ("evaluate", 5, False),
        ("save", 6, 1),
        ("save", 9, 1),
        ("evaluate", 10, False),
        ("evaluate", 11, False),
        ("save", 11, 1),
    ]
    assert [(entry["step"], "loss" in entry, "held_out" in entry) for entry in history] == [
        (4, True, False),
        (5, False, True),
        (8, True, False),
        (10, False, True),
        (11, True, False),
        (11, False, True),
    ]
    assert file_of(tmp_path) == history
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-00000011"]


def test_a_run_that_died_after_its_last_checkpoint_writes_its_model_when_resumed(tmp_path):
    line_trainer(folder=tmp_path).run()
    seen = []
    resumed = line_trainer(folder=tmp_path, on_save=lambda: seen.append(resumed.objective.layer.weight.item()))
    assert resumed.resume() == 20
    resumed.run()
    assert seen == [resumed.objective.layer.weight.item()]


def test_evaluation_leaves_the_model_in_training():
    modes = []

    class Watch(Points):
        def batch(self, *place: int) -> dict:
            modes.append(trainer.objective.training)
            return super().batch(*place)

    trainer = line_trainer(Watch(), steps=6, evaluate_every=2, evaluate=dict)
    trainer.run()
    assert modes == [True] * 6
    assert not trainer.objective.training


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = line_trainer(on_save=lambda: pytest.fail("there is nowhere to save"))
    assert len(trainer.run()) == 4
    assert trainer.resume() == 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("steps", "done"), [(None, 10), (4, 4), (40, 10)])
def test_training_ends_by_steps_or_by_the_clock(monkeypatch, steps, done):
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=clock(1.0).__next__))
    trainer = line_trainer(steps=steps, minutes=10 / 60, decay_share=1.0)
    rates = []
    monkeypatch.setattr(trainer, "_log", lambda *_: rates.append(trainer.optimizers[0].param_groups[0]["lr"]))
    trainer.run()
    assert (trainer.step, trainer.seconds) == (done, done)
    if steps is None:
        assert rates == pytest.approx([3e-3 * 0.6, 3e-3 * 0.1])  # of steps 5 and 10, which began after 4 and 9 seconds


def test_a_run_is_the_same_every_time():
    runs = [text_trainer() for _ in range(2)]
    histories = [runs[0].run()]
    torch.rand(5)
    histories.append(runs[1].run())
    assert timeless(histories[0]) == timeless(histories[1])
    assert same(weights_of(runs[0]), weights_of(runs[1]))


def test_dropout_depends_on_the_seed():
    def losses(seed: int) -> list[float]:
        objective, stream = make_problem("text")
        settings = TrainingSettings(steps=4, log_every=1, seed=seed)
        return [entry["loss"] for entry in Trainer(objective, stream, settings).run()]

    assert losses(0) == losses(0) != losses(1)


def test_training_ends_when_enough_is_learned(tmp_path):
    """At the first entry of the history that says so; it is evaluated and saved like every end."""
    whole = line_trainer(steps=60, log_every=4, learning_rate=0.05).run()
    shares = [entry["training_accuracy"] for entry in whole]
    enough = shares[5]
    first = next(number for number, share in enumerate(shares) if share >= enough)
    assert 0 < first < len(shares) - 1

    trainer = line_trainer(
        folder=tmp_path, steps=60, log_every=4, learning_rate=0.05, enough=enough, checkpoint_every=1000
    )
    trainer.evaluate = lambda: {"held_out_accuracy": 0.5}
    history = trainer.run()
    assert trainer.step == 4 * (first + 1)
    assert [entry.get("training_accuracy") for entry in history] == [*shares[: first + 1], None]
    assert history[-1]["held_out_accuracy"] == 0.5
    assert [path.name for path in checkpoints_in(tmp_path)] == [f"step-{trainer.step:08}"]

    again = line_trainer(folder=tmp_path, steps=60, log_every=4, learning_rate=0.05, enough=enough)
    again.resume()
    assert again.is_over
    assert timeless(again.run()) == timeless(history)


# -- stopping and going on --------------------------------------------------------------------------------------------


class Crash(Exception):
    pass


class Crashing:
    """A stream that breaks at one step."""

    def __init__(self, stream, step: int):
        self.stream, self.step = stream, step

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict:
        if step == self.step:
            raise Crash
        return self.stream.batch(step, part, parts)


def problem_trainer(kind: str, folder: Path | None, around=lambda stream: stream) -> Trainer:
    objective, stream = make_problem(kind)
    settings = TrainingSettings(
        steps=20, warmup_steps=5, log_every=5, evaluate_every=10, checkpoint_every=10, accumulate=2
    )
    weight = next(objective.parameters())
    measure = lambda: {"size": float(weight.detach().abs().sum())}  # noqa: E731
    return Trainer(objective, around(stream), settings, folder=folder, evaluate=measure)


@pytest.mark.parametrize("kind", PROBLEMS)
def test_ten_steps_and_ten_more_are_twenty(kind, tmp_path):
    """Bit for bit, the history too, although the first run goes on for four steps after its checkpoint."""
    whole = problem_trainer(kind, tmp_path / "whole")
    whole.run()
    with pytest.raises(Crash):
        problem_trainer(kind, tmp_path / "parts", lambda stream: Crashing(stream, 14)).run()
    torch.rand(3)
    resumed = problem_trainer(kind, tmp_path / "parts")
    assert resumed.resume() == 10
    resumed.run()
    assert same(weights_of(resumed), weights_of(whole))
    assert timeless(resumed.history) == timeless(whole.history)
    assert timeless(file_of(tmp_path / "parts")) == timeless(whole.history)
    for mine, other in zip(resumed.optimizers, whole.optimizers, strict=True):
        for number, state in other.state_dict()["state"].items():
            assert same(dict(mine.state_dict()["state"][number]), dict(state))


def test_time_goes_on_too(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=clock(2.0).__next__))
    with pytest.raises(Crash):
        line_trainer(Crashing(Points(), 8), tmp_path, steps=None, minutes=20 / 60).run()
    monkeypatch.setattr(training, "time", SimpleNamespace(perf_counter=clock(2.0).__next__))
    resumed = line_trainer(folder=tmp_path, steps=None, minutes=20 / 60)
    assert (resumed.resume(), resumed.seconds) == (5, 10.0)
    resumed.run()
    assert (resumed.step, resumed.seconds) == (10, 20.0)


def test_a_finished_run_has_nothing_to_do(tmp_path):
    first = line_trainer(folder=tmp_path)
    first.run()
    second = line_trainer(Crashing(Points(), 0), tmp_path)
    assert second.resume() == 20
    assert second.run() == first.history
    assert same(weights_of(first), weights_of(second))
    assert file_of(tmp_path) == first.history


def test_a_finished_run_can_be_made_longer(tmp_path):
    line_trainer(folder=tmp_path, steps=10).run()
    longer = line_trainer(folder=tmp_path, steps=20)
    assert longer.resume() == 10
    assert [entry["step"] for entry in longer.run()] == [5, 10, 15, 20]


@pytest.mark.parametrize("half_line", ["", '{"step": 15, "sec', "\n", '{"step": 15}{', '{"step": 7, "loss": NaN'])
def test_the_history_is_cut_back_to_the_checkpoint(tmp_path, half_line):
    with pytest.raises(Crash):
        line_trainer(Crashing(Points(), 14), tmp_path, log_every=2, checkpoint_every=10).run()
    path = tmp_path / "history.jsonl"
    assert [entry["step"] for entry in file_of(tmp_path)] == [2, 4, 6, 8, 10, 12, 14]
    path.write_text(path.read_text() + half_line)
    resumed = line_trainer(folder=tmp_path, log_every=2, checkpoint_every=10)
    resumed.resume()
    assert [entry["step"] for entry in resumed.history] == [2, 4, 6, 8, 10]
    assert file_of(tmp_path) == resumed.history
    resumed.run()
    assert [entry["step"] for entry in file_of(tmp_path)] == list(range(2, 21, 2))


def test_a_run_that_died_before_its_first_checkpoint_begins_again(tmp_path):
    with pytest.raises(Crash):
        line_trainer(Crashing(Points(), 4), tmp_path, log_every=1).run()
    assert len(file_of(tmp_path)) == 4
    again = line_trainer(folder=tmp_path, log_every=1)
    assert again.resume() == 0
    again.run()
    assert [entry["step"] for entry in file_of(tmp_path)] == list(range(1, 21))


def test_a_lost_history_does_not_stop_a_run(tmp_path):
    line_trainer(folder=tmp_path, steps=10).run()
    (tmp_path / "history.jsonl").unlink()
    longer = line_trainer(folder=tmp_path, steps=20)
    longer.resume()
    assert [entry["step"] for entry in longer.run()] == [15, 20]


@pytest.mark.parametrize("seconds", ["1", None, -1, float("nan"), 10**400, [1], True])
def test_a_checkpoint_that_does_not_tell_the_time_is_refused(tmp_path, seconds):
    line_trainer(folder=tmp_path).run()
    spoil_state(tmp_path, seconds=seconds)
    with pytest.raises(ValueError, match=r"step-00000020 is damaged: its state.json does not say how far the run was"):
        line_trainer(folder=tmp_path).resume()


@pytest.mark.parametrize("totals", [1, [1, 2], [1, 2, "3"], [1, 2, float("inf")], {"a": 1}, None])
def test_a_checkpoint_with_other_totals_is_refused(tmp_path, totals):
    line_trainer(folder=tmp_path).run()
    spoil_state(tmp_path, totals=totals)
    with pytest.raises(ValueError, match="is damaged"):
        line_trainer(folder=tmp_path).resume()


def spoil_state(folder: Path, **changes) -> None:
    path = folder / "checkpoints" / "step-00000020" / "state.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_scores_of_families_stay_in_the_history(tmp_path):
    scores = {"held_out_accuracy": 0.5, "families": {"what": 0.25}, "loss": float("nan")}
    line_trainer(folder=tmp_path, steps=10, evaluate=lambda: scores).run()
    longer = line_trainer(folder=tmp_path, steps=20)
    longer.resume()
    assert longer.history[-1]["families"] == {"what": 0.25}


def test_another_model_cannot_go_on(tmp_path):
    line_trainer(folder=tmp_path).run()
    with pytest.raises(ValueError, match="step-00000020 is not a checkpoint of this run"):
        text_trainer(tmp_path).resume()


# -- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_ctrl_c_saves_and_the_run_goes_on(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    saves = []
    trainer = line_trainer(PressedBy(Points(), 7), tmp_path, checkpoint_every=500, on_save=lambda: saves.append(1))
    with pytest.raises(Interrupted, match="stopped after step 8") as caught:
        trainer.run()
    assert caught.value.step == 8
    assert signal.getsignal(signal.SIGINT) is handler
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-00000008"]
    assert len(saves) == 1

    whole = line_trainer()
    whole.run()
    resumed = line_trainer(folder=tmp_path)
    assert resumed.resume() == 8
    resumed.run()
    assert same(weights_of(resumed), weights_of(whole))
    assert timeless(resumed.history) == timeless(whole.history)  # the entry of step 10 is a mean over steps 6 to 10
    assert timeless(file_of(tmp_path)) == timeless(whole.history)


def test_the_same_trainer_goes_on_after_ctrl_c():
    """As in a notebook: interrupt the cell, then run it again."""
    trainer = line_trainer(PressedBy(Points(), 7))
    with pytest.raises(Interrupted):
        trainer.run()
    whole = line_trainer()
    whole.run()
    trainer.run()
    assert trainer.step == 20
    assert timeless(trainer.history) == timeless(whole.history)
    assert same(weights_of(trainer), weights_of(whole))


def test_ctrl_c_in_the_last_step_comes_too_late_to_stop(tmp_path):
    history = line_trainer(PressedBy(Points(), 19), tmp_path).run()
    assert history[-1]["step"] == 20


def test_a_second_ctrl_c_stops_at_once(tmp_path):
    handler = signal.getsignal(signal.SIGINT)
    trainer = line_trainer(PressedBy(PressedBy(Points(), 7), 7), tmp_path, checkpoint_every=500)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert trainer.step == 7
    assert checkpoints_in(tmp_path) == []
    assert signal.getsignal(signal.SIGINT) is handler


def test_training_in_a_thread():
    """Signals are for the main thread alone: there is none to catch here."""
    found = []
    thread = threading.Thread(target=lambda: found.append(line_trainer().run()))
    thread.start()
    thread.join()
    assert found[0][-1]["step"] == 20


# -- numbers that are not finite --------------------------------------------------------------------------------------

TOO_HIGH = r"the learning rates \(0.003, 0.02\) are probably too high"


def assert_whole(folder: Path, step: int) -> None:
    """The newest checkpoint is that of the step, and its weights are those of a run that went well until there."""
    trainer = line_trainer(folder=folder)
    assert trainer.resume() == step
    healthy = line_trainer(Crashing(Points(), step))
    with pytest.raises(Crash):
        healthy.run()
    assert same(weights_of(trainer), weights_of(healthy))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_stops_the_run(tmp_path, value):
    """In its own step, whatever is logged; see `test_divergence.py` for the causes that are named."""
    trainer = line_trainer(Points({7: value}), tmp_path, log_every=1)
    with pytest.raises(FloatingPointError, match=r"the loss of step 8 is not a finite number: .* is untouched"):
        trainer.run()
    assert [entry["step"] for entry in file_of(tmp_path)] == [1, 2, 3, 4, 5, 6, 7]
    assert_whole(tmp_path, 5)


def test_a_finite_loss_with_broken_gradients_stops_the_run(tmp_path):
    trainer = line_trainer(Points(traps=(17,)), tmp_path, log_every=100)
    with pytest.raises(FloatingPointError, match="a gradient of step 18 is not a finite number"):
        trainer.run()
    assert_whole(tmp_path, 15)


@pytest.mark.parametrize("stops", ["a checkpoint", "Ctrl-C"])
def test_broken_weights_are_not_saved_after_an_update(tmp_path, stops):
    with pytest.raises(Crash):
        line_trainer(Crashing(Points(), 5), tmp_path).run()
    stream = PressedBy(Points(), 5) if stops == "Ctrl-C" else Points()
    trainer = line_trainer(
        stream,
        tmp_path,
        checkpoint_every=100 if stops == "Ctrl-C" else 1,
        on_save=lambda: pytest.fail("it was saved"),
    )
    weight = trainer.objective.layer.weight
    trainer.optimizers[0].optimizer.register_step_post_hook(lambda *_: weight.data.fill_(math.inf))
    trainer.resume()
    with pytest.raises(FloatingPointError, match=f"a weight is not a finite number after step 6: {TOO_HIGH}"):
        trainer.run()
    assert_whole(tmp_path, 5)


def test_the_handler_of_ctrl_c_is_put_back_after_an_error():
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(FloatingPointError):
        line_trainer(Points({0: math.nan})).run()
    assert signal.getsignal(signal.SIGINT) is handler


# -- several processes ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found_by_two(tmp_path_factory) -> dict:
    """What two processes found, which share every batch (see `two_processes.py`)."""
    folder = tmp_path_factory.mktemp("two")
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as launcher:
        try:
            _, errors = launcher.communicate(timeout=240)
        except subprocess.TimeoutExpired:
            launcher.terminate()  # and not kill: it ends the two processes, which wait for each other
            raise
    assert launcher.returncode == 0, errors
    found = json.loads((folder / "found.json").read_text())
    return found | {"file": file_of(folder / "whole"), "checkpoints": checkpoints_in(folder / "whole")}


def test_two_processes_learn_what_one_learns(found_by_two):
    assert found_by_two["processes"] == 2
    alone = text_trainer().run()
    together = found_by_two["history"]
    assert [entry["step"] for entry in together] == [entry["step"] for entry in alone] == [1, 2, 3, 4, 5, 6]
    for name in ("loss", "training_accuracy"):
        assert [entry[name] for entry in together] == pytest.approx([entry[name] for entry in alone], abs=0.01)
    assert together[0]["loss"] == pytest.approx(alone[0]["loss"], abs=2e-5)


def test_two_processes_follow_the_very_path_of_one(found_by_two):
    alone = long_losses()
    assert len(alone) == 40
    assert alone[-1] < alone[0] - 0.3  # it is a path
    assert found_by_two["long"] == pytest.approx(alone, abs=2e-5)  # the history keeps five digits


@pytest.mark.parametrize(("optimizer", "rounding"), [("adamw", 1e-5), ("muon", 1e-3)])
def test_sharing_out_the_weights_changes_nothing(found_by_two, optimizer, rounding):
    alone = sharded_losses(optimizer, 0, 1)
    assert found_by_two["sharded"][optimizer] == pytest.approx(alone, abs=rounding)


def test_of_two_processes_one_writes(found_by_two):
    assert found_by_two["file"] == found_by_two["history"]
    assert [path.name for path in found_by_two["checkpoints"]] == ["step-00000006"]


def test_two_processes_may_leave_a_parameter_out(found_by_two):
    assert found_by_two["idle"][0] == found_by_two["history"][0]["loss"]
    assert len(found_by_two["idle"]) == 3


def test_two_processes_stop_where_the_loss_of_one_is_no_number(found_by_two):
    """This is what the other one says, whose own numbers were fine."""
    step, sentence = found_by_two["broken"]
    assert step == 0
    assert re.match(
        rf"a gradient of step 1 is not a finite number: {TOO_HIGH}; its batch is stream.batch\(0, 0, 2\)", sentence
    )


def test_two_processes_keep_one_clock(found_by_two):
    assert found_by_two["timed"] == [6, 12.0]


def test_two_processes_stop_together_and_go_on(found_by_two):
    assert found_by_two["interrupted"] == 3
    losses = [entry["loss"] for entry in found_by_two["history"]]
    assert found_by_two["resumed"]["same weights"] is True
    # the run stopped between two entries: that of step 4 is a mean over a step before and a step after
    pairs = [(first + second) / 2 for first, second in zip(losses[::2], losses[1::2], strict=True)]
    assert found_by_two["resumed"]["losses"] == pytest.approx(pairs, abs=2e-5)


def test_pictures_for_the_seeing_problem_fit():
    """The oracle problem above is a real one: its batches are what the model reads."""
    objective, stream = make_problem("seeing")
    loss, right = objective(stream.batch(0))
    assert loss.isfinite()
    assert 0 <= right <= 12
    assert pictures(1).shape[1:] == stream.batch(0)["images"].shape[1:]


def test_training_on_a_processor_keeps_freed_memory(monkeypatch):
    asked = []
    monkeypatch.setattr("minigpt4v.training.keep_freed_memory", lambda: asked.append(True))
    line_trainer()
    assert asked == [True]
