"""Every chapter runs from top to bottom in a browser, and each of its controls does something."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from controls import explorers, pictures_after_each_change
from lab_server import ROOT
from notebook_page import NotebookPage, keep_screenshot

# The longest chapters are among the last: they go first, so that the workers end together.
CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"), reverse=True)


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_a_chapter_runs_and_its_controls_work(path: Path, notebook: NotebookPage) -> None:
    notebook.open(path.name)
    keep_screenshot(notebook.page, f"{path.stem}-opened")
    notebook.run_all()
    assert notebook.faults() == []

    found = explorers(notebook)
    assert len(found) == number_of_explorers(path)
    for explorer in found:
        pictures = pictures_after_each_change(explorer)
        keep_screenshot(explorer, f"{path.stem}-controls")
        assert len(pictures) > 1


def number_of_explorers(path: Path) -> int:
    """How many figures of a notebook follow controls, by its source."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return sum("".join(cell["source"]).count("plot.explore(") for cell in cells if cell["cell_type"] == "code")
