"""checkpoint.py: what is written comes back bit for bit; whatever breaks while writing, a whole checkpoint stays."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_models import small_gpt4v
from torch import nn

from minigpt4v import checkpoint
from minigpt4v.checkpoint import checkpoints_in, load_checkpoint, save_checkpoint, step_of
from minigpt4v.objectives import AnswerObjective
from minigpt4v.training import TrainingSettings, make_optimizers

SETTINGS = TrainingSettings(steps=1)


class Run:
    """A model and its optimisers after some steps on made-up gradients."""

    def __init__(self, steps: int = 0, seed: int = 0, **text):
        torch.manual_seed(seed)
        self.module = AnswerObjective(small_gpt4v("conv", **text))
        self.optimizers = make_optimizers(self.module, SETTINGS)
        for number in range(steps):
            self.update(number)

    def update(self, number: int) -> None:
        generator = torch.Generator().manual_seed(number)
        for parameter in self.module.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in self.optimizers:
            optimizer.step()

    def save(self, folder: Path, step: int, **state) -> Path:
        return save_checkpoint(folder, step, self.module, self.optimizers, state)

    def load(self, path: Path) -> dict:
        return load_checkpoint(path, self.module, self.optimizers)

    def moments(self) -> dict:
        return {
            (i, parameter, entry): value
            for i, optimizer in enumerate(self.optimizers)
            for parameter, entries in optimizer.state_dict()["state"].items()
            for entry, value in entries.items()
        }


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first
    )


def assert_same(first: Run, second: Run) -> None:
    assert same(first.module.state_dict(), second.module.state_dict())
    assert same(first.moments(), second.moments())


def test_a_checkpoint_comes_back_bit_for_bit(tmp_path):
    """Weights, buffers, and the moments of AdamW and of Muon; the next update shows that they are in their places."""
    first = Run(steps=3)
    path = first.save(tmp_path, 3, seconds=1.5, settings={"steps": 9})
    assert path == tmp_path / "checkpoints" / "step-00000003"
    assert sorted(file.name for file in path.iterdir()) == [
        "optimizers.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    second = Run(seed=1)
    assert second.load(path) == {"step": 3, "seconds": 1.5, "settings": {"steps": 9}}
    assert_same(first, second)
    kinds = {entry for _, _, entry in second.moments()}
    assert kinds == {"step", "exp_avg", "exp_avg_sq", "momentum_buffer"}
    for run in (first, second):
        run.update(3)
    assert_same(first, second)


def test_the_rates_of_the_running_optimisers_stay(tmp_path):
    path = Run(steps=1).save(tmp_path, 1)
    run = Run()
    run.optimizers[0].param_groups[0]["lr"] = 0.125
    run.load(path)
    assert run.optimizers[0].param_groups[0]["lr"] == 0.125


def test_a_run_that_has_not_begun_can_be_saved(tmp_path):
    first, second = Run(), Run(seed=1)
    assert second.load(first.save(tmp_path, 0)) == {"step": 0}
    assert_same(first, second)


def test_tied_embeddings_and_turned_matrices_come_back(tmp_path):
    first, second = Run(steps=1, tie_embeddings=True), Run(seed=1, tie_embeddings=True)
    head = first.module.model.gpt.head
    with torch.no_grad():
        head.weight.set_(head.weight.t().contiguous().t())
    second.load(first.save(tmp_path, 1))
    assert_same(first, second)
    assert second.module.model.gpt.head.weight is second.module.model.gpt.token_embedding.weight


# -- one after the other ----------------------------------------------------------------------------------------------


def test_only_the_newest_checkpoint_is_kept(tmp_path):
    assert checkpoints_in(tmp_path) == []
    run = Run()
    for step in (9, 10, 100, 99_999_999):
        path = run.save(tmp_path, step)
        assert checkpoints_in(tmp_path) == [path]
        assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == [path.name]


def test_checkpoints_are_in_the_order_of_their_steps(tmp_path):
    path = Run().save(tmp_path, 7)
    for step in (1000, 80, 12_345_678):
        shutil.copytree(path, path.with_name(f"step-{step:08d}"))
    assert [int(each.name.removeprefix("step-")) for each in checkpoints_in(tmp_path)] == [7, 80, 1000, 12_345_678]


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path):
    Run(steps=1).save(tmp_path, 5)
    newer = Run(steps=2)
    path = newer.save(tmp_path, 5)
    again = Run()
    again.load(path)
    assert_same(newer, again)


# -- dying while writing ----------------------------------------------------------------------------------------------


class Died(Exception):
    pass


def die(*_: object, **__: object) -> None:
    raise Died


def dying_at(call: int, function):
    """The function, but it dies at one of its calls after half its work."""
    calls = []

    def wrapped(path: Path, content: bytes) -> None:
        calls.append(path)
        if len(calls) == call:
            path.write_bytes(b"half")
            raise Died
        function(path, content)

    return wrapped


def break_at(monkeypatch, moment: str) -> None:
    if moment == "weights":
        monkeypatch.setattr(checkpoint, "_write", dying_at(1, checkpoint._write))
    elif moment == "moments":
        monkeypatch.setattr(checkpoint, "_write", dying_at(2, checkpoint._write))
    elif moment == "state":
        monkeypatch.setattr(checkpoint.json, "dumps", die)
    else:
        monkeypatch.setattr(Path, "rename", die)


@pytest.mark.parametrize(("moment", "again_at"), [("weights", 2), ("moments", 3), ("state", 2), ("name", 3)])
def test_the_checkpoint_before_stays_whole(tmp_path, monkeypatch, moment, again_at):
    first = Run(steps=1)
    path = first.save(tmp_path, 1)
    with monkeypatch.context() as broken:
        break_at(broken, moment)
        with pytest.raises(Died):
            Run(steps=2).save(tmp_path, 2)
    assert checkpoints_in(tmp_path) == [path]  # the half-written one is left, and ignored
    again = Run()
    assert again.load(path)["step"] == 1
    assert_same(first, again)

    third = Run(steps=3)
    newest = third.save(tmp_path, again_at)  # the next attempt clears the litter
    assert list((tmp_path / "checkpoints").iterdir()) == [newest]
    again.load(newest)
    assert_same(third, again)


def test_what_does_not_fit_on_the_disk_is_removed(tmp_path, monkeypatch):
    """A half-written checkpoint would keep a full disk full."""
    path = Run(steps=1).save(tmp_path, 1)
    monkeypatch.setattr(checkpoint.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        Run(steps=2).save(tmp_path, 2)
    assert list((tmp_path / "checkpoints").iterdir()) == [path]


@pytest.mark.parametrize("survived", range(4))
def test_the_same_step_again_leaves_a_whole_checkpoint_at_every_moment(tmp_path, monkeypatch, survived):
    """Dying before any of the renamings and removals: the newest that is found is one of the two, and whole."""
    older, newer = Run(steps=1), Run(steps=2)
    older.save(tmp_path, 5)
    calls = []

    def dying(function):
        def wrapped(path, *arguments, **options):
            if Path(path).exists():  # else there is nothing to remove
                calls.append(path)
                if len(calls) > survived:
                    raise Died
            return function(path, *arguments, **options)

        return wrapped

    with monkeypatch.context() as broken:
        broken.setattr(Path, "rename", dying(Path.rename))
        broken.setattr(checkpoint.shutil, "rmtree", dying(shutil.rmtree))
        if survived < 3:
            with pytest.raises(Died):
                newer.save(tmp_path, 5)
        else:
            newer.save(tmp_path, 5)
    found = checkpoints_in(tmp_path)[-1]
    assert step_of(found) == 5
    again = Run()
    again.load(found)
    assert_same(again, older if survived < 2 else newer)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"] or survived < 3
    newest = older.save(tmp_path, 6)  # and the next clears up
    assert list((tmp_path / "checkpoints").iterdir()) == [newest]


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    events = []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append(os.fstat(descriptor).st_ino) or fsync(descriptor))
    monkeypatch.setattr(Path, "rename", lambda self, target: events.append("name") or rename(self, target))
    path = Run(steps=1).save(tmp_path, 1)
    *on_disk, name, name_on_disk = events
    assert name == "name"
    assert set(on_disk) == {file.stat().st_ino for file in (path, *path.iterdir())}
    assert name_on_disk == path.parent.stat().st_ino


def test_the_new_checkpoint_is_whole_before_the_old_one_goes(tmp_path, monkeypatch):
    Run(steps=1).save(tmp_path, 1)
    seen = []
    remove = shutil.rmtree

    def watch(path: Path, **options) -> None:
        if path.name == "step-00000001":
            seen.append([each.name for each in checkpoints_in(tmp_path)])
            Run().load(tmp_path / "checkpoints" / "step-00000002")
        remove(path, **options)

    monkeypatch.setattr(checkpoint.shutil, "rmtree", watch)
    Run(steps=2).save(tmp_path, 2)
    assert seen == [["step-00000001", "step-00000002"]]


# -- what is not a checkpoint of this run -----------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path) -> Path:
    return Run(steps=1).save(tmp_path, 1)


REFUSED = "step-00000001 is not a checkpoint of this run: "


@pytest.mark.parametrize("text", [{"layers": 1}, {"layers": 3}, {"width": 32}, {"bias": True, "norm": "layer"}])
def test_the_checkpoint_of_another_model_is_refused(path, text):
    with pytest.raises(ValueError, match=f"(?s){REFUSED}.*(is missing|is left over|instead of)"):
        Run(**text).load(path)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizers.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut off", "other"])
def test_a_damaged_file_is_refused(path, name, damage):
    file = path / name
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes({"empty": b"", "cut off": content[: len(content) // 2], "other": b"\xff\x00 what"}[damage])
    with pytest.raises(ValueError, match=REFUSED):
        Run().load(path)


@pytest.mark.parametrize("name", ["0/1", "0/1/2/3", "0/x/exp_avg", "exp_avg"])
def test_a_moment_of_nothing_is_refused(path, name):
    file = path / "optimizers.safetensors"
    save_file(load_file(file) | {name: torch.ones(1)}, file)
    with pytest.raises(ValueError, match=REFUSED):
        Run().load(path)


def change_moments(path, change) -> None:
    file = path / "optimizers.safetensors"
    moments = {name: tensor.clone() for name, tensor in load_file(file).items()}
    change(moments)
    save_file(moments, file)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda m: m.pop("0/0/exp_avg_sq"), r"parameter 0 has the moments \['exp_avg', 'step'\] instead of"),
        (lambda m: m.update({"0/0/exp_avg": torch.ones(2)}), r"the moment exp_avg of parameter 0 is \[2\] instead of"),
        (lambda m: m.update({"0/0/exp_avg_sq": -m["0/0/exp_avg_sq"]}), "exp_avg_sq of parameter 0 is below 0"),
        (lambda m: m.update({"0/0/step": torch.tensor(-1.0)}), "the moment step of parameter 0 is below 0"),
        (lambda m: m["0/0/exp_avg"].fill_(torch.nan), "exp_avg of parameter 0 holds numbers that are not finite"),
        (lambda m: m.update({"0/0/exp_avg": m["0/0/exp_avg"].double().fill_(1e300)}), "numbers that are not finite"),
        (lambda m: m.update({"0/0/exp_avg": m["0/0/exp_avg"] + 0j}), "holds torch.complex64 instead of torch.float32"),
        (lambda m: m.update({"0/999/step": torch.tensor(1.0)}), "there are moments of parameter 999"),
        (lambda m: m.update({"7/0/step": torch.tensor(1.0)}), "7/0/step is no moment of its optimisers"),
        (lambda m: m.update({"\x1b[2J": torch.tensor(1.0)}), r"x1b\[2J is no moment of its optimisers"),
    ],
)
def test_moments_that_a_step_would_fail_on_are_refused(path, change, fault):
    change_moments(path, change)
    with pytest.raises(ValueError, match=f"{REFUSED}.*{fault}") as caught:
        Run().load(path)
    assert str(caught.value).isprintable()


def test_a_refused_checkpoint_changes_nothing(path):
    change_moments(path, lambda moments: moments["0/0/exp_avg"].fill_(torch.nan))
    run, untouched = Run(seed=1), Run(seed=1)
    with pytest.raises(ValueError, match=REFUSED):
        run.load(path)
    assert_same(run, untouched)


@pytest.mark.parametrize(
    "state", ["[]", "{}", '{"step": "1"}', '{"step": true}', '{"step": 2}', '{"step": NaN}', "[" * 100_000, "null"]
)
def test_a_state_that_does_not_tell_the_step_is_refused(path, state):
    (path / "state.json").write_text(state)
    with pytest.raises(ValueError, match=REFUSED):
        Run().load(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
@pytest.mark.parametrize("name", ["weights.safetensors", "optimizers.safetensors", "state.json"])
def test_a_pipe_is_not_waited_for(path, name):
    (path / name).unlink()
    os.mkfifo(path / name)
    with pytest.raises(ValueError, match=f"{name}.* is a pipe, socket or device"):
        Run().load(path)


def test_folders_of_other_names_are_no_checkpoints(tmp_path):
    Run().save(tmp_path, 1)
    for name in ("step-", "step-abc", "step-1", "step-00000001.old", "step-0000000x", "step-" + "9" * 30):
        (tmp_path / "checkpoints" / name).mkdir()
    assert [path.name for path in checkpoints_in(tmp_path)] == ["step-00000001"]


def test_a_missing_weight_is_refused(path):
    file = path / "weights.safetensors"
    weights = load_file(file)
    del weights["model.gpt.head.weight"]
    save_file(weights, file)
    with pytest.raises(ValueError, match=f"(?s){REFUSED}.*model.gpt.head.weight"):
        Run().load(path)


def test_the_state_is_plain_json(path):
    assert json.loads((path / "state.json").read_text()) == {"step": 1}


def test_any_module_and_optimiser_will_do(tmp_path):
    torch.manual_seed(0)
    layer, other = nn.Linear(2, 3), nn.Linear(2, 3)
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    layer(torch.ones(1, 2)).sum().backward()
    sgd.step()
    path = save_checkpoint(tmp_path, 1, layer, [sgd], {})
    again = torch.optim.SGD(other.parameters(), lr=0.1, momentum=0.9)
    load_checkpoint(path, other, [again])
    assert torch.equal(layer.weight, other.weight)
    assert torch.equal(again.state[other.weight]["momentum_buffer"], sgd.state[layer.weight]["momentum_buffer"])
