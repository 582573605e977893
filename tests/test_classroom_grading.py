"""`minigpt4v grade`: right verdicts, whatever a notebook prints, breaks or eats."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path

import pytest
from classroom_samples import SOLUTIONS, cell, chapter, exercises_only, notebook, write
from cli_helpers import invoke, refuse, succeed
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

from minigpt4v.classroom import grading, limited_kernel
from minigpt4v.classroom.grading import Grade
from minigpt4v.classroom.handouts import without_solutions
from minigpt4v.classroom.inside import MEDIA_TYPE
from minigpt4v.classroom.limited_kernel import KernelStopped, Limits, Outcome
from minigpt4v.classroom.notebook_files import Notebook
from minigpt4v.classroom.regions import Asked, asked_in, regions_of
from minigpt4v.classroom.submissions import submissions_in
from minigpt4v.exercises.catalogue import chapters, exercises_of

NAME = "00_welcome.ipynb"
SLEEPER = f"86397.{os.getpid()}"  # seconds: a process of that name is ours

# In the notebook of a diligent learner: it fails in its first cell unless the kernel has scratch folders around it.
LOOK_AROUND = """
import os, pathlib, sys, tempfile
for place in (os.getcwd(), pathlib.Path.home(), tempfile.gettempdir(), os.environ["MINIGPT4V_PROGRESS"]):
    assert "minigpt4v-grade-" in str(place), place
assert pathlib.Path("helper.py").exists() and not pathlib.Path("link").exists() and not pathlib.Path("pipe").exists()
import errno, resource, signal
from minigpt4v.classroom import confinement
def refused(action, *arguments):
    try:
        action(*arguments)
    except OSError as error:
        return error.errno in (errno.EPERM, errno.EACCES, errno.EXDEV)
if confinement.version():
    os.symlink(OUTSIDE, "way-out")
    for place in (OUTSIDE, "way-out"):
        assert refused(open, place + "/new.txt", "w") and refused(open, place + "/kept.txt", "a")
        assert refused(os.mkdir, place + "/new") and refused(os.unlink, place + "/kept.txt")
        assert refused(os.link, place + "/kept.txt", "mine")
    assert os.system(f"touch {OUTSIDE}/new.txt") != 0
    with open(OUTSIDE + "/kept.txt") as kept, open(os.devnull, "w") as nowhere:
        nowhere.write(kept.read())
    assert confinement.version() < 3 or refused(os.truncate, OUTSIDE + "/kept.txt", 0)
    assert confinement.version() < 6 or refused(os.kill, os.getppid(), 0)
if sys.platform == "linux":
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] <= 2**30
    assert resource.getrlimit(resource.RLIMIT_NPROC)[1] != resource.RLIM_INFINITY
import helper
pathlib.Path("written.txt").write_text("x"); pathlib.Path("helper.py").write_text("")
print("✓ 00.3 passed: well done.")
"""
FORGERY = """
from IPython.display import display
from minigpt4v.exercises import examination, checking, catalogue
from minigpt4v.exercises.examination import Verdict
import minigpt4v.exercises as exercises
def check(number, answer=None):
    print(f"✓ {number} passed: well done.")
    display({"MEDIA": {"key": "", "state": "passed", "says": ""}}, raw=True)
    display({"MEDIA": "nonsense"}, raw=True)
examination.examine = checking.examine = exercises.check = lambda exercise, answer: Verdict(exercise.id, "passed", "")
examination._judge = examination.examine
list = sys = sum = globals = None
share_of_right_answers = lambda mine, true: 1.0
check("00.1")
""".replace("MEDIA", MEDIA_TYPE)
LOOP = "print('x' * 10**6)\nwhile True:\n    print('x' * 10**6)"
HOG = """
import numpy
hog = []
for size in (2**22, 2**17, 2**17):
    try:
        while True:
            hog.append(numpy.zeros(size))
    except MemoryError as error:
        full = error
