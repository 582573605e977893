"""The exercises of a notebook as the learner has left them, checked from outside of JupyterLab."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from minigpt4v.classroom.notebook_files import read_notebook, source_of

_CHECK = re.compile(r"^check\(", re.MULTILINE)
_CELL_SECONDS = 600


def find_notebook(chapter: str, folder: Path | None = None) -> Path:
    """The notebook of a chapter, "03" or "3", in ./notebooks or here. Raises ValueError where there is none, or two."""
    folders = [folder] if folder else [Path("notebooks"), Path()]
    found = [path for place in folders for path in sorted(place.glob(f"{chapter.zfill(2)}_*.ipynb"))]
    if not found:
        places = " or ".join(repr(str(place)) for place in folders)
        raise ValueError(f"no notebook of chapter {chapter!r} in {places}: go to the folder of the course, or name one")
    return found[0]


def check_notebook(path: Path) -> list[str]:
    """Run a notebook from top to bottom, in memory, and return what its calls of `check` say.

    Raises ValueError where the file is no notebook or a cell before the last check fails; the message has its error.
    """
    notebook = read_executable(path)
    client = NotebookClient(notebook, timeout=_CELL_SECONDS, resources={"metadata": {"path": str(path.parent)}})
    try:
        client.execute(stderr=subprocess.DEVNULL)  # where kernels talk about themselves
    except CellExecutionError as error:
        what = f"{error.ename}: {error.evalue}"
        raise ValueError(f"{path.name} stops with an error: {what}. Run it in JupyterLab to see where") from error
    return [said for cell in notebook.cells if _is_check(cell) for said in _texts(cell)]


def read_executable(path: Path) -> nbformat.NotebookNode:
    """The code cells of a notebook file, and nothing else of it. Raises ValueError where the file is no notebook."""
    cells = [cell for cell in read_notebook(path)["cells"] if cell["cell_type"] == "code"]
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source_of(cell)) for cell in cells])


def _is_check(cell: nbformat.NotebookNode) -> bool:
    return _CHECK.search(cell.source) is not None


def _texts(cell: nbformat.NotebookNode) -> list[str]:
    """The verdicts among the outputs of a cell, one text for each."""
    shown = [output.data.get("text/plain", "") for output in cell.outputs if "data" in output]
    printed = [output.text for output in cell.outputs if output.output_type == "stream"]
    return [text for text in shown + printed if text[:2] in ("✓ ", "✗ ", "· ")]
