"""The doors of the course and of runs: what learners hand in and keep, and what a run has left in its folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.doors import Door, Files, check_refusal
from bench.doors_models import files_in
from minigpt4v.classroom import copies, regions
from minigpt4v.classroom.notebook_files import as_file, course_notebooks, digest_of, read_notebook
from minigpt4v.classroom.submissions import submissions_in
from minigpt4v.commands.output import BadInput
from minigpt4v.commands.run_folder import progress_of, read_record, world_of
from minigpt4v.commands.train_options import check_unchanged, merge_options, recorded_options, settle_options
from minigpt4v.exercises import progress
from minigpt4v.exercises.notebooks import read_executable

_CHAPTER = "03"


def _short_notebook() -> dict[str, Any]:
    """The course's notebook of a chapter without most of its texts: cards, stubs and checks are all there."""
    (path,) = (path for path in course_notebooks() if path.name.startswith(_CHAPTER))
    notebook = read_notebook(path)
    told = [cell for cell in notebook["cells"] if cell["cell_type"] == "code" and "exercise" in str(cell["source"])]
    asked = [cell for cell in notebook["cells"] if "card(" in str(cell["source"]) or "check(" in str(cell["source"])]
    texts = [cell for cell in notebook["cells"] if cell["cell_type"] == "markdown"][:2]
    kept = [cell | {"outputs": []} if cell["cell_type"] == "code" else cell for cell in [*texts, *told[:1], *asked[:6]]]
    return notebook | {"cells": kept}


class Notebooks(Door):
    """A class's folder with one learner's folder in it, read by `grade`, `start --update` and `check`."""

    name = "notebooks"

    def make_samples(self, folder: Path) -> list[Files]:
        self.asked = regions.asked_in(_CHAPTER)
        notebook = _short_notebook()
        self.fresh = digest_of(notebook)
        text = as_file(notebook).encode()
        manifest = f"{self.fresh}  03_attention.ipynb\n".encode()
        self.course = folder.parent / "03_attention.ipynb"
        self.course.write_bytes(text)
        names = (f"ada/{copies.MANIFEST}", "ada/03_attention.ipynb", "bob.ipynb")
        return [dict(zip(names, (manifest, text, text), strict=True))]

    def enter(self) -> None:
        for submission in submissions_in(self.folder):
            assert all(message.isprintable() for message in submission.unreadable)
            for path in [path for paths in submission.notebooks.values() for path in paths]:
                _refused_or(self._graded, path)
                _refused_or(read_executable, path)
        if copies.is_copy(self.folder / "ada"):
            self._update()
        self._graded(self.folder / "ada" / "03_attention.ipynb")

    def _graded(self, path: Path) -> None:
        notebook = read_notebook(path)
        found = regions.regions_of(notebook, self.asked)
        assert all(region.asked and region.start < region.end <= len(notebook["cells"]) for region in found)
        assert len(digest_of(notebook)) == 64

    def _update(self) -> None:
        """`start --update` with a course of one chapter: what was a learner's is as it was."""
        folder = self.folder / "ada"
        path = folder / "03_attention.ipynb"
        before = path.read_bytes() if path.is_file() else None
        given = copies._read_manifest(folder)
        change = copies._bring(folder, path.name, read_notebook(self.course), given)
        if change.kind == copies.UPDATED:
            path.unlink()
        elif change.kind == copies.NEW:
            assert before is None
        else:
            assert (path.read_bytes() if path.is_file() else None) == before, "a learner's work is gone"
        for new in folder.glob("*.new*.ipynb"):
            new.unlink()
        self._there.pop(f"ada/{path.name}")  # to be written anew


def _refused_or(read: Any, path: Path) -> None:
    try:
        read(path)
    except ValueError as error:
        check_refusal(error)


class Runs(Door):
    """What `train --resume`, `evaluate` and `progress` read in the folder of a run, and of a learner."""

    name = "runs"
    refusals = (ValueError, OSError, BadInput)

    def make_samples(self, folder: Path) -> list[Files]:
        (folder / "my.txt").write_text("to be or not to be\n" * 20, encoding="utf-8")
        options = dict.fromkeys(
            ("preset", "dataset", "labels", "val", "start", "tokenizer", "minutes", "steps", "seed")
        )
        settled = settle_options(options | {"allow_outside": None, "data": str(folder / "my.txt"), "steps": 7})
        preset = settle_options(options | {"allow_outside": None, "data": None, "preset": "tiny", "minutes": 1.5})
        self.given = options | {"allow_outside": False, "data": None}
        for name, chosen in (("text", settled), ("preset", preset)):
            record = {
                "command": "x",
                "world": "core16",
                "minutes": 1.0,
                "steps": 5,
                "options": recorded_options(chosen),
            }
            (folder / f"{name}.json").write_text(json.dumps(record), encoding="utf-8")
        files = files_in(folder)
        done = b"# done\n03.1 passed 2026-01-02\n"
        more: Files = {
            "my.txt": files["my.txt"],
            progress.FILE_NAME: done,
            "checkpoints/step-00000005/state.json": b"{}",
        }
        return [{"run.json": files[f"{name}.json"]} | more for name in ("text", "preset")]

    def enter(self) -> None:
        progress_of(self.folder)
        world = world_of(self.folder)
        assert world is None or isinstance(world, str)
        assert all(len(number) < 99 for number in progress.passed_in(self.folder / progress.FILE_NAME))
        record = read_record(self.folder)
        options = merge_options(record["options"], self.given)
        self.reading = False
        options = settle_options(options)
        check_unchanged(options, record)
        assert float(record["minutes"]) >= 0