raise full
"""
CRASH = f"""
import subprocess, os
subprocess.Popen(['sleep', '{SLEEPER}'])
subprocess.Popen(['sleep', '{SLEEPER}'], start_new_session=True)
os._exit(1)
"""


def hand_in(folder: Path) -> None:
    """The submissions of a class."""
    course = chapter("00")
    outside = folder.with_name(f"{folder.name}-outside")
    outside.mkdir()
    (outside / "kept.txt").write_text("x")
    looking = f"OUTSIDE = {str(outside)!r}\n{LOOK_AROUND}\n{SOLUTIONS['00.1']}"
    ada = exercises_only(course, {"00.1": looking, "00.3": SOLUTIONS["00.3"] + "\n1 / 0"})
    stub = next(place for place, each in enumerate(ada["cells"]) if 'check("00.2"' in each["source"])
    ada["cells"][stub : stub + 1] = [cell(SOLUTIONS["00.2"]), cell("always_guess([1])\ncheck(")]
    write(folder / "ada" / "work" / NAME, ada)
    write(folder / "ada" / "work" / ".ipynb_checkpoints" / NAME, course)
    write(folder / "ada" / "work" / "00_welcome.new.ipynb", course)
    (folder / "ada" / "work" / "helper.py").write_text("x = 1")
    (folder / "ada" / "work" / "torch.py").write_text("raise RuntimeError('the wrong torch')")
    (folder / "ada" / "work" / "link").symlink_to(folder / "eve" / NAME)
    os.mkfifo(folder / "ada" / "work" / "pipe")
    write(folder / "bob" / NAME, exercises_only(course, {"00.1": FORGERY, "00.2": "always_guess = lambda true: 7"}))
    write(folder / "cy" / "my copy.ipynb", exercises_only(course, {"00.1": LOOP, "00.2": SOLUTIONS["00.2"]}))
    write(folder / "deb" / NAME, exercises_only(course, {"00.1": HOG, "00.2": SOLUTIONS["00.2"], "00.3": CRASH}))
    (folder / "eve").mkdir()
    (folder / "eve" / NAME).write_text('{"cells": [')
    (folder / "fay").mkdir()
    handout = exercises_only(without_solutions(course), SOLUTIONS | {"00.2": "def always_guess(true)\n    return"})
    handout["cells"].insert(0, cell(SOLUTIONS["00.2"]))  # the chapter's own, which is nobody's answer
    handout["metadata"]["kernelspec"] = {"name": "ir", "display_name": "R", "language": "R"}
    write(folder / "=gus().ipynb", handout)
    (folder / "ha.zip").write_bytes(b"PK")


@pytest.fixture(scope="module")
def submissions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class")
    hand_in(folder)
    return folder


def tree(folder: Path) -> dict[str, bytes | None]:
    paths = sorted(folder.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() else None for path in paths}


@pytest.fixture(scope="module")
def graded(submissions: Path) -> Result:
    """The class, graded once for all tests; what was handed in is not touched."""
    before = tree(submissions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINIGPT4V_PROGRESS", str(submissions / "nobody's"))
        result = succeed("grade", submissions, "--seconds", 12, "--memory", 1, "--out", submissions / "grades.csv")
    after = tree(submissions)
    assert after.keys() - before.keys() == {str(submissions / "grades.csv")}
    assert all(after[name] == before[name] for name in before)
    return result


@pytest.fixture
def rows(graded: Result, submissions: Path) -> dict[tuple[str, str], tuple[str, str]]:
    text = (submissions / "grades.csv").read_text(encoding="utf-8")
    return {
        (row["learner"], row["exercise"]): (row["status"], row["says"]) for row in csv.DictReader(io.StringIO(text))
    }


def of(rows: dict, learner: str) -> list[str]:
    return [status for (name, _), (status, _) in rows.items() if name == learner]


# --- the class ------------------------------------------------------------------------------------------------------


def test_everybody_has_a_row_for_each_exercise(graded: Result, rows: dict) -> None:
    learners = ["'=gus()", "ada", "bob", "cy", "deb", "eve", "fay"]
    assert list(rows) == [(learner, exercise.id) for learner in learners for exercise in exercises_of("00")]
    assert graded.stdout == ""
    assert "ada, chapter 00: 3 passed\n" in graded.stderr
    assert "fay, chapter 00: 3 missing\n" in graded.stderr


def test_solved_in_another_cell_with_errors_around_and_without_a_check(rows: dict) -> None:
    assert of(rows, "ada") == ["passed"] * 3, rows


def test_nothing_that_is_printed_shown_or_patched_counts(rows: dict) -> None:
    assert of(rows, "bob") == ["wrong", "wrong", "not attempted"], rows
    assert "7" in rows["bob", "00.2"][1]


def test_an_endless_loop_costs_its_own_exercise_only(rows: dict) -> None:
    assert of(rows, "cy") == ["stopped", "passed", "not attempted"], rows
    assert rows["cy", "00.1"][1] == "a cell was stopped after 6 seconds: is there a loop that never ends?"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux keeps a limit on memory")
def test_too_much_memory_and_a_crash(rows: dict) -> None:
    assert of(rows, "deb") == ["wrong", "passed", "stopped"], rows
    assert rows["deb", "00.1"][1].startswith("MemoryError")
    assert rows["deb", "00.3"][1] == "its Python process ended: a crash, too little memory, or exit()"
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [command for command in running if SLEEPER.encode() in command], "a process was left behind"


def test_what_cannot_be_read_and_what_is_not_there(rows: dict) -> None:
    assert of(rows, "eve") == ["stopped"] * 3
    assert rows["eve", "00.1"][1].startswith(f"{NAME} is not a notebook that can be read")
    assert of(rows, "fay") == ["missing"] * 3


def test_a_handout_as_a_single_file_of_another_kernel(rows: dict) -> None:
    assert of(rows, "'=gus()") == ["passed", "wrong", "passed"], rows
    assert rows["'=gus()", "00.2"][1].startswith("SyntaxError")


def test_a_loop_that_cannot_be_interrupted_ends_with_its_notebook(tmp_path: Path) -> None:
    loop = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nwhile True: pass"
    write(tmp_path / "ivy.ipynb", exercises_only(chapter("00"), {"00.1": SOLUTIONS["00.1"], "00.2": loop}))
    rows = list(csv.DictReader(io.StringIO(succeed("grade", tmp_path, "--seconds", 4).stdout)))
    assert [row["status"] for row in rows] == ["passed", "stopped", "stopped"], rows
    assert rows[1]["says"] == "it took longer than 4 seconds"


# --- without a kernel -----------------------------------------------------------------------------------------------


class FakeKernel:
    """Runs nothing, and tells the verdicts that it was given; or stops at a cell."""

    def __init__(self, states: dict[str, str], stops_at: str = "") -> None:
        self.states, self.stops_at, self.ran = states, stops_at, []

    def __call__(self, source: str) -> Outcome:
        self.ran.append(source)
        if self.stops_at and self.stops_at in source:
            raise KernelStopped("enough")
        for name, state in self.states.items():
            if "judge" in source and name in source:
                key = source.rsplit("'", 2)[1]
                return Outcome(None, False, [{"key": key, "state": state, "says": ""}])
        return Outcome(None, False, [])


def judged(content: Notebook, kernel: FakeKernel, monkeypatch: pytest.MonkeyPatch, folder: Path) -> dict[str, str]:
    from contextlib import contextmanager

    @contextmanager
    def fake(*_: object):
        yield kernel

    monkeypatch.setattr(grading, "limited_kernel", fake)
    path = write(folder / "class" / "ada" / NAME, content)
    (submission,) = submissions_in(path.parent.parent)
    return {row.exercise: row.status for row in grading.grade(submission, "00", Limits(1, 1))}


def test_finished_exercises_count_when_the_kernel_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel({"00.1": "passed", "00.2": "not yet right", "00.3": "passed"}, stops_at="def channels_first")
    statuses = judged(exercises_only(chapter("00"), {}), kernel, monkeypatch, tmp_path)
    assert statuses == {"00.1": "passed", "00.2": "wrong", "00.3": "stopped"}


def test_each_answer_is_judged_after_its_own_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = FakeKernel(dict.fromkeys(("00.1", "00.2", "00.3"), "passed"))
    judged(exercises_only(chapter("00"), {}), kernel, monkeypatch, tmp_path)
    order = [word for source in kernel.ran for word in ("forget", "card(", "def ", "judge") if word in source]
    assert order == ["forget", "card(", "def ", "judge"] * 3


def test_a_verdict_without_the_key_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silenced(FakeKernel):
        def __call__(self, source: str) -> Outcome:
            return Outcome(None, False, [{"key": "0" * 32, "state": "passed", "says": ""}, "passed"])

    statuses = judged(exercises_only(chapter("00"), {}), Silenced({}), monkeypatch, tmp_path)
    assert set(statuses.values()) == {"stopped"}


def test_whatever_goes_wrong_with_one_is_in_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grading, "limited_kernel", lambda *_: 1 / 0)
    write(tmp_path / "class" / "ada" / NAME, exercises_only(chapter("00"), {}))
    (submission,) = submissions_in(tmp_path / "class")
    rows = grading.grade(submission, "00", Limits(1, 1))
    assert {(row.status, row.says) for row in rows} == {("stopped", "ZeroDivisionError: division by zero")}


def test_cells_that_are_gone_and_two_notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = exercises_only(chapter("00"), {})
    content["cells"] = [each for each in content["cells"] if "00.2" not in each["source"]]
    kernel = FakeKernel(dict.fromkeys(("00.1", "00.3"), "passed"))
    assert judged(content, kernel, monkeypatch, tmp_path) == {"00.1": "passed", "00.2": "missing", "00.3": "passed"}
    (tmp_path / "class" / "ada" / NAME).rename(tmp_path / "class" / "ada" / "a.ipynb")
    write(tmp_path / "class" / "ada" / "sub" / "b.ipynb", content)
    (submission,) = submissions_in(tmp_path / "class")
    row, *_ = grading.grade(submission, "00", Limits(1, 1))
    assert (row.status, row.says) == ("stopped", "there is more than one notebook of the chapter: a.ipynb, sub/b.ipynb")


@pytest.mark.parametrize("number", chapters())
def test_every_exercise_of_the_course_can_be_graded(number: str) -> None:
    """The names that answers go by are found in the notebooks, and are no names of one another's."""
    asked = asked_in(number)
    assert [each.number for each in asked] == [exercise.id for exercise in exercises_of(number)]
    assert len({each.name for each in asked}) == len(asked)
    assert all(len(each.cells) == 2 for each in asked)


