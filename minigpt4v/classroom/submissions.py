"""What learners have handed in: a folder or a single notebook of each, and which chapters are in it."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from minigpt4v.classroom.notebook_files import course_notebooks, read_notebook, source_of

_NUMBER = re.compile(r"""^(?:card|check)\(\s*["'](\d\d)\.\d+["']|^\*\*Exercise (\d\d)\.\d+ """, re.MULTILINE)
_NAME = re.compile(r"(\d\d)_")


@dataclass
class Submission:
    """What one learner has handed in.

    Attributes:
        learner: the name of the folder, or of the notebook without its ending.
        place: the folder or the notebook.
        notebooks: chapter -> its notebooks; there should be one.
        unreadable: what is to be said of each notebook whose chapter is not known since it cannot be read.
    """

    learner: str
    place: Path
    notebooks: dict[str, list[Path]] = field(default_factory=dict)
    unreadable: list[str] = field(default_factory=list)


def submissions_in(folder: Path) -> list[Submission]:
    """What lies in a folder, sorted by learner. Raises ValueError where it holds no submissions."""
    if not folder.is_dir():
        raise ValueError(
            f"{str(folder)!r} is no folder: name the one that holds a folder or a notebook of each learner"
        )
    names = {path.name for path in course_notebooks()}
    places = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if any(path.name in names for path in places):
        raise ValueError(f"{str(folder)!r} looks like the folder of one learner: name the folder that it lies in")
    found = [_submission(path, names) for path in places if path.is_dir() or path.suffix == ".ipynb"]
    if not found:
        raise ValueError(f"{str(folder)!r} holds no submissions: put a folder or a notebook of each learner into it")
    return found


def _submission(place: Path, names: set[str]) -> Submission:
    single = not place.is_dir()
    submission = Submission(place.stem if single else place.name, place)
    for path in [place] if single else _notebooks_below(place):
        try:
            chapter = _chapter_of(path)
        except ValueError as error:
            chapter = _chapter_in_name(path)
            if not chapter:
                submission.unreadable.append(str(error))
        if chapter:
            submission.notebooks.setdefault(chapter, []).append(path)
    for chapter, paths in submission.notebooks.items():  # a copy beside the notebook is none of ours
        submission.notebooks[chapter] = [path for path in paths if path.name in names] or paths
    return submission


def _notebooks_below(folder: Path) -> list[Path]:
    """The notebooks in a folder and the folders in it, but for hidden ones (Jupyter's checkpoints) and links."""
    found = [path for path in sorted(folder.rglob("*.ipynb")) if path.is_file() and not path.is_symlink()]
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _chapter_of(path: Path) -> str | None:
    """The chapter whose exercises are in a notebook, most of them. Raises ValueError where it cannot be read."""
    text = "\n".join(source_of(cell) for cell in read_notebook(path)["cells"])
    numbers = Counter(found[1] or found[2] for found in _NUMBER.finditer(text))
    return numbers.most_common(1)[0][0] if numbers else _chapter_in_name(path)


def _chapter_in_name(path: Path) -> str | None:
    """The chapter of "03_attention.ipynb", where all that tells it has been deleted or cannot be read."""
    found = _NAME.match(path.name)
    return found[1] if found else None
