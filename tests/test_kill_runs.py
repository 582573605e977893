"""A training run that is killed loses at most what it promises to; the long form is `python -m bench.kill_runs`."""

import os

import pytest

from bench import kill_runs
from bench.killed_run import INTERVAL, LOG, OUTPUT, PLACES, RUN

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL and a server of processes")

KILLS = 6


def test_a_run_that_is_killed_goes_on_from_a_whole_checkpoint(tmp_path):
    """And ends with the weights and the history of a run that nobody killed. See `kill_runs` for what is compared."""
    found = kill_runs.kill_runs(KILLS, 0, tmp_path)
    assert sum(found["killed"].values()) == KILLS
    inside = ("a checkpoint is whole and has no name yet", "a checkpoint has its weights and no state")
    assert tuple(place.name for place in PLACES[:2]) == inside
    assert found["killed"].keys() >= {*inside, "a random time"}
    assert 0 < found["lost"] <= INTERVAL


# -- it would be seen -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "lost"), [("from 0 1 2 from 0 1 2 3", 2), ("from 0 1 2 3 4 5 from 5 6 from 5", 1), ("from 0 from 0", 0)]
)
def test_steps_that_were_lost_are_counted(tmp_path, lines, lost):
    (tmp_path / LOG).write_text(lines.replace(" ", "\n").replace("from\n", "from "))
    assert kill_runs.most_lost(tmp_path) == lost


def test_more_lost_steps_than_promised_are_reported(tmp_path):
    (tmp_path / LOG).write_text("".join(f"{step}\n" for step in range(1, INTERVAL + 2)) + "from 0\n")
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