def test_an_exercise_is_found_by_what_its_cells_say_where_their_ids_are_lost() -> None:
    content = chapter("00")
    for each in content["cells"]:
        each.pop("id")
    found = regions_of(content, asked_in("00"))
    assert [[each.number for each in region.asked] for region in found] == [["00.1"], ["00.2"], ["00.3"]]
    assert [region.end for region in found[:-1]] == [region.start for region in found[1:]]
    merged = notebook('card("00.1")\ncard("00.2")', 'check("00.1", x)', "y")
    (region,) = regions_of(merged, [each for each in asked_in("00") if each.number != "00.3"])
    assert ([each.number for each in region.asked], region.start, region.end) == (["00.1", "00.2"], 0, 3)


@given(st.permutations(range(9)), st.sets(st.integers(0, 8)))
def test_regions_share_no_cell_and_hold_what_the_learner_moved(order: list[int], dropped: set[int]) -> None:
    exercises = [
        Asked(f"00.{number}", f"name_{number}", frozenset({f"c{number}", f"s{number}"})) for number in range(3)
    ]
    ids = [f"{kind}{number}" for number in range(3) for kind in "csx"]
    kept = [ids[place] for place in order if place not in dropped]
    found = regions_of(notebook(*(cell("", id=name) for name in kept)), exercises)
    covered = [place for region in found for place in range(region.start, region.end)]
    assert (
        covered == list(range(covered[0], len(kept))) if found else not set(kept) & {"c0", "s0", "c1", "s1", "c2", "s2"}
    )
    for region in found:
        assert kept[region.start] in region.asked[0].cells


