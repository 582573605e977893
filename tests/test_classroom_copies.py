"""`minigpt4v start`: a copy of one's own, and updates that never cost a learner anything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from classroom_samples import cell, chapter, notebook, sources, use_course, write
from cli_helpers import invoke, refuse, succeed
from hypothesis import given, settings
from hypothesis import strategies as st

from minigpt4v.classroom import copies
from minigpt4v.classroom.copies import MANIFEST, start_copy, update_copy
from minigpt4v.classroom.notebook_files import as_file, course_notebooks, digest_of, handed_out, read_notebook
from minigpt4v.exercises.catalogue import chapters

FIRST, SECOND = "01_first.ipynb", "02_second.ipynb"


@pytest.fixture
def course(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A course of two chapters, in place of the real one."""
    for name in (FIRST, SECOND):
        write(tmp_path / "course" / name, notebook(f"'{name}'", "..."))
    use_course(monkeypatch, tmp_path / "course")
    return tmp_path / "course"


@pytest.fixture
def mine(course: Path, tmp_path: Path) -> Path:
    succeed("start", tmp_path / "mine")
    return tmp_path / "mine"


def files(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


# --- the real course ------------------------------------------------------------------------------------------------


def test_the_course_as_a_learner_gets_it(tmp_path: Path) -> None:
    result = succeed("start", tmp_path / "deep" / "mine")
    folder = tmp_path / "deep" / "mine"
    names = {path.name for path in course_notebooks()}
    assert {name[:2] for name in names} >= set(chapters())
    assert set(files(folder)) == names | {MANIFEST}
    for path in course_notebooks():
        fresh = read_notebook(folder / path.name)
        assert [each["source"] for each in fresh["cells"] if each["cell_type"] == "code"] == [
            each["source"] for each in read_notebook(path)["cells"] if each["cell_type"] == "code"
        ]
        assert not any(each.get("outputs") or each.get("execution_count") for each in fresh["cells"])
        assert "](../" not in as_file(fresh), "a link that leads nowhere in a copy"
    assert "<summary>Solution" not in "".join(files(folder).values())
    assert result.stdout.count(": new\n") == len(names)
    assert f"start {folder} --update" in result.stderr
    assert f"jupyterlab {folder}" in result.stderr or f"jupyter lab {folder}" in result.stderr
    assert "Nothing is new." in succeed("start", folder, "--update").stderr


def test_a_copy_is_a_notebook_that_jupyter_reads(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    for number in chapters():
        path = tmp_path / f"{number}.ipynb"
        path.write_text(as_file(chapter(number)), encoding="utf-8")
        nbformat.validate(nbformat.read(path, as_version=4))


def test_only_the_courses_own_notebooks_are_handed_out(course: Path) -> None:
    for name in ("01_first-Copy1.ipynb", "01_first.new.ipynb", "notes.ipynb", "01_first.txt"):
        (course / name).write_text("{")
    write(course / "A_appendix.ipynb", notebook("1"))
    assert [path.name for path in course_notebooks()] == [FIRST, SECOND, "A_appendix.ipynb"]


# --- what counts as a change ----------------------------------------------------------------------------------------

TEXTS = st.text(max_size=20)
CELLS = st.lists(st.tuples(st.sampled_from(["code", "markdown"]), TEXTS), max_size=5)


@given(CELLS, st.data())
def test_running_a_notebook_does_not_change_it(cells: list[tuple[str, str]], data: st.DataObject) -> None:
    before = notebook(*(cell(source, kind) for kind, source in cells))
    after = json.loads(as_file(before))
    for each in after["cells"]:
        if each["cell_type"] == "code":
            each["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [data.draw(TEXTS)]}]
            each["execution_count"] = data.draw(st.integers(1, 99))
        each["metadata"] = {"tags": [data.draw(TEXTS)]}
        each["source"] = "".join(each["source"]) + data.draw(st.sampled_from(["", "\n", " "]))
    after["cells"].insert(data.draw(st.integers(0, len(cells))), cell(data.draw(st.sampled_from(["", " \n"]))))
    after["metadata"] = {"widgets": {}}
    assert digest_of(after) == digest_of(before)


@given(CELLS, st.data())
def test_every_edit_is_a_change(cells: list[tuple[str, str]], data: st.DataObject) -> None:
    edited = list(cells)
    place = data.draw(st.integers(0, len(cells)))
    letter = data.draw(st.characters(exclude_categories=("Z", "C")))
    if place == len(cells):
        edited.append(("code", letter))
    else:
        kind, source = edited[place]
        cut = data.draw(st.integers(0, len(source)))
        edited[place] = (kind, source[:cut] + letter + source[cut:])
    made = [notebook(*(cell(source, kind) for kind, source in version)) for version in (cells, edited)]
    assert digest_of(made[0]) != digest_of(made[1])


def test_kind_and_order_of_cells_count() -> None:
    variants = [["a", "b"], ["b", "a"], ["ab"], ["a", cell("b", "markdown")], ["a"]]
    assert len({digest_of(notebook(*each)) for each in variants}) == len(variants)


def test_links_out_of_the_folder_become_text() -> None:
    text = "see [the log](../docs/log.md), [two](02_second.ipynb) and [a site](https://example.org)"
    (changed,) = handed_out(notebook(cell(text, "markdown")))["cells"]
    assert changed["source"] == (
        "see the log (`docs/log.md` in the repository of the course), [two](02_second.ipynb) and "
        "[a site](https://example.org)"
    )


# --- updates --------------------------------------------------------------------------------------------------------


def test_nobody_changed_anything(mine: Path) -> None:
    before = files(mine)
    result = succeed("start", mine, "--update")
    assert result.stdout == ""
    assert "Nothing is new." in result.stderr
    assert files(mine) == before


def test_a_chapter_that_was_only_run_gets_the_new_version(course: Path, mine: Path) -> None:
    run = read_notebook(mine / FIRST)
    run["cells"][0] |= {"outputs": [{"output_type": "stream", "name": "stdout", "text": "x"}], "execution_count": 7}
    run["cells"].append(cell(""))
    write(mine / FIRST, run)
    write(course / FIRST, notebook("'better'"))
    assert succeed("start", mine, "--update").stdout == f"{FIRST}: updated\n"
    assert sources(mine / FIRST) == ["'better'"]


def test_a_changed_chapter_is_kept_and_a_new_one_comes(course: Path, mine: Path) -> None:
    write(mine / FIRST, notebook("my answer"))
    write(course / "03_third.ipynb", notebook("3"))
    result = succeed("start", mine, "--update")
    assert result.stdout == f"{FIRST}: changed by you, kept\n03_third.ipynb: new\n"
    assert sources(mine / FIRST) == ["my answer"]
    assert sources(mine / "03_third.ipynb") == ["3"]


def test_changed_by_both(course: Path, mine: Path) -> None:
    write(mine / FIRST, notebook("my answer"))
    write(course / FIRST, notebook("'better'"))
    said = succeed("start", mine, "--update").stdout
    assert said == f"{FIRST}: changed by you and by the course: yours is kept, the new one is 01_first.new.ipynb\n"
    assert sources(mine / FIRST) == ["my answer"]
    assert sources(mine / "01_first.new.ipynb") == ["'better'"]
    assert succeed("start", mine, "--update").stdout == f"{FIRST}: changed by you, kept\n"  # told once

    write(course / FIRST, notebook("'best'"))
    assert succeed("start", mine, "--update").stdout.endswith("the new one is 01_first.new.ipynb\n")
    assert sources(mine / "01_first.new.ipynb") == ["'best'"]

    write(mine / "01_first.new.ipynb", notebook("my answer, in the new one"))
    write(course / FIRST, notebook("'perfect'"))
    assert succeed("start", mine, "--update").stdout.endswith("the new one is 01_first.new2.ipynb\n")
    assert sources(mine / "01_first.new.ipynb") == ["my answer, in the new one"]
    assert sources(mine / "01_first.new2.ipynb") == ["'perfect'"]


def test_a_learner_who_takes_the_new_one_is_up_to_date(course: Path, mine: Path) -> None:
    write(mine / FIRST, notebook("my answer"))
    write(course / FIRST, notebook("'better'"))
    succeed("start", mine, "--update")
    (mine / "01_first.new.ipynb").replace(mine / FIRST)
    assert "Nothing is new." in succeed("start", mine, "--update").stderr
    write(course / FIRST, notebook("'best'"))
    assert succeed("start", mine, "--update").stdout == f"{FIRST}: updated\n"


def test_a_deleted_chapter_comes_back_fresh(mine: Path) -> None:
    (mine / FIRST).rename(mine / "my first.ipynb")
    assert succeed("start", mine, "--update").stdout == f"{FIRST}: new\n"
    assert (mine / "my first.ipynb").is_file()


def test_a_chapter_that_cannot_be_read_is_kept(course: Path, mine: Path) -> None:
    (mine / FIRST).write_text("{ half of a")
    (mine / SECOND).unlink()
    (mine / SECOND).mkdir()
    write(course / FIRST, notebook("'better'"))
    said = succeed("start", mine, "--update").stdout.splitlines()
    assert said == [
        f"{FIRST}: changed by you and by the course: yours is kept, the new one is 01_first.new.ipynb",
        f"{SECOND}: changed by you, kept",
    ]
    assert (mine / FIRST).read_text() == "{ half of a"


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from(["learner", "beside", "course", "run", "delete", "update"]), st.booleans()),
        max_size=9,
    )
)
def test_no_work_is_ever_lost(steps: list[tuple[str, bool]]) -> None:
    """Whatever learner and course do: what the learner wrote stays, and the rest is the course's newest."""
    with TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        course, mine, written = Path(scratch) / "course", Path(scratch) / "mine", {}
        for name in (FIRST, SECOND):
            write(course / name, notebook(name))
        use_course(patch, course)
        start_copy(mine)
        for number, (step, second) in enumerate(steps):
            name = SECOND if second else FIRST
            beside = name.replace(".ipynb", ".new.ipynb")
            target = mine / (beside if step == "beside" and (mine / beside).exists() else name)
            if step in ("learner", "beside"):
                written[target] = f"my work {number}"
                write(target, notebook(written[target]))
            elif step == "course":
                write(course / name, notebook(f"version {number}"))
            elif step == "run" and target.exists():
                ran = read_notebook(target)
                write(target, ran | {"cells": [*ran["cells"], cell("")], "metadata": {}})
            elif step == "delete":
                target.unlink(missing_ok=True)
                written.pop(target, None)
            if step == "update":
                update_copy(mine)
        update_copy(mine)
        for path, text in written.items():
            assert text in sources(path)
        for name in (FIRST, SECOND):
            newest, found = sources(course / name)[0], [sources(path)[0] for path in mine.glob(f"{name[:2]}_*.ipynb")]
            assert newest in found or mine / name in written
            assert mine / name in written or sources(mine / name)[0] == newest


