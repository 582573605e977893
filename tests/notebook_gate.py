"""What nbval does not see: a notebook that compares too little, or shows what must not be shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

LONGEST_CELL = 15  # lines
MOST_IGNORED = 2  # cells of a notebook whose output is not compared
LARGEST_PICTURE = 300_000  # bytes of base64
SECTIONS = ("## In the wild", "## Exercises", "## Summary")
_MACHINE_PATH = re.compile(r"(?<![\w.<~*-])/(?:work|root|home|Users|tmp)/\w|[A-Z]:\\Users|site-packages|ipykernel_\d")
_IGNORING = re.compile(r"NBVAL_(?:IGNORE_OUTPUT|SKIP|RAISES_EXCEPTION)|nbval-(?:ignore-output|skip|raises-exception)")
_COMPARED = ("text/plain", "text/html", "text/markdown")


def faults(path: Path, floor: int) -> list[str]:
    """One sentence for each thing that is wrong with a notebook. floor: how many cells must have compared outputs."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = notebook["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    found = [fault for number, cell in enumerate(code, start=1) for fault in _cell_faults(number, cell)]
    compared = sum(is_compared(cell) for cell in code)
    if compared < floor:
        found.append(f"only {compared} cells are compared, {floor} were promised")
    ignored = sum(_is_ignored(cell) for cell in code)
    if ignored > MOST_IGNORED:
        found.append(f"{ignored} cells tell nbval to look away, at most {MOST_IGNORED} may")
    if any(_text(cell["source"]).strip() == "" for cell in cells):
        found.append("a cell is empty")
    if set(notebook["metadata"]) != {"kernelspec", "language_info"}:
        found.append(f"its metadata hold {sorted(notebook['metadata'])}: run `make notebooks`")
    headings = [line for cell in cells if cell["cell_type"] == "markdown" for line in _text(cell["source"]).split("\n")]
    found += [f"the section {section!r} is missing" for section in SECTIONS if section not in headings]
    return found


def is_compared(cell: dict[str, Any]) -> bool:
    """Whether nbval compares anything of this code cell."""
    return not _is_ignored(cell) and any(_compared_text(output).strip() for output in cell["outputs"])


def _cell_faults(number: int, cell: dict[str, Any]) -> list[str]:
    """Cells are counted from 1, as a run from top to bottom counts them."""
    found = []
    if cell["execution_count"] != number:
        found.append(f"cell {number} was not run in order: its count is {cell['execution_count']}")
    lines = len(_text(cell["source"]).splitlines())
    if lines > LONGEST_CELL:
        found.append(f"cell {number} has {lines} lines, at most {LONGEST_CELL} may stand in one")
    for output in cell["outputs"]:
        found += [f"cell {number} {fault}" for fault in _output_faults(output)]
    return found


def _output_faults(output: dict[str, Any]) -> list[str]:
    if output["output_type"] == "error":
        return [f"ends in an error: {output['ename']}"]
    data, text = output.get("data", {}), _compared_text(output)
    found = []
    if output.get("name") == "stderr":
        found.append(f"writes to stderr: {text.strip()[:80]}")
    if "image/svg+xml" in data:
        found.append("shows an SVG, which no comparison survives: use PNG")
    picture = data.get("image/png")
    if picture and len(_text(picture)) > LARGEST_PICTURE:
        found.append(f"shows a picture of {len(_text(picture)):,} bytes, at most {LARGEST_PICTURE:,} may be")
    if picture and not re.match(r"<Figure: .{15}", _text(data.get("text/plain", ""))):
        found.append("shows a picture that no words describe: give it an alt")
    place = _MACHINE_PATH.search(text)
    if place:
        found.append(f"names a place on a machine: {place[0]}")
    found += [
        f"has a number without a verdict: {line}" for line in text.splitlines() if "≈" in line and "✓" not in line
    ]
    return found


def _is_ignored(cell: dict[str, Any]) -> bool:
    tags = " ".join(cell["metadata"].get("tags", []))
    return bool(_IGNORING.search(f"{tags} {_text(cell['source'])}"))


def _compared_text(output: dict[str, Any]) -> str:
    data = output.get("data", {})
    return _text(output.get("text", "")) + "\n".join(_text(data[kind]) for kind in _COMPARED if kind in data)


def _text(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)
