"""The browser tests themselves: faults planted in a notebook and its controls are seen."""

from __future__ import annotations

from collections.abc import Iterator

import nbformat
import pytest
from controls import explorers, pictures_after_each_change
from notebook_page import NotebookPage

A_PICTURE_AND_FORMULAS = "![of nothing](nowhere.png) and $\\frac{1}$ and $\\nosuch{1}$"
CODE = [
    "from IPython.display import HTML; HTML('<link rel=stylesheet href=https://example.invalid/a.css>')",
    """\
from ipywidgets import IntSlider
from minigpt4v import plot
plot.explore(lambda size: plot.bars({"cat": 1}, y="size", alt="a cat"), size=IntSlider())""",
    "import sys; print('careful', file=sys.stderr)",
    "1 / 0",
    "2 + 2",
]
SEEN = [
    "cell 3: stderr: careful\n",
    "cell 4: ZeroDivisionError: division by zero",
    "cell 5 did not run",
    "a broken picture: of nothing",
    "a formula that cannot be read: \\frac{1}",
    "a formula that cannot be read: \\nosuch",
    "a request to the network: https://example.invalid/a.css",
]


@pytest.fixture
def planted(notebook: NotebookPage) -> Iterator[NotebookPage]:
    """A notebook with one fault of each kind."""
    path = notebook.server.course / "notebooks" / "planted.ipynb"
    cells = [nbformat.v4.new_markdown_cell(A_PICTURE_AND_FORMULAS), *map(nbformat.v4.new_code_cell, CODE)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), path)
    notebook.open(path.name)
    yield notebook
    path.unlink()


def test_every_planted_fault_is_seen(planted: NotebookPage) -> None:
    planted.run_all()
    planted.page.locator("mjx-container").first.wait_for()
    assert planted.faults() == SEEN


def test_a_control_that_moves_nothing_is_seen(planted: NotebookPage) -> None:
    planted.run_all()
    planted.page.set_default_timeout(2_000)
    (explorer,) = explorers(planted)
    with pytest.raises(Exception, match="Timeout"):
        pictures_after_each_change(explorer)
