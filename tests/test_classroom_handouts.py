"""`minigpt4v handout`: the notebooks without solutions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from classroom_samples import cell, chapter, notebook, sources
from cli_helpers import refuse, succeed

from minigpt4v.classroom.handouts import without_solutions
from minigpt4v.classroom.notebook_files import course_notebooks, read_notebook, source_of
from minigpt4v.classroom.regions import asked_in, regions_of
from minigpt4v.exercises.cards import solution_source
from minigpt4v.exercises.catalogue import chapters, exercises_of


@pytest.fixture(scope="module")
def handouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("handouts") / "class"
    result = succeed("handout", folder)
    assert result.stdout.splitlines() == [str(folder / path.name) for path in course_notebooks()]
    return folder


@pytest.mark.parametrize("number", chapters())
def test_no_solution_is_in_a_handout(handouts: Path, number: str) -> None:
    (path,) = handouts.glob(f"{number}_*.ipynb")
    text = path.read_text(encoding="utf-8")
    markdown = [source_of(each) for each in read_notebook(path)["cells"] if each["cell_type"] == "markdown"]
    code = [source_of(each) for each in read_notebook(path)["cells"] if each["cell_type"] == "code"]
    assert "<summary>Solution" not in text
    assert not any("and the solution" in " ".join(each.split()) for each in markdown), "it promises a solution"
    assert not any("card" in ast.unparse(ast.parse(each)) for each in code if "exercises" in each or "card(" in each)
    for exercise in exercises_of(number):
        (shown,) = [each for each in markdown if each.startswith(f"**Exercise {exercise.id} ")]
        assert shown.count("<details>") == 2
        assert "".join(exercise.hint.split()) in "".join(shown.split())
        assert "".join(exercise.help.split()) in "".join(shown.split())
        assert solution_source(exercise) not in shown
        assert sum(f'check("{exercise.id}",' in each for each in code) == 1
    assert not any(each.get("outputs") for each in read_notebook(path)["cells"])


@pytest.mark.parametrize("number", chapters())
def test_a_handout_is_a_valid_notebook_that_a_grader_understands(handouts: Path, number: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    (path,) = handouts.glob(f"{number}_*.ipynb")
    nbformat.validate(nbformat.read(path, as_version=4))
    assert [each.number for each in asked_in(number)] == [exercise.id for exercise in exercises_of(number)]
    for content in (read_notebook(path), chapter(number)):
        regions = regions_of(content, asked_in(number))
        assert [[each.number for each in region.asked] for region in regions] == [
            [exercise.id] for exercise in exercises_of(number)
        ]
        for region in regions:
            texts = [source_of(each) for each in content["cells"][region.start : region.end]]
            (stub,) = [text for text in texts if f'check("{region.asked[0].number}", {region.asked[0].name})' in text]
            assert region.asked[0].name in stub


def test_check_can_still_be_imported() -> None:
    card_first = 'from minigpt4v.exercises import Progress, card, check\n\ncard("00.1")'
    made = without_solutions(notebook(cell(card_first, id="a"), cell("from minigpt4v.exercises import card", id="b")))
    code, text, *more = made["cells"]
    assert more == []
    assert source_of(code) == "from minigpt4v.exercises import Progress, check"
    assert source_of(text).startswith("**Exercise 00.1 ")
    assert (code["id"], text["id"]) == ("a-rest", "a")


def test_some_chapters(tmp_path: Path) -> None:
    succeed("handout", tmp_path / "some", "--chapter", "3", "--chapter", "00")
    assert sorted(path.name[:3] for path in (tmp_path / "some").iterdir()) == ["00_", "03_"]
    assert any(source.startswith("**Exercise 03.2 ") for source in sources(next((tmp_path / "some").glob("03_*"))))


def test_what_is_refused(tmp_path: Path) -> None:
    assert "there is no chapter '99': choose from 00, 01" in refuse("handout", tmp_path / "new", "--chapter", "99")
    assert "there is no chapter '../00'" in refuse("handout", tmp_path / "new", "--chapter", "../00")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("x")
    assert "is a file: name a new folder" in refuse("handout", tmp_path / "file")
    assert "is not empty: name a new folder" in refuse("handout", tmp_path)
    assert "cannot be written" in refuse("handout", "/proc/class")
