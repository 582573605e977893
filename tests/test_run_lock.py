"""run_lock.py: a second run in a folder is refused while the first lives, and only then."""

import errno
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from cli_helpers import invoke, program, refuse, succeed

from minigpt4v import run_lock
from minigpt4v.checkpoint import checkpoints_in
from minigpt4v.commands import train
from minigpt4v.own_data import TextRun
from minigpt4v.run_lock import LOCK_NAME, FolderInUse, only_run


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A current folder with a text to learn from."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("the cat sat on the mat. " * 100)
    return tmp_path


NEW = ("train", "--data", "text.txt", "--steps", 1, "--out", "run")
AGAIN = ("train", "--out", "run", "--resume")


def wait_until(there, process) -> None:
    deadline = time.monotonic() + 120
    while not there() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)


# -- two commands -----------------------------------------------------------------------------------------------------


def test_a_second_run_is_refused_until_the_first_is_dead(here, monkeypatch):
    """Whether it would begin anew or go on; before it reads or writes anything. SIGKILL gives the folder free."""
    process = program("train", "--data", "text.txt", "--steps", 100_000, "--out", "run", cwd=here)
    wait_until(lambda: (here / "run" / "history.jsonl").exists(), process)
    with monkeypatch.context() as patch:
        patch.setattr(train, "_make_run", lambda *_: pytest.fail("it began to work"))
        errors = [refuse(*command) for command in (NEW, AGAIN)]
    assert process.poll() is None
    process.kill()
    process.communicate()
    expected = (
        f"Error: process {process.pid} is training in 'run' already: wait until it is done, stop it with Ctrl-C and "
        "resume it, or name another folder"
    )
    assert errors == [expected, expected]
    assert (here / "run" / LOCK_NAME).read_text() == str(process.pid)  # it is dead: this stops nobody
    succeed(*AGAIN, "--steps", 2)
    assert checkpoints_in(here / "run")
    assert not (here / "run" / LOCK_NAME).exists()


def test_one_that_only_began_leaves_a_folder_to_begin_in(here):
    """Killed before run.json had its name: nothing to resume, and nothing in the way."""
    (here / "run").mkdir()
    for name in (LOCK_NAME, ".run.json.ab12.part"):
        (here / "run" / name).write_text("1")
    assert "is no training run" in refuse(*AGAIN)
    succeed(*NEW)
    assert not [path for path in (here / "run").iterdir() if path.suffix in (".lock", ".part")]


def test_what_a_killed_run_wrote_in_half_is_removed(here):
    succeed(*NEW)
    (here / "run" / ".model.safetensors.ab12.part").write_bytes(b"half")
    (here / "run" / ".mine").write_text("not ours to remove")
    succeed(*AGAIN)
    assert [path.name for path in (here / "run").iterdir() if path.name.startswith(".")] == [".mine"]


def test_a_refused_run_leaves_no_folder(here):
    (here / "text.txt").write_text("too short")
    refuse("train", "--data", "text.txt", "--out", "a/b/run")
    assert [path.name for path in here.iterdir()] == ["text.txt"]


def test_only_the_first_of_several_processes_holds_the_folder(here, monkeypatch):
    """Under torchrun all work in one folder."""
    monkeypatch.setattr("minigpt4v.commands.train.is_main_process", lambda: False)
    with only_run(here / "run"):
        assert invoke(*NEW).exit_code == 0


# -- the lock itself --------------------------------------------------------------------------------------------------


def reason_for_refusing(folder) -> str:
    """Why a second holder, in a thread of its own, may not have the folder."""

    def hold() -> str:
        with pytest.raises(FolderInUse) as refused, only_run(folder):
            pytest.fail("two at once")
        return str(refused.value)

    with ThreadPoolExecutor() as threads:
        return threads.submit(hold).result()


