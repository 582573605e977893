"""Files from strangers: some hundred damaged ones at each door; the long form is `python -m bench.fuzz_doors`."""

import json
import os
import signal
import struct
import time
import warnings
import zlib
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import fuzz_doors, mutations
from bench.doors import Door, Files, Odd
from minigpt4v import gpt4v, weights

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs pipes with names, and fork")

INPUTS = {"models": 120, "language models": 120, "checkpoints": 150, "notebooks": 120}  # of the others 300
STRUCTURED = ("models", "language models", "checkpoints", "tokenizers", "notebooks", "runs")


@pytest.fixture(scope="module")
def doors(tmp_path_factory):
    """The door of a name, made once."""
    made: dict[str, Door] = {}

    def door(name: str) -> Door:
        if name not in made:
            folder = tmp_path_factory.mktemp("stranger") / "door"
            folder.mkdir()
            made[name] = fuzz_doors.make_door(name, folder)
        return made[name]

    return door


@pytest.mark.parametrize("name", fuzz_doors.DOORS)
def test_damaged_files_are_accepted_or_refused(doors, capfd, name):
    door = doors(name)
    for sample in door.samples:
        assert door.visit(sample), "a whole sample is refused"
    capfd.readouterr()
    accepted = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(count := INPUTS.get(name, 300)):
            accepted += door.visit(fuzz_doors.draw(door, 0, number))
    assert all(line.isprintable() for text in capfd.readouterr() for line in text.splitlines())
    assert count / 50 < accepted < count * 0.9  # or the damage is too wild to reach the deeper checks, or too mild


KEYS = sorted(
    {"text", "vision", "type", "version", "special_tokens", "merges", "characters", "step", "seconds", "totals"}
    | {"cells", "cell_type", "source", "id", "options", "minutes", "world", "data", "steps", "seed", "metadata"}
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(["bpe", "char", "code", "tiny", "\ud800", "\x1b[2J", 1, 5])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=15,
)


@pytest.mark.parametrize("name", STRUCTURED)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(data=st.data())
def test_any_json_is_accepted_or_refused(doors, name, data):
    """As the whole file, or below one of its keys."""
    door = doors(name)
    sample = data.draw(st.sampled_from(door.samples))
    file = data.draw(st.sampled_from([key for key in sorted(sample) if key.endswith((".json", ".ipynb"))]))
    value = data.draw(VALUES)
    if data.draw(st.booleans()) and isinstance(whole := json.loads(sample[file]), dict) and whole:
        value = whole | {data.draw(st.sampled_from(sorted(whole))): value}
    door.visit(sample | {file: json.dumps(value).encode()})


# -- it would be seen -------------------------------------------------------------------------------------------------


class Planted(Door):
    """A door that does to each input what its one file says."""

    name = "planted"

    def make_samples(self, folder: Path) -> list[Files]:
        return [{"a.txt": b"fine"}]

    def draw(self, random: Random) -> Files:
        return {"a.txt": random.choice(self.kinds).encode()}

    def enter(self) -> None:
        {
            "fine": lambda: None,
            "refused": lambda: _raise(ValueError("a.txt is not what it should be")),
            "another error": lambda: _raise(KeyError("a.txt")),
            "words of Python": lambda: (self.folder / "a.txt").read_text().encode("ascii").decode("utf-16"),
            "no name": lambda: _raise(ValueError("something is wrong")),
            "escapes": lambda: _raise(ValueError("a.txt is \x1b[2J wrong")),
            "endless words": lambda: _raise(ValueError("a.txt " * 10_000)),
            "a native crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
            "a hang": lambda: time.sleep(60),
            "memory": lambda: bytearray(b"x") * fuzz_doors.MEMORY * 2,
            "printed": lambda: os.write(2, b"\x1b[2J"),
            "a warning": lambda: warnings.warn("beware", stacklevel=1),
            "slow": lambda: _work(2 * fuzz_doors.SECONDS),
        }[(self.folder / "a.txt").read_text()]()


def _raise(error: Exception) -> None:
    raise error