def test_what_an_interruption_leaves_can_be_completed(
    course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically, calls = copies.write_atomically, []

    def fail_at_the_third(path: Path, content: str) -> None:
        calls.append(path.name)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        write_atomically(path, content)

    monkeypatch.setattr(copies, "write_atomically", fail_at_the_third)
    assert refuse("start", tmp_path / "mine", code=1) == "Error: the disk is full: make room, and try again"
    assert calls == [MANIFEST, FIRST, SECOND]
    assert sorted(files(tmp_path / "mine")) == [FIRST, MANIFEST]
    monkeypatch.setattr(copies, "write_atomically", write_atomically)
    assert succeed("start", tmp_path / "mine", "--update").stdout == f"{SECOND}: new\n"


def test_an_update_that_was_interrupted_does_not_take_the_courses_for_the_learners(
    course: Path, mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (mine / MANIFEST).read_text()
    write(course / FIRST, notebook("'better'"))
    write(course / SECOND, notebook("'also better'"))
    write(mine / SECOND, notebook("my answer"))
    succeed("start", mine, "--update")
    brought = {name: text for name, text in files(mine).items() if name != MANIFEST}
    (mine / MANIFEST).write_text(before)  # as if the power had failed before the manifest was written
    succeed("start", mine, "--update")
    assert {name: text for name, text in files(mine).items() if name != MANIFEST} == brought
    assert succeed("start", mine, "--update").stdout == f"{SECOND}: changed by you, kept\n"


def test_the_manifest_is_plain_and_strange_lines_do_no_harm(course: Path, mine: Path) -> None:
    lines = (mine / MANIFEST).read_text().splitlines()
    assert lines[0].startswith("# ")
    assert [line.split("  ")[1] for line in lines[1:]] == [FIRST, SECOND]
    (mine / MANIFEST).write_bytes("\n".join(["\xff nonsense", *lines, "0  x"]).encode("latin-1"))
    write(course / FIRST, notebook("'better'"))
    assert succeed("start", mine, "--update").stdout == f"{FIRST}: updated\n"


# --- what is refused ------------------------------------------------------------------------------------------------


def test_folders_that_are_not_taken(course: Path, mine: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert refuse("start", tmp_path / "file").endswith("is a file: name a new folder")
    assert "cannot be written (Not a directory)" in refuse("start", tmp_path / "file" / "below")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    assert refuse("start", tmp_path / "full").endswith("is not empty: name a new folder")
    assert files(tmp_path / "full") == {"thesis.txt": "years of work"}
    assert "is a copy of the course already: add --update" in refuse("start", mine)
    for name in ("full", "nowhere", "file"):
        assert f"is no copy of the course (it has no {MANIFEST})" in refuse("start", tmp_path / name, "--update")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "empty").mkdir()
    succeed("start", tmp_path / "empty")


def test_a_folder_that_may_not_be_written(course: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid():  # root may write everywhere
        mine.parent.chmod(0o500)
        try:
            assert "cannot be written (Permission denied)" in refuse("start", mine.parent / "other")
        finally:
            mine.parent.chmod(0o700)
    assert "cannot be written" in refuse("start", "/proc/mine")
    monkeypatch.setattr(copies, "write_atomically", lambda path, content: os.close(-1))
    assert "cannot be written (Bad file descriptor)" in refuse("start", mine, "--update")


def test_an_installation_without_notebooks(course: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr("minigpt4v.paths.PACKAGE_FOLDER", tmp_path / "package")
    result = invoke("start", tmp_path / "mine")
    assert result.exit_code == 1
    assert "the notebooks folder is neither" in result.stderr
    assert not any((tmp_path / "mine").glob("*.ipynb"))


def test_start_does_not_wait_for_pytorch(mine: Path) -> None:
    code = (
        "import sys; from minigpt4v.cli import main; main(['start', sys.argv[1]], standalone_mode=False); "
        "assert 'torch' not in sys.modules and 'nbformat' not in sys.modules"
    )
    shutil.rmtree(mine)
    subprocess.run([sys.executable, "-c", code, str(mine)], check=True, capture_output=True)
    assert (mine / MANIFEST).is_file()