def test_who_holds_it_may_hold_it_again(tmp_path):
    with only_run(tmp_path / "run"):
        with only_run(tmp_path / "run" / ".." / "run"):
            reason_for_refusing(tmp_path / "run")
        reason_for_refusing(tmp_path / "run")
    with only_run(tmp_path / "run"):
        pass


def test_two_trainers_are_kept_apart(tmp_path):
    """Without the command too; and the one that is refused changes nothing."""
    run = text_run(tmp_path)
    with only_run(tmp_path), ThreadPoolExecutor() as threads:
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(FolderInUse):
            threads.submit(run.train).result()
        assert run.trainer.step == 0
        assert sorted(path.name for path in tmp_path.iterdir()) == before
        assert run.train()[-1]["step"] == 1  # ours
    assert not (tmp_path / LOCK_NAME).exists()


def text_run(folder) -> TextRun:
    return TextRun("the cat sat on the mat. " * 100, tokenizer="char", folder=folder, settings={"steps": 1})


def test_it_is_free_again_afterwards_even_after_an_error(tmp_path):
    def stop(folder):
        with only_run(folder):
            assert (folder / LOCK_NAME).read_text() == str(os.getpid())
            assert f"process {os.getpid()} is training in {str(folder)!r} already" in reason_for_refusing(folder)
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            stop(tmp_path)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", ["", "5", "not a number", pytest.param(str(os.getpid()), id="our own number"), "9" * 40]
)
def test_a_file_without_a_lock_stops_nobody(tmp_path, content):
    (tmp_path / LOCK_NAME).write_text(content)
    with only_run(tmp_path):
        assert (tmp_path / LOCK_NAME).read_text() == str(os.getpid())


def test_a_holder_that_does_not_say_who_it_is(tmp_path):
    with only_run(tmp_path):
        (tmp_path / LOCK_NAME).write_text("")
        assert reason_for_refusing(tmp_path).startswith("another process is training")


def test_folders_that_stay_empty_go_and_others_stay(tmp_path):
    with only_run(tmp_path / "a" / "b"):
        assert (tmp_path / "a" / "b").is_dir()
    assert list(tmp_path.iterdir()) == []
    with only_run(tmp_path / "a" / "b"):
        (tmp_path / "a" / "kept").write_text("")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["kept"]
    with only_run(tmp_path / "a"):
        pass
    (tmp_path / "empty").mkdir()
    with only_run(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()  # somebody else made it


def test_a_lock_on_a_file_that_was_removed_counts_for_nothing(tmp_path, monkeypatch):
    """The run before ends between our opening of its file and our locking of it."""
    lock, calls = run_lock._lock, []

    def remove_first(file):
        calls.append(file)
        if len(calls) == 1:
            (tmp_path / LOCK_NAME).unlink()
        lock(file)

    monkeypatch.setattr(run_lock, "_lock", remove_first)
    with only_run(tmp_path):
        assert len(calls) == 2
        reason_for_refusing(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl is of Unix")
def test_a_file_system_without_locks_is_no_reason_not_to_train(tmp_path, monkeypatch, capsys):
    import fcntl

    def fail(*_):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", fail)
    with only_run(tmp_path):
        pass
    assert "cannot be locked (Operation not supported): take care to start no second run" in capsys.readouterr().err


def test_windows_locks_far_behind_the_process_id(tmp_path, monkeypatch):
    """The bytes that are locked cannot be read there, and the id must be; a stand-in for msvcrt shows what is asked."""
    asked = []

    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(descriptor, mode, count):
            asked.append((os.lseek(descriptor, 0, os.SEEK_CUR), mode, count))
            if len(asked) > 1:
                raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt)
    monkeypatch.setattr(run_lock.sys, "platform", "win32")
    with only_run(tmp_path / "run"):
        assert f"process {os.getpid()} is training" in reason_for_refusing(tmp_path / "run")
        assert (tmp_path / "run" / LOCK_NAME).stat().st_size < 20
    assert asked == [(1 << 30, 2, 1)] * 2
    assert list(tmp_path.iterdir()) == []