def _work(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("another error", "KeyError: 'a.txt'"),
        ("words of Python", "a refusal in Python's words"),
        ("no name", "a refusal that names no file: 'something is wrong'"),
        ("escapes", "a refusal that is not one printable line"),
        ("endless words", "a refusal of 60000 characters"),
        ("a native crash", f"the process died with exit code -{signal.SIGKILL.value}"),
        ("a hang", "a hang: nothing happened for 0.5 seconds"),
        ("memory", "MiB of memory"),
        ("printed", r"it printed '\x1b[2J'"),
        ("a warning", "UserWarning: beware"),
        ("slow", "seconds"),
    ],
)
def test_a_crash_is_reported_and_its_input_written(tmp_path, monkeypatch, kind, said):
    monkeypatch.setattr(fuzz_doors, "MEMORY", 2**26)
    monkeypatch.setattr(fuzz_doors, "HANG", 0.5 if kind == "a hang" else 20)
    monkeypatch.setattr(fuzz_doors, "SECONDS", 0.1 if kind == "slow" else 5)
    monkeypatch.setattr(Planted, "kinds", ("fine", "refused", "fine", "refused", kind), raising=False)
    found = fuzz_doors.fuzz("planted", 6, 1, tmp_path / "out", lambda _, folder: Planted(folder))
    assert found.inputs == 6
    assert found.accepted >= 1
    assert found.refused >= 1
    assert found.crashes
    assert all(said in fault for fault in found.crashes.values())
    folders = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert folders == sorted(f"planted-{number}" for number in found.crashes)
    for folder in (tmp_path / "out").iterdir():
        assert (folder / "a.txt").read_text() == kind
        assert said in (folder / "fault.txt").read_text()


def test_the_program_ends_with_an_exit_code(tmp_path, monkeypatch, capsys):
    for kinds, code in ((("fine", "refused"), None), (("fine", "another error"), "crashes: see")):
        monkeypatch.setattr(Planted, "kinds", kinds, raising=False)
        monkeypatch.setattr(fuzz_doors, "fuzz", _with_planted(fuzz_doors.fuzz))
        monkeypatch.setattr("sys.argv", ["fuzz", "--inputs", "8", "--door", "runs", "--out", str(tmp_path)])
        if code:
            with pytest.raises(SystemExit, match=code):
                fuzz_doors.main()
        else:
            fuzz_doors.main()
        monkeypatch.undo()
        assert capsys.readouterr().out.splitlines()[0].split()[:3] == ["door", "inputs", "refused"]


def _with_planted(fuzz):
    return lambda name, inputs, seed, out: fuzz(name, inputs, seed, out, lambda _, folder: Planted(folder))


@pytest.mark.parametrize(("module", "check"), [(weights, "fault_of"), (gpt4v, "check_weights"), (gpt4v, "reason")])
def test_a_check_that_is_taken_out_is_missed(doors, monkeypatch, module, check):
    """The fuzzer is red where the library is broken."""
    door = doors("models")
    monkeypatch.setattr(module, check, lambda *values: str(values[0]) if check == "reason" else "")
    with pytest.raises((AssertionError, RuntimeError, UserWarning)):
        _visit_many(door, 400)


def _visit_many(door: Door, count: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for number in range(count):
            door.visit(fuzz_doors.draw(door, 1, number))


# -- the damage -------------------------------------------------------------------------------------------------------


def test_damage_depends_on_the_seed_alone(doors):
    for name in ("pictures", "tokenizers", "lines"):
        door = doors(name)
        inputs = [fuzz_doors.draw(door, 0, number) for number in range(30)]
        assert inputs == [fuzz_doors.draw(door, 0, number) for number in range(30)]
        assert inputs != [fuzz_doors.draw(door, 1, number) for number in range(30)]


def test_damaged_safetensors_are_often_well_formed():
    """So that they reach the checks of types, shapes and numbers, behind those of the format."""
    from safetensors import SafetensorError
    from safetensors.numpy import load, save

    content = save({"a": np.ones((3, 4), "float32"), "b": np.ones(2, "float32")})
    loaded = []
    for number in range(300):
        try:
            loaded.append(load(mutations.damage_safetensors(Random(number), content)))
        except (SafetensorError, KeyError, TypeError, ValueError, AttributeError):
            continue
    assert len(loaded) > 60
    assert {str(tensors["a"].dtype) for tensors in loaded if "a" in tensors} >= {"float32", "float64", "int32"}


def test_damaged_pngs_have_right_sums():
    from bench.doors_data import picture_files

    content = next(file for file in picture_files() if file.startswith(b"\x89PNG"))
    for number in range(100):
        damaged = mutations.damage_png(Random(number), content)
        place = 8
        while place < len(damaged):
            (size,) = struct.unpack(">I", damaged[place : place + 4])
            body = damaged[place + 4 : place + 8 + size]
            assert damaged[place + 8 + size : place + 12 + size] == struct.pack(">I", zlib.crc32(body))
            place += 12 + size


def test_what_is_no_file_is_put_in_its_place(doors, tmp_path):
    door = Planted(tmp_path)
    for odd in Odd:
        door.put({"a.txt": odd})
        path = tmp_path / "a.txt"
        found = [path.is_dir(), path.is_fifo(), path.is_char_device(), path.is_symlink()]
        assert (
            found
            == {
                Odd.GONE: [False] * 4,
                Odd.FOLDER: [True, False, False, False],
                Odd.PIPE: [False, True, False, False],
                Odd.DEVICE: [False, False, True, True],
                Odd.LOOP: [False, False, False, True],
            }[odd]
        )
    door.put({})
    assert not any(tmp_path.iterdir())