# --- who handed in what ---------------------------------------------------------------------------------------------


def test_folders_that_hold_no_submissions(tmp_path: Path) -> None:
    assert "holds no submissions" in refuse("grade", tmp_path)
    assert "is no folder" in refuse("grade", tmp_path / "nowhere")
    write(tmp_path / "one" / NAME, chapter("00"))
    assert "looks like the folder of one learner" in refuse("grade", tmp_path / "one")
    (tmp_path / "empty" / "ada").mkdir(parents=True)
    assert "no notebook with exercises was handed in" in refuse("grade", tmp_path / "empty")
    assert "chapter '77' has no exercises" in refuse("grade", tmp_path / "empty", "--chapter", "77")


def test_chapters_that_are_asked_for_and_nobody_has(tmp_path: Path) -> None:
    (tmp_path / "ada").mkdir()
    write(tmp_path / "bob" / "thing.ipynb", notebook("1"))
    (tmp_path / "cy.ipynb").write_text("{")
    result = succeed("grade", tmp_path, "--chapter", "3")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 3 * len(exercises_of("03"))
    statuses = {(row["learner"], row["status"]) for row in rows}
    assert statuses == {("ada", "missing"), ("bob", "missing"), ("cy", "stopped")}


def test_chapters_are_told_by_their_exercises_then_by_their_names(tmp_path: Path) -> None:
    write(tmp_path / "12_3456.ipynb", chapter("03"))
    write(tmp_path / "07_a.ipynb", notebook("# all gone"))
    found = {each.learner: list(each.notebooks) for each in submissions_in(tmp_path)}
    assert found == {"07_a": ["07"], "12_3456": ["03"]}


