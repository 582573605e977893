"""A training run that is killed loses at most what it promises to; the long form is `python -m bench.kill_runs`."""

import os

import pytest

from bench import kill_runs
from bench.killed_run import INTERVAL, LOG, OUTPUT, PLACES, RUN

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL and a server of processes")


@pytest.mark.parametrize(("kind", "kills"), [("text", 6), ("conversations", 3), ("preset", 3)])
def test_a_run_that_is_killed_goes_on_from_a_whole_checkpoint(tmp_path, kind, kills):
    """And ends with the weights and the history of a run that nobody killed. See `kill_runs` for what is compared."""
    found = kill_runs.kill_runs(kind, kills, 0, tmp_path)
    assert sum(found["killed"].values()) == kills
    inside = ("a checkpoint is whole and has no name yet", "a checkpoint has its weights and no state")
    assert tuple(place.name for place in PLACES[:2]) == inside
    assert found["killed"].keys() >= set(inside)  # whether a random time comes before the end is up to the machine
    assert 0 < found["lost"] <= INTERVAL


# -- it would be seen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "lost"),
    [
        (["a from 0", "a 1", "a 2", "a from 0", "a 1", "a 2", "a 3"], 2),
        (["a from 0", "a 4", "a 5", "a from 5", "a 6", "a from 5"], 1),
        (["a from 0", "a from 0"], 0),
        (["a from 0", "a 9", "b from 0", "b 1", "a from 9", "b from 0"], 1),
        (["a from 0", "a 9", "b from 0", "b 1", "a from 5", "b from 1"], 4),
    ],
)
def test_steps_that_were_lost_are_counted(tmp_path, lines, lost):
    (tmp_path / LOG).write_text("\n".join(lines) + "\n")
    assert kill_runs.most_lost(tmp_path) == lost


def test_more_lost_steps_than_promised_are_reported(tmp_path):
    (tmp_path / LOG).write_text("".join(f"a {step}\n" for step in range(1, INTERVAL + 2)) + "a from 0\n")
    with pytest.raises(kill_runs.Lost, match=f"{INTERVAL + 1} steps were lost at once"):
        kill_runs.most_lost(tmp_path)


def test_half_a_model_is_reported(tmp_path):
    kill_runs.check_model(tmp_path)  # none yet
    (tmp_path / RUN).mkdir()
    (tmp_path / RUN / "config.json").write_text('{"text": {}}')
    with pytest.raises(kill_runs.Lost, match="the model is not whole"):
        kill_runs.check_model(tmp_path)


def test_a_run_that_fails_by_itself_is_reported(tmp_path):
    class Failed:
        exitcode = 2

    (tmp_path / OUTPUT).write_text("Error: a reason")
    with pytest.raises(kill_runs.Lost, match="exit code 2: Error: a reason"):
        kill_runs._check_exit(tmp_path, Failed)
    with pytest.raises(kill_runs.Lost, match="Error: a reason"):
        kill_runs.outcome(tmp_path)
