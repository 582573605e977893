"""The browser tests themselves: a fault planted in a notebook or its controls is seen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from controls import explorers, pictures_after_each_change
from notebook_page import NotebookPage

Opener = Callable[..., NotebookPage]
STIFF = """\
from ipywidgets import IntSlider
from minigpt4v import plot
plot.explore(lambda size: plot.bars({"cat": 1}, y="size", alt="a cat"), size=IntSlider())"""


@pytest.fixture
def open_with(notebook: NotebookPage) -> Opener:
    """Open a notebook that consists of the cells given; code cells unless the text begins with #."""
    path: Path = notebook.server.course / "notebooks" / "planted.ipynb"

    def write_and_open(*sources: str) -> NotebookPage:
        v4 = nbformat.v4
        cells = [(v4.new_markdown_cell if text.startswith("#") else v4.new_code_cell)(text) for text in sources]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
        nbformat.write(v4.new_notebook(cells=cells, metadata=kernel), path)
        notebook.open(path.name)
        return notebook

    yield write_and_open
    path.unlink()


def test_errors_and_what_did_not_run_behind_them(open_with: Opener) -> None:
    notebook = open_with("1 + 1", "import sys; print('careful', file=sys.stderr)", "1 / 0", "2 + 2")
    notebook.run_all()
    assert notebook.faults() == [
        "cell 2: stderr: careful\n",
        "cell 3: ZeroDivisionError: division by zero",
        "cell 4 did not run",
    ]


def test_broken_pictures_and_formulas(open_with: Opener) -> None:
    notebook = open_with("# A picture\n\n![of nothing](nowhere.png)\n\nand $\\frac{1}$ and $\\nosuch{1}$", "1")
    notebook.run_all()
    notebook.page.locator("mjx-container").first.wait_for()
    assert notebook.faults() == [
        "a broken picture: of nothing",
        "a formula that cannot be read: \\frac{1}",
        "a formula that cannot be read: \\nosuch",
    ]


def test_a_request_to_the_network(open_with: Opener) -> None:
    notebook = open_with("from IPython.display import HTML; HTML('<img src=\"https://example.invalid/cat.png\">')")
    notebook.run_all()
    assert "a request to the network: https://example.invalid/cat.png" in notebook.faults()


def test_controls_that_move_nothing(open_with: Opener) -> None:
    notebook = open_with(STIFF)
    notebook.run_all()
    notebook.page.set_default_timeout(2_000)
    (explorer,) = explorers(notebook)
    with pytest.raises(Exception, match="Timeout"):
        pictures_after_each_change(explorer)