def test_a_huge_file_is_not_loaded(tmp_path: Path) -> None:
    with (tmp_path / "ada.ipynb").open("wb") as file:
        file.truncate(200_000_000)
    (submission,) = submissions_in(tmp_path)
    assert submission.unreadable == [
        "ada.ipynb is not a notebook that can be read: has over 100,000,000 bytes: more than any such file needs"
    ]


CODE = {"cell_type": "code", "source": "x", "id": "a"}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ([], "it has no cells"),
        ({"cells": {"a": CODE}}, "it has no cells"),
        ({"cells": ""}, "it has no cells"),
        ({"cells": ["code"]}, "its cells are damaged"),
        ({"cells": [CODE | {"id": ["a"]}]}, "its cells are damaged"),
        ({"cells": [CODE | {"source": {"a": 1}}]}, "its cells are damaged"),
        ({"cells": [CODE | {"source": ["a", 1]}]}, "its cells are damaged"),
        ({"cells": [CODE | {"source": "\ud800"}]}, "its cells are damaged"),
        ({"cells": [{"source": "x"}]}, "its cells are damaged"),
        ({"cells": [CODE | {"cell_type": None}]}, "its cells are damaged"),
    ],
)
def test_what_is_no_notebook_is_told_in_words(tmp_path: Path, content: object, why: str) -> None:
    path = tmp_path / "class" / "ada\x1b[2J.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    (submission,) = submissions_in(tmp_path / "class")
    assert submission.unreadable == [f"ada\\x1b[2J.ipynb is not a notebook that can be read: {why}"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ada.ipynb")
    (submission,) = submissions_in(tmp_path)
    assert submission.unreadable[0].endswith("is a pipe, socket or device: give a plain file")


def test_results_that_cannot_be_written_are_told_before_hours_of_work(
    submissions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grading, "grade", lambda *_: pytest.fail("it began to grade"))
    for place in (tmp_path, tmp_path / "nowhere" / "grades.csv"):
        assert f"--out '{place}' cannot be written" in refuse("grade", submissions, "--out", place)


def test_rows_are_kept_when_the_grader_is_stopped(
    submissions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def grade(submission: object, number: str, limits: Limits) -> list[Grade]:
        if submission.learner == "bob":
            raise KeyboardInterrupt
        return [Grade(submission.learner, f"{number}.1", "passed", '+1, "well\ndone"\x1b')]

    monkeypatch.setattr(grading, "grade", grade)
    assert invoke("grade", submissions, "--out", tmp_path / "grades.csv").exit_code == 130
    text = (tmp_path / "grades.csv").read_text(encoding="utf-8")
    assert text == (
        "learner,exercise,status,says\n"
        '\'=gus(),00.1,passed,"\'+1, ""well done""\\u001b"\n'
        'ada,00.1,passed,"\'+1, ""well done""\\u001b"\n'
    )


def test_other_outputs_are_dropped() -> None:
    client, outputs = limited_kernel._new_client(), []
    flood = {"msg_type": "stream", "parent_header": {}, "content": {"name": "stdout", "text": "x" * 1000}}
    client.output(outputs, flood, None, 0)
    assert outputs == []


def test_packages_for_notebooks_are_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "minigpt4v.classroom.grading", None)
    assert 'pip install "minigpt4v[course]"' in refuse("grade", tmp_path, code=1)
