"""What a full disk does to a run; the long form is `python -m bench.full_disk`."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench import full_disk
from bench.kill_runs import Lost
from bench.killed_run import OUTPUT
from minigpt4v.paths import PACKAGE_FOLDER

needs_disks = pytest.mark.skipif(
    not full_disk.can_be_alone(), reason=f"needs `{' '.join(full_disk.ALONE)}`, which this system does not allow"
)


@needs_disks
def test_a_run_on_a_full_disk_goes_on_when_there_is_room():
    """See `full_disk` for what is compared; and a command that writes many files, on the same kind of disk."""
    command = [sys.executable, "-m", "bench.full_disk", "--disks", "6", "--commands", "start"]
    run = subprocess.run(command, cwd=PACKAGE_FOLDER.parent, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    training, started = run.stdout.splitlines()
    full = int(training.split()[1])
    assert training.startswith("training: ")
    assert full >= 3
    assert started == "start: 5 disks were full"


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (0, "Error: the disk is full: make room"),
        (1, "Traceback (most recent call last):\n  OSError: the disk is full"),
        (1, "Error: something else"),
        (-9, ""),
    ],
)
def test_anything_but_a_sentence_would_be_seen(tmp_path, code, said):
    (tmp_path / OUTPUT).write_text(said)
    with pytest.raises(Lost):
        full_disk._check_sentence(tmp_path, code)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux")
def test_an_answer_that_cannot_be_written_ends_with_a_sentence():
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "minigpt4v", "progress"]
        run = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (run.returncode, run.stderr) == (1, "Error: the disk is full: make room, and try again\n")
