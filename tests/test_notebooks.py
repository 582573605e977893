"""The gate: notebooks show what they should, and every fault that was ever planted in one is caught."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from notebook_gate import faults

from minigpt4v.exercises.catalogue import chapters, exercises_of

ROOT = Path(__file__).resolve().parent.parent
# How many cells of each notebook have outputs that nbval compares: a notebook may gain some, and not quietly lose them.
COMPARED = {
    "00_welcome": 24,
    "01_predicting_the_next_word": 52,
    "02_tokens": 53,
    "03_attention": 55,
    "04_multi_head_attention": 43,
    "05_feed_forward_residual_norm": 55,
    "06_positions": 53,
    "07_a_gpt": 37,
    "08_decoding": 68,
    "09_convolutions_see_edges": 55,
    "10_the_patch_encoder": 53,
    "11_fusion": 53,
    "12_training": 62,
    "13_does_it_really_see": 65,
}
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])

Notebook = dict[str, Any]


@every_notebook
def test_notebook_passes_the_gate(path: Path) -> None:
    assert faults(path, COMPARED[path.stem]) == []


def test_every_notebook_has_its_floor() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(COMPARED)


@every_notebook
def test_notebook_is_valid_and_names_are_in_order(path: Path) -> None:
    nbformat.validate(nbformat.read(path, as_version=4))
    assert re.fullmatch(r"(\d\d|[A-Z])_[a-z0-9_]+", path.stem)


@every_notebook
def test_links_lead_somewhere(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    targets = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("chapter", chapters())
def test_a_notebook_shows_all_exercises_of_its_chapter_unsolved(chapter: str) -> None:
    (path,) = (ROOT / "notebooks").glob(f"{chapter}_*.ipynb")
    code = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    shown = [number for cell in code for number in re.findall(r'^card\("(.+?)"\)', "".join(cell["source"]), re.M)]
    checks = [cell for cell in code if re.search(r"^check\(", "".join(cell["source"]), re.M)]
    assert shown == [exercise.id for exercise in exercises_of(chapter)]
    for number, cell in zip(shown, checks, strict=True):
        assert f'check("{number}",' in "".join(cell["source"])
        (output,) = cell["outputs"]
        assert "".join(output["data"]["text/plain"]).startswith(f"· {number} not attempted yet")


# --- planted faults -------------------------------------------------------------------------------------------------


def sound() -> Notebook:
    """A small notebook without a fault: two code cells, one with a figure."""
    markdown = [nbformat.v4.new_markdown_cell(f"## {name}") for name in ("In the wild", "Exercises", "Summary")]
    printed = nbformat.v4.new_output("stream", text="loss ≈ 1.5 (expected: 1 to 2) ✓\n")
    picture = {"image/png": "aGk=", "text/plain": "<Figure: two lines that cross each other>"}
    drawn = nbformat.v4.new_output("display_data", data=picture)
    code = [
        nbformat.v4.new_code_cell(f"print({number})", execution_count=number, outputs=[output])
        for number, output in enumerate((printed, drawn), start=1)
    ]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    return json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=[*markdown, *code], metadata=metadata)))


def show(data: dict[str, str]) -> Callable[[dict], None]:
    """A fault: the last cell shows something else."""
    return lambda cell: cell.update(outputs=[{"output_type": "display_data", "data": data, "metadata": {}}])


def stream(text: str, name: str = "stdout") -> Callable[[dict], None]:
    """A fault: the last cell prints something else."""
    return lambda cell: cell.update(outputs=[{"output_type": "stream", "name": name, "text": [text]}])


ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []}
PLANTED: dict[str, tuple[Callable[[dict], Any], str]] = {
    "unexecuted": (lambda cell: cell.update(execution_count=None), "cell 2 was not run in order"),
    "out of order": (lambda cell: cell.update(execution_count=7), "its count is 7"),
    "error": (lambda cell: cell.update(outputs=[ERROR]), "ends in an error: ValueError"),
    "no output": (lambda cell: cell.update(outputs=[]), "only 1 cells are compared, 2 were promised"),
    "ignored by a comment": (lambda cell: cell.update(source=["# NBVAL_IGNORE_OUTPUT\n", "x"]), "only 1 cells"),
    "ignored by a tag": (lambda cell: cell["metadata"].update(tags=["nbval-skip"]), "only 1 cells"),
    "svg": (show({"image/svg+xml": "<svg/>", "text/plain": "x"}), "shows an SVG"),
    "picture without words": (show({"image/png": "aGk=", "text/plain": "<Figure size 640x480>"}), "no words describe"),
    "huge picture": (show({"image/png": "a" * 400_000, "text/plain": "<Figure: " + "x" * 20}), "400,000 bytes"),
    "machine path": (stream("/home" + "/ada/minigpt4v"), "names a place on a machine: /home"),
    "path in html": (show({"text/html": "<b>/tmp" + "/x</b>"}), "names a place on a machine"),
    "warning": (stream("careful", "stderr"), "writes to stderr: careful"),
    "outside the band": (stream("loss ≈ 3 (expected: 1 to 2) ✗ outside"), "a number without a verdict"),
    "no band": (stream("loss ≈ 3"), "a number without a verdict"),
    "long cell": (lambda cell: cell.update(source=["x\n"] * 16), "has 16 lines"),
    "empty cell": (lambda cell: cell.update(source=[" "]), "a cell is empty"),
}


def gate(notebook: Notebook, folder: Path, floor: int = 2) -> list[str]:
    path = folder / "notebook.ipynb"
    path.write_text(json.dumps(notebook), encoding="utf-8")
    return faults(path, floor)


def test_a_sound_notebook_has_no_fault(tmp_path: Path) -> None:
    assert gate(sound(), tmp_path) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_fault_is_caught(name: str, tmp_path: Path) -> None:
    plant, says = PLANTED[name]
    notebook = sound()
    plant(notebook["cells"][-1])
    assert any(says in fault for fault in gate(notebook, tmp_path)), gate(notebook, tmp_path)


def test_a_flood_of_ignored_cells_is_caught(tmp_path: Path) -> None:
    notebook = sound()
    extra = notebook["cells"][-1]
    for number in range(3, 6):
        cell = copy.deepcopy(extra) | {"execution_count": number, "id": str(number)}
        cell["metadata"] = {"tags": ["nbval-ignore-output"]}
        notebook["cells"].append(cell)
    assert gate(notebook, tmp_path) == ["3 cells tell nbval to look away, at most 2 may"]


def test_saved_widgets_and_missing_sections_are_caught(tmp_path: Path) -> None:
    notebook = sound()
    notebook["metadata"]["widgets"] = {}
    del notebook["cells"][0]
    metadata, section = gate(notebook, tmp_path)
    assert "run `make notebooks`" in metadata
    assert section == "the section '## In the wild' is missing"


# --- nbval itself, as `make test` runs it ---------------------------------------------------------------------------

# name -> (source, saved output, whether it holds)
COMPARISONS = {
    "right": ("print(1 + 1)", "2\n", True),
    "wrong_number": ("print(1 + 1)", "3\n", False),
    "missing_line": ("print(2)\nprint(3)", "2\n", False),
    "measured_number": ("print('loss ≈ 1.52 (expected: 1 to 2) ✓')", "loss ≈ 1.49 (expected: 1 to 2) ✓\n", True),
    "changed_verdict": ("print('loss ≈ 2.5 (expected: 1 to 2) ✗ outside')", "loss ≈ 1.5 (expected: 1 to 2) ✓\n", False),
    "changed_band": ("print('loss ≈ 1.5 (expected: 1 to 3) ✓')", "loss ≈ 1.5 (expected: 1 to 2) ✓\n", False),
    "another_machine": ("print('✓ Python [here: 3.12.1]')", "✓ Python [here: 3.11.7]\n", True),
    "new_trouble": ("print('✗ Python [here: 3.9]')", "✓ Python [here: 3.11.7]\n", False),
    "raises": ("1 / 0", "2\n", False),
}


def test_nbval_finds_every_wrong_output(tmp_path: Path) -> None:
    for name, (source, saved, _) in COMPARISONS.items():
        output = nbformat.v4.new_output("stream", text=saved)
        cell = nbformat.v4.new_code_cell(source, execution_count=1, outputs=[output])
        nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / f"{name}.ipynb")
    flags = re.search(r"pytest .*?(--nbval .*?) notebooks$", makefile_recipe("test"), re.MULTILINE)
    assert flags is not None
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-c", "/dev/null", "--rootdir", str(tmp_path)]
    options = flags[1].replace("tests/", f"{ROOT}/tests/").split()
    run = subprocess.run([*command, *options, str(tmp_path)], capture_output=True, encoding="utf-8", check=False)
    passed = set(re.findall(r"^PASSED (?:.*/)?(\w+)\.ipynb::", run.stdout, re.MULTILINE))
    failed = set(re.findall(r"^FAILED (?:.*/)?(\w+)\.ipynb::", run.stdout, re.MULTILINE))
    assert passed == {name for name, (_, _, holds) in COMPARISONS.items() if holds}, run.stdout
    assert failed == {name for name, (_, _, holds) in COMPARISONS.items() if not holds}, run.stdout


def makefile_recipe(target: str) -> str:
    """The commands of a target, with lines that are broken put together."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    found = re.search(rf"^{target}:.*?\n\n", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return re.sub(r"[ \t]+", " ", found[0])
