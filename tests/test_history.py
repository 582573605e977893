"""history.py: what was added comes back, up to a step, whatever else stands in the file."""

import json
import os

import pytest

from minigpt4v import paths
from minigpt4v.history import HISTORY, add_entry, entries_until, replace_entries

ENTRIES = [
    {"step": 5, "seconds": 0.5, "loss": 2.0},
    {"step": 5, "seconds": 0.5, "held_out_accuracy": 0.5, "families": {"what": 0.25, "where": 1}},
    {"step": 10, "seconds": 1, "loss": 1.5},
]


@pytest.fixture
def folder(tmp_path):
    """A run with a history."""
    for entry in ENTRIES:
        add_entry(tmp_path / "run", entry)
    return tmp_path / "run"


@pytest.mark.parametrize(("step", "count"), [(0, 0), (4, 0), (5, 2), (9, 2), (10, 3), (100, 3)])
def test_what_was_added_comes_back_up_to_a_step(folder, step, count):
    assert entries_until(folder, step) == ENTRIES[:count]
    assert (folder / HISTORY).read_text(encoding="utf-8") == "".join(json.dumps(entry) + "\n" for entry in ENTRIES)


@pytest.mark.parametrize(
    "line",
    [
        *(
            "[]",
            "5",
            '"x"',
            "null",
            "{}",
            "",
            '{"step": 3}',
            '{"step": "3", "seconds": 1}',
            '{"step": 3, "seconds": []}',
        ),
        *('{"step": true, "seconds": 1}', '{"step": 3, "seconds": 1, "training_accuracy": "all"}', '{"step": 3, "sec'),
        pytest.param("[" * 100_000, id="deep"),
        pytest.param('{"step": 3, "seconds": 1' + "0" * 5000 + "}", id="more digits than Python reads"),
        pytest.param('{"step": 3, "seconds": 1' + "0" * 40 + "}", id="too large for a float32"),
        '{"step": 3, "seconds": 1, "families": {"what": "all"}}',
    ],
)
def test_lines_that_are_none_of_ours_are_passed_over(folder, line):
    path = folder / HISTORY
    path.write_text(line + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert entries_until(folder, 10) == ENTRIES


def test_a_run_may_have_no_history(tmp_path):
    assert entries_until(tmp_path, 10) == []
    replace_entries(tmp_path, ENTRIES)
    assert list(tmp_path.iterdir()) == []


def test_a_history_is_replaced_whole_or_not_at_all(folder, monkeypatch):
    replace_entries(folder, ENTRIES[:1])
    assert entries_until(folder, 10) == ENTRIES[:1]
    monkeypatch.setattr(paths.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        replace_entries(folder, [])
    assert entries_until(folder, 10) == ENTRIES[:1]
    assert [path.name for path in folder.iterdir()] == [HISTORY]


@pytest.mark.parametrize("content", [b"\xff\xfe", "pipe"])
def test_a_history_that_cannot_be_read_is_named(folder, content):
    path = folder / HISTORY
    path.unlink()
    if content == "pipe":
        pytest.importorskip("fcntl")
        os.mkfifo(path)
    else:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"history\.jsonl is (not UTF-8 text|a pipe)"):
        entries_until(folder, 10)
