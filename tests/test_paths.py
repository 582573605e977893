"""paths.py: the data folder is found in both layouts, and a file is never half written."""

import json
import os
import stat
from pathlib import Path

import pytest

from minigpt4v import paths
from minigpt4v.paths import data_folder, is_litter, load_record, notebooks_folder, write_atomically


def test_a_checkout_has_its_data_beside_the_package(tmp_path, monkeypatch):
    (tmp_path / "minigpt4v").mkdir()
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", tmp_path / "minigpt4v")
    assert data_folder() == tmp_path / "data"


def test_an_installed_package_prefers_the_data_inside(tmp_path, monkeypatch):
    (tmp_path / "minigpt4v" / "data").mkdir(parents=True)
    (tmp_path / "data").mkdir()  # some other project's folder in site-packages
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", tmp_path / "minigpt4v")
    assert data_folder() == tmp_path / "minigpt4v" / "data"


def test_no_data_folder_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", tmp_path / "minigpt4v")
    with pytest.raises(FileNotFoundError, match="install minigpt4v again") as caught:
        data_folder()
    assert str(tmp_path / "data") in str(caught.value)


def test_records_are_found_in_both_layouts(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", tmp_path / "minigpt4v")
    with pytest.raises(FileNotFoundError, match="the records folder is neither"):
        load_record("fusion")
    for place, content in (("bench/results", "[1]"), ("minigpt4v/results", "[2]")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "fusion.json").write_text(content)
        assert load_record("fusion") == json.loads(content)
    with pytest.raises(ValueError, match="no record 'fission': choose one of fusion"):
        load_record("fission")


def test_notebooks_are_found_in_both_layouts(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PACKAGE_FOLDER", tmp_path / "minigpt4v")
    with pytest.raises(FileNotFoundError, match="the notebooks folder is neither"):
        notebooks_folder()
    for place in ("notebooks", "minigpt4v/notebooks"):
        (tmp_path / place).mkdir(parents=True)
        assert notebooks_folder() == tmp_path / place


@pytest.mark.parametrize("content", [b"\x00\xff\r\n", "猫 and 狗\r\n", ""])
def test_what_is_written_is_read_back(tmp_path, content):
    write_atomically(tmp_path / "file", content)
    expected = content.encode("utf-8") if isinstance(content, str) else content
    assert (tmp_path / "file").read_bytes() == expected
    assert os.listdir(tmp_path) == ["file"]  # noqa: PTH208 - hidden files too


def test_a_crash_keeps_the_old_file_and_leaves_no_litter(tmp_path, monkeypatch):
    target = tmp_path / "file"
    target.write_text("old")

    def crash(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, "new")
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_leaves_is_known_as_litter(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *_: None)  # as if killed just before
    write_atomically(tmp_path / "run.json", "new")
    assert [is_litter(path) for path in tmp_path.iterdir()] == [True]
    assert not any(is_litter(tmp_path / name) for name in ("run.json", "a.part", ".hidden", "x.partial"))


def test_the_file_is_complete_before_it_takes_the_name(tmp_path, monkeypatch):
    """At the moment of the rename all bytes are in a file of the same folder, on the disk; then the name gets there."""
    events = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        events.append(("fsync", "folder" if stat.S_ISDIR(status.st_mode) else status.st_size))
        fsync(descriptor)

    def watched_replace(self: Path, target: Path) -> Path:
        events.append(("replace", self.parent, self.read_text()))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    write_atomically(tmp_path / "file", "content")
    assert events == [("fsync", 7), ("replace", tmp_path, "content"), ("fsync", "folder")]


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "ordinary").write_text("")
    write_atomically(tmp_path / "ours", "")
    assert _permissions(tmp_path / "ours") == _permissions(tmp_path / "ordinary")


def test_permissions_of_an_old_file_stay(tmp_path):
    script = tmp_path / "script"
    script.write_text("old")
    script.chmod(0o740)
    write_atomically(script, "new")
    assert _permissions(script) == 0o740


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", "content")


def _permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
