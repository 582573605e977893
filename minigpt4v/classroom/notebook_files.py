"""Notebook files as plain JSON: those of the course, and what in a notebook is its reader's work: the cells' sources.

Nothing here needs the packages of Jupyter, so that a copy of the course is made at once.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from minigpt4v.foreign_files import plain, read_json, reason
from minigpt4v.paths import notebooks_folder

Notebook = dict[str, Any]
Cell = dict[str, Any]

_COURSE_NAME = re.compile(r"(\d\d|[A-Z])_[a-z0-9_]+\.ipynb")  # not "03_attention-Copy1.ipynb", which is somebody's own
_LINK_OUT = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")
_HALF = re.compile("[\ud800-\udfff]")  # of a UTF-16 pair: no text that Python or a kernel would take
_LARGEST = 100_000_000  # bytes; the largest of the course, with all its figures, has one million


def course_notebooks() -> list[Path]:
    """The notebooks that this installation or checkout brings, in order."""
    return [path for path in sorted(notebooks_folder().iterdir()) if _COURSE_NAME.fullmatch(path.name)]


def read_notebook(path: Path) -> Notebook:
    """The content of a notebook file, version 4. Raises ValueError where it cannot be read, or is none."""
    try:
        notebook = read_json(path, _LARGEST)
    except (OSError, ValueError) as error:
        why = reason(error).removeprefix(f"{plain(path)} ")
        raise ValueError(f"{plain(path.name)} is not a notebook that can be read: {why}") from error
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise ValueError(f"{plain(path.name)} is not a notebook that can be read: it has no cells")
    if not all(map(_is_cell, cells)):
        raise ValueError(f"{plain(path.name)} is not a notebook that can be read: its cells are damaged")
    return notebook


def _is_cell(cell: Any) -> bool:
    """Whether all that we use of a cell is of the right type: its kind, its source, and its id if it has one."""
    if not isinstance(cell, dict) or not all(isinstance(cell.get(key, ""), str) for key in ("cell_type", "id")):
        return False
    source = cell.get("source")
    lines = source if isinstance(source, list) else [source]
    return "cell_type" in cell and all(isinstance(line, str) and not _HALF.search(line) for line in lines)


def source_of(cell: Cell) -> str:
    """The text of a cell, which a file keeps whole or in lines."""
    source = cell["source"]
    return source if isinstance(source, str) else "".join(source)


def digest_of(notebook: Notebook) -> str:
    """SHA-256 of the kinds and sources of the cells.

    Running a notebook leaves it as it was: outputs, counts and metadata do not count, nor do the empty cells that
    JupyterLab adds at the end, nor white space behind a cell's text.
    """
    cells = [[cell["cell_type"], source_of(cell).rstrip()] for cell in notebook["cells"] if source_of(cell).strip()]
    return hashlib.sha256(json.dumps(cells).encode()).hexdigest()


def handed_out(notebook: Notebook) -> Notebook:
    """A copy as a learner gets it: without outputs, and without links to files that stay in the repository."""
    fresh = copy.deepcopy(notebook)
    for cell in fresh["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        elif cell["cell_type"] == "markdown":
            cell["source"] = _LINK_OUT.sub(r"\1 (`\2` in the repository of the course)", source_of(cell))
    return fresh


def as_file(notebook: Notebook) -> str:
    """The text of the file, laid out as Jupyter does it."""
    lined = copy.deepcopy(notebook)
    for cell in lined["cells"]:
        cell["source"] = source_of(cell).splitlines(keepends=True)
    return json.dumps(lined, ensure_ascii=False, indent=1) + "\n"
