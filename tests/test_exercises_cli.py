"""`minigpt4v progress` and `minigpt4v check`: the exercises from the command line."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from cli_helpers import invoke, refuse, succeed

from minigpt4v.exercises.catalogue import exercises_of

RIGHT = "def channels_first(pictures):\n    return pictures.permute(0, 3, 1, 2)\n\n\ncheck('00.3', channels_first)"
WRONG = "check('00.1', lambda answers, truths: 7)"
STUB = "def always_guess(truths):\n    ...\n\n\ncheck('00.2', always_guess)"


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIGPT4V_PROGRESS", str(tmp_path / "progress.txt"))


def write_notebook(path: Path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


def test_progress_before_and_after(tmp_path: Path) -> None:
    nothing = succeed("progress")
    assert nothing.stdout.startswith("00 Welcome")
    assert "█" not in nothing.stdout
    assert "0 of " in nothing.stdout
    (tmp_path / "progress.txt").write_text("00.1 passed 2026-01-01\n", encoding="utf-8")
    assert f"1/{len(exercises_of('00'))}" in succeed("progress").stdout


def test_check_runs_the_notebook_and_remembers_what_passes(tmp_path: Path) -> None:
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "00_welcome.ipynb"
    write_notebook(path, "from minigpt4v.exercises import check\nprint('✓ not a verdict')", RIGHT, WRONG, STUB)
    before = path.read_bytes()
    result = invoke("check", "0")
    first, second, third = result.stdout.splitlines()[0], *result.stdout.splitlines()[-2:]
    assert result.exit_code == 1
    assert first == "✓ 00.3 passed: well done."
    assert second.startswith("Tried with")
    assert third.startswith("· 00.2 not attempted yet")
    assert "1 of 3 exercises pass" in result.stderr
    assert path.read_bytes() == before
    assert (tmp_path / "progress.txt").read_text(encoding="utf-8").count("00.3 passed") == 1


def test_a_notebook_elsewhere_and_all_solved(tmp_path: Path) -> None:
    solved = [
        "check('00.1', lambda mine, true: sum(a == b for a, b in zip(mine, true)) / len(true))",
        "check('00.2', lambda true: max(map(true.count, true)) / len(true))",
    ]
    write_notebook(tmp_path / "mine.ipynb", "from minigpt4v.exercises import check", RIGHT, *solved)
    assert "3 of 3 exercises pass" in succeed("check", "00", "--notebook", "mine.ipynb").stderr


def test_what_cannot_be_checked(tmp_path: Path) -> None:
    assert "chapter '99' has no exercises" in refuse("check", "99")
    assert "no notebook of chapter '0'" in refuse("check", "0")
    (tmp_path / "broken.ipynb").write_text("{")
    assert "is not a notebook that can be read" in refuse("check", "0", "--notebook", "broken.ipynb")
    assert "is not a notebook that can be read" in refuse("check", "0", "--notebook", "nowhere.ipynb")
    write_notebook(tmp_path / "raises.ipynb", "1 / 0")
    assert "stops with an error: ZeroDivisionError" in refuse("check", "0", "--notebook", "raises.ipynb")
