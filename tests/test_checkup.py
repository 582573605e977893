"""The check-up: on a sound machine all is well, and every kind of trouble is named with its fix."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minigpt4v import checkup as module
from minigpt4v.checkup import checkup
from minigpt4v.paths import data_folder


def lines(capsys: pytest.CaptureFixture) -> list[str]:
    checkup()
    return capsys.readouterr().out.splitlines()


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGPT4V_PROGRESS", str(tmp_path / "progress.txt"))


@pytest.fixture
def own_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data that may be damaged."""
    folder = tmp_path / "data"
    shutil.copytree(data_folder(), folder)
    for name in ("checkup", "gpt4v", "paths"):
        monkeypatch.setattr(f"minigpt4v.{name}.data_folder", lambda: folder)
    return folder


def test_all_is_well_here(capsys: pytest.CaptureFixture) -> None:
    said = lines(capsys)
    assert len(said) == 7
    assert [line for line in said if not line.startswith("✓ ")] == []


def test_an_old_python(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version_tuple", lambda: ("3", "9", "2"))
    monkeypatch.setattr("platform.python_version", lambda: "3.9.2")
    said = lines(capsys)
    assert said[0] == "✗ Python 3.11 or newer [here: 3.9.2]"
    assert "install one" in said[1]


def test_missing_and_old_packages(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = ["torch>=2.9", "dodo>=1", "numpy>=99", 'apples; extra == "dev"', 'pears; extra == "course"']
    monkeypatch.setattr(module, "requires", lambda name: wanted)
    said = "\n".join(lines(capsys))
    assert "✗ packages [here: 1 of 4]" in said
    assert "dodo is not installed; numpy>=99 is wanted, not " in said
    assert "pears is not installed" in said
    assert "apples" not in said
    assert "make setup" in said


@pytest.mark.parametrize("name", ["emoji/noto.png", "text/shakespeare.txt", "fonts/NotoSansSC-subset.otf"])
def test_changed_and_missing_data(name: str, own_data: Path, capsys: pytest.CaptureFixture) -> None:
    with (own_data / name).open("ab") as file:
        file.write(b"!")
    assert f"missing or changed: {name}. Get them back with `git checkout data`" in "\n".join(lines(capsys))
    (own_data / name).unlink()
    assert f"missing or changed: {name}." in "\n".join(lines(capsys))


def test_a_missing_model(own_data: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(own_data / "checkpoints" / "laptop")
    said = "\n".join(lines(capsys))
    assert "✗ trained models [here: laptop-stages, shakespeare]" in said
    assert "laptop is missing" in said


def test_no_data_at_all_is_told_and_the_other_checks_still_run(own_data: Path, capsys: pytest.CaptureFixture) -> None:
    shutil.rmtree(own_data)
    said = lines(capsys)
    assert sum(line.startswith("✗") for line in said) >= 2
    assert any(line.startswith("✓ a folder that keeps your progress") for line in said)


def test_a_missing_font(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt4v.plot.fonts.missing_characters", lambda text: "猫")
    assert "no font has '猫'" in "\n".join(lines(capsys))


def test_a_folder_that_cannot_be_written(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIGPT4V_PROGRESS", "/dev/null/progress.txt")
    said = "\n".join(lines(capsys))
    assert "✗ a folder that keeps your progress [here: not writable]" in said
    assert "Copy the course to a folder of yours" in said
