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

from minigpt4v.paths import notebooks_folder

Notebook = dict[str, Any]
Cell = dict[str, Any]

_COURSE_NAME = re.compile(r"(\d\d|[A-Z])_[a-z0-9_]+\.ipynb")  # not "03_attention-Copy1.ipynb", which is somebody's own
_LINK_OUT = re.compile(r"\[([^\]]+)\]\(\.\./([^)]+)\)")
_LARGEST = 100e6  # bytes; the largest of the course, with all its figures, has one million


def course_notebooks() -> list[Path]:
    """The notebooks that this installation or checkout brings, in order."""
    return [path for path in sorted(notebooks_folder().iterdir()) if _COURSE_NAME.fullmatch(path.name)]


def read_notebook(path: Path) -> Notebook:
    """The content of a notebook file, version 4. Raises ValueError where it cannot be read, or is none."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST / 1e6:.0f} MB")
        notebook = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(cell["cell_type"] + source_of(cell), str) for cell in notebook["cells"]):
            raise ValueError("its cells are damaged")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        why = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path.name} is not a notebook that can be read: {why}") from error
    return notebook


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
