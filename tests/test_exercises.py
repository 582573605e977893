"""The exercise system, and what holds for every exercise of every chapter."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt4v.exercises import Progress, card, check, progress, progress_widget
from minigpt4v.exercises.catalogue import chapters, exercises_of, find
from minigpt4v.exercises.difference import difference
from minigpt4v.exercises.examination import NOT_ATTEMPTED, NOT_YET_RIGHT, PASSED, examine
from minigpt4v.exercises.exercise import Exercise, Mistake
from minigpt4v.exercises.time_limit import TimeIsUp, within

ALL = [exercise for chapter in chapters() for exercise in exercises_of(chapter)]
every_exercise = pytest.mark.parametrize("exercise", ALL, ids=[exercise.id for exercise in ALL])


@pytest.fixture(autouse=True)
def own_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    file = tmp_path / "progress.txt"
    monkeypatch.setenv("MINIGPT4V_PROGRESS", str(file))
    return file


# --- every exercise of the course -----------------------------------------------------------------------------------


@every_exercise
def test_cards_are_complete(exercise: Exercise) -> None:
    assert exercise.title
    assert 1 <= exercise.difficulty <= 5
    assert 1 <= exercise.minutes <= 60
    assert all(len(text.split()) >= 4 for text in (exercise.task, exercise.hint, exercise.help))
    shown = card(exercise.id)._repr_markdown_()
    assert shown.count("<details>") == 3
    assert exercise.title in shown
    assert exercise.id in repr(card(exercise.id))


@every_exercise
def test_an_untouched_exercise_is_not_attempted(exercise: Exercise) -> None:
    def stub(*arguments):
        """Do something."""

    def refusal(*arguments):
        raise NotImplementedError

    for unwritten in (None, ..., stub) if exercise.inputs is None else (None, ..., stub, refusal):
        assert examine(exercise, unwritten).state == NOT_ATTEMPTED


@every_exercise
def test_the_solution_passes(exercise: Exercise) -> None:
    assert examine(exercise, exercise.solution).state == PASSED


@every_exercise
def test_every_mistake_gets_its_own_diagnosis(exercise: Exercise) -> None:
    diagnoses = [mistake.says for mistake in exercise.mistakes]
    assert len(set(diagnoses)) == len(diagnoses) >= 2
    for mistake in exercise.mistakes:
        verdict = examine(exercise, mistake.answer)
        assert (verdict.state, verdict.says) == (NOT_YET_RIGHT, mistake.says)


@every_exercise
def test_errors_and_nonsense_never_get_out(exercise: Exercise) -> None:
    def raising(*arguments):
        raise KeyError("no such thing")

    class Strange:
        def __eq__(self, other):
            raise RuntimeError("do not compare me")

        __hash__ = None

    for answer in (raising, lambda: 0, lambda *arguments: Strange(), Strange(), "x", float("nan"), [[]], int):
        assert examine(exercise, answer).state == NOT_YET_RIGHT


@pytest.mark.parametrize("chapter", chapters())
def test_a_chapter_has_three_to_five_exercises_in_order(chapter: str) -> None:
    ids = [exercise.id for exercise in exercises_of(chapter)]
    assert ids == [f"{chapter}.{number}" for number in range(1, len(ids) + 1)]
    assert chapter == "00" or 3 <= len(ids) <= 5
    assert (Path(__file__).parent / f"test_exercises_chapter_{chapter}.py").exists()


# --- judging --------------------------------------------------------------------------------------------------------


def double(values):
    return [2 * value for value in values]


def _squares(values):
    return [value**2 for value in values]


def _fails(values):
    return values + 1


EXAMPLE = Exercise(
    id="99.1",
    title="Double",
    difficulty=1,
    minutes=1,
    task="Write `double(values)`.",
    hint="Two times.",
    help="Not squared.",
    solution=double,
    inputs=lambda: [([1, 2],), ([3.0],)],
    mistakes=(Mistake(_squares, "Squared, not doubled."), Mistake(_fails, "A list plus a number.")),
    seconds=0.3,
)


def judged(answer: Any, **changes: Any) -> str:
    return repr(examine(replace(EXAMPLE, **changes), answer))


def test_a_right_answer_passes() -> None:
    assert judged(lambda values: [value + value for value in values]) == "✓ 99.1 passed: well done."
    assert "passed" in judged(lambda values: 2 * torch.tensor(values))


def test_a_known_mistake_is_named() -> None:
    assert judged(lambda values: [v * v for v in values]) == "✗ 99.1 not yet right: Squared, not doubled."
    assert "A list plus a number." in judged(lambda values: 5 + values)


def test_an_unknown_mistake_is_described_with_what_was_tried() -> None:
    said = judged(lambda values: [2 * value + 1 for value in values])
    assert said.endswith("In part 0, it gives 3, but 2 is right.\nTried with [1, 2].")
    assert "It gives 1 parts, but 2 are asked for" in judged(lambda values: values[:1])
    assert "Tried with a tensor of shape [2, 3]" in judged(
        lambda tensor: tensor, inputs=lambda: [(torch.full((2, 3), 5.0),)], solution=lambda tensor: 2 * tensor
    )


def test_an_error_is_shown_with_the_learners_own_line() -> None:
    def broken(values):
        total = sum(values)
        return total / 0

    said = judged(broken)
    assert "ZeroDivisionError: division by zero" in said
    assert "of your cell: return total / 0" in said
    assert "RecursionError" in judged(lambda values: (lambda f: f(f))(lambda f: f(f)))


def test_errors_in_classes_name_the_line_too() -> None:
    class Doubler:
        def double(self, values):
            return values.twice

    said = judged(Doubler, use=lambda answer, values: answer().double(values))
    assert "AttributeError" in said
    assert "of your cell: return values.twice" in said


def test_a_result_that_cannot_be_compared_is_told() -> None:
    class Strange:
        def __eq__(self, other):
            raise RuntimeError("do not compare me")

        __hash__ = None

    assert "do not compare me" in judged(lambda values: Strange(), solution=lambda values: {1, 2})


def test_leaving_the_program_is_not_possible() -> None:
    assert "SystemExit" in judged(lambda values: exit())


class Leaving(BaseException):
    def __str__(self):
        raise self


def raise_it(error: BaseException):
    raise error


def for_ever(*arguments):
    while True:
        pass


def object_whose(**methods: Callable) -> Any:
    return type("Strange", (), {"__hash__": None} | methods)()


@pytest.mark.parametrize("error", [SystemExit("0"), KeyboardInterrupt(), GeneratorExit(), Leaving(), MemoryError()])
def test_no_way_out_of_a_check(error: BaseException) -> None:
    assert f"{type(error).__name__}" in judged(lambda values: raise_it(error))


@pytest.mark.parametrize("after", [0.0, 0.2])
def test_ctrl_c_ends_a_check(after: float) -> None:
    stopped = threading.Event()

    def interrupted(values):
        try:
            time.sleep(after)  # the other thread may be starting this one still
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            for_ever()
        finally:
            stopped.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a program in the background has another
    try:
        with pytest.raises(KeyboardInterrupt):
            examine(replace(EXAMPLE, seconds=60.0), interrupted)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped.wait(20), "the answer is running still"


@pytest.mark.parametrize("changes", [{}, {"inputs": None, "solution": 4, "mistakes": (Mistake(2, "Half of it."),)}])
@pytest.mark.parametrize(
    ("method", "does"),
    [("__eq__", for_ever), ("__eq__", lambda *_: exit()), ("__repr__", lambda *_: raise_it(Leaving()))],
)
def test_what_an_object_does_when_it_is_looked_at_stays_inside(changes: dict, method: str, does: Callable) -> None:
    strange = object_whose(**{method: does})
    solution = {"solution": {4}} | changes
    assert "not yet right" in judged(strange if "inputs" in changes else lambda values: strange, **solution)


def test_deep_recursion_a_full_memory_and_pages_of_print(capsys: pytest.CaptureFixture) -> None:
    def deep(values):
        return deep(values)

    def talkative(values):
        print("x" * 10**6)
        return double(values)

    assert "RecursionError" in judged(deep)
    assert "MemoryError" in judged(lambda values: np.ones(2**59))
    assert "passed" in judged(talkative)
    assert len(capsys.readouterr().out) > 2 * 10**6


def test_an_endless_loop_is_stopped() -> None:
    def endless(values):
        while True:
            try:
                values = list(values)
            except Exception:
                continue

    started = time.monotonic()
    assert "stopped after 0.3 seconds" in judged(endless)
    assert time.monotonic() - started < 20


def test_dots_left_in_place_are_not_attempted() -> None:
    def halfway(values):
        scores = ...
        return [2 * scores for value in values]

    class Unwritten:
        def double(self, values): ...

    for answer in (halfway, Unwritten, lambda values: ..., lambda values: None):
        assert "not attempted yet" in judged(answer)


def test_a_forgotten_return_is_named() -> None:
    def silent(values):
        [2 * value for value in values]

    assert "is there a `return`?" in judged(silent)


def test_changing_the_input_is_named() -> None:
    def in_place(values):
        for number in range(len(values)):
            values[number] *= 2
        return values

    assert "changes what it was given" in judged(in_place)


def test_a_value_in_place_of_a_function_and_the_other_way() -> None:
    assert "the function's name, without brackets" in judged([2, 4])
    assert "not attempted" in judged(None)
    value = replace(EXAMPLE, inputs=None, solution=4, mistakes=(Mistake(2, "Half of it."), Mistake(8, "Twice.")))
    assert repr(examine(value, 4.0)) == "✓ 99.1 passed: well done."
    assert "Half of it." in repr(examine(value, 2))
    assert "5 is not it: the hint may help." in repr(examine(value, 5))


def test_trials_are_repeatable_and_leave_no_trace_in_the_random_state() -> None:
    seen = []

    def random_answer(values):
        seen.append((torch.rand(1).item(), np.random.rand()))  # noqa: NPY002 - what a learner may write
        return double(values)

    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    assert "passed" in judged(random_answer)
    assert seen[0] == seen[1]
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()  # noqa: NPY002


def test_verdicts_in_html_let_no_tags_through() -> None:
    verdict = examine(replace(EXAMPLE, inputs=None, solution="a"), "<script>")
    assert "<script>" not in verdict._repr_html_()
    assert "&lt;script&gt;" in verdict._repr_html_()


# --- the time limit -------------------------------------------------------------------------------------------------


def test_what_is_quick_is_left_alone() -> None:
    assert within(5, lambda: sum(range(1000))) == 499500


def test_errors_come_out_as_they_are() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 / 0)


def test_an_endless_loop_ends() -> None:
    ended = threading.Event()

    def endless() -> None:
        try:
            while True:
                pass
        finally:
            ended.set()

    with pytest.raises(TimeIsUp):
        within(0.1, endless)
    assert ended.wait(20)


def test_nobody_waits_for_a_call_that_cannot_be_stopped() -> None:
    tracing = sys.gettrace()
    sys.settrace(None)  # the tracer of coverage would wait for the other thread
    try:
        started = time.monotonic()
        with pytest.raises(TimeIsUp):
            within(0.1, lambda: time.sleep(8))
        assert time.monotonic() - started < 6
    finally:
        sys.settrace(tracing)


# --- differences ----------------------------------------------------------------------------------------------------

tables = st.lists(st.lists(st.floats(-10, 10), min_size=3, max_size=3), min_size=1, max_size=4)


@given(tables)
def test_lists_arrays_and_tensors_may_stand_for_each_other(table: list) -> None:
    forms: list[Callable] = [list, np.array, torch.tensor]
    for expected in (np.array(table), torch.tensor(table)):
        assert all(difference(form(table), expected) is None for form in forms)


@given(tables, st.data())
def test_one_wrong_number_is_found(table: list, data: st.DataObject) -> None:
    row, column = data.draw(st.integers(0, len(table) - 1)), data.draw(st.integers(0, 2))
    wrong = torch.tensor(table)
    wrong[row, column] += 1
    says = difference(wrong, torch.tensor(table))
    assert says is not None
    assert f"1 of {3 * len(table)} numbers" in says
    assert f"[{row}, {column}]" in says


@pytest.mark.parametrize(
    ("result", "expected", "words"),
    [
        (torch.ones(2), torch.ones(3), "shape [2], but [3]"),
        (torch.ones(3, 2), torch.ones(2, 3), "shape [3, 2], but [2, 3]"),
        ("text", 3.0, "a str"),
        (1.0, "text", "a float"),
        (torch.ones(2), torch.ones(2, dtype=torch.bool), "dtype torch.float32"),
        ({"a": 1}, {"a": 1, "b": 2}, "'b' is missing"),
        ({"a": 1, "c": 1}, {"a": 1}, "'c' should not be there"),
        ({"a": 1}, {"a": 2}, "at 'a', it gives 1"),
        (3, {"a": 2}, "an int, but a dictionary"),
        ("ab", ["a", "b"], "a list of 2"),
        (["a", "c"], ["a", "b"], "in part 1, it gives 'c'"),
        (float("nan"), 0.5, "gives nan"),
        (3, {1, 2}, "it gives 3"),
    ],
)
def test_differences_are_put_in_words(result: Any, expected: Any, words: str) -> None:
    assert words in (difference(result, expected) or "")


def test_long_values_are_shown_on_one_short_line() -> None:
    says = difference(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 4)), {1, 2}) or ""
    assert says.startswith("it gives Sequential( (0): Linear(in_features=2")
    assert "..." in says
    assert "\n" not in says


def test_counts_are_compared_exactly() -> None:
    assert difference(319_968, 319_976) is not None
    assert difference(torch.tensor([1, 2, 400_000]), torch.tensor([1, 2, 400_001])) is not None
    assert difference(319_976.0, 319_976) is None
    assert difference(319_968.0, 319_976.0) is None  # measured numbers, within the order of sums


def test_nan_where_nan_is_right() -> None:
    assert difference(float("nan"), torch.tensor(float("nan"))) is None


# --- check and progress ---------------------------------------------------------------------------------------------


def test_a_pass_is_remembered_once(own_progress: Path, capsys: pytest.CaptureFixture) -> None:
    exercise = ALL[0]
    for _ in range(2):
        check(exercise.id, exercise.solution)
    assert f"✓ {exercise.id} passed" in capsys.readouterr().out
    assert own_progress.read_text(encoding="utf-8").count(f"{exercise.id} passed") == 1
    assert progress.passed() == {exercise.id}
    assert f"1 of {len(ALL)} exercises done" in repr(Progress())


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_file_keeps_no_progress(own_progress: Path, capsys: pytest.CaptureFixture) -> None:
    """It is neither waited for nor replaced: MINIGPT4V_PROGRESS=/dev/null would be, in the rights of root."""
    os.mkfifo(own_progress)
    assert progress.passed() == set()
    with pytest.raises(OSError, match="is no file"):
        progress.record("03.1")
    assert own_progress.is_fifo()


def test_a_wrong_answer_is_not(own_progress: Path, capsys: pytest.CaptureFixture) -> None:
    check(ALL[0].id, ...)
    check(ALL[0].id, ALL[0].mistakes[0].answer)
    assert not own_progress.exists()
    assert "not attempted" in capsys.readouterr().out


@pytest.mark.parametrize("number", ["99.1", "3.1", "", "x", None, 3.1, "03"])
def test_an_unknown_exercise_is_told(number: Any, capsys: pytest.CaptureFixture) -> None:
    check(number, 1)
    assert capsys.readouterr().out.startswith("✗ ")


@pytest.mark.parametrize("damage", ["", "\0\xff\n", "03.1 passed 2026-", "{", "03.1 passed 2026-01-01 and more"])
def test_a_damaged_file_loses_only_its_damaged_lines(own_progress: Path, damage: str) -> None:
    own_progress.write_text(f"# mine\n01.1 passed 2026-01-01\n{damage}", encoding="utf-8")
    progress.record("02.1")
    assert progress.passed() == {"01.1", "02.1"}
    assert own_progress.read_text(encoding="utf-8").startswith("# mine\n")


def test_a_folder_that_cannot_be_written_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("MINIGPT4V_PROGRESS", str(Path(os.devnull) / "progress.txt"))
    check(ALL[0].id, ALL[0].solution)
    said = capsys.readouterr().out
    assert "passed" in said
    assert "could not be saved" in said


def test_where_the_file_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MINIGPT4V_PROGRESS")
    monkeypatch.chdir(tmp_path)
    assert progress.progress_file() == Path("minigpt4v-progress.txt")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_welcome.ipynb").touch()
    assert progress.progress_file() == Path("notebooks/minigpt4v-progress.txt")


def _record_many(file: str, chapter: int) -> None:
    os.environ["MINIGPT4V_PROGRESS"] = file
    for number in range(20):
        progress.record(f"{chapter:02d}.{number}")


def test_a_reader_never_sees_half_a_file(own_progress: Path) -> None:
    writer = multiprocessing.get_context("spawn").Process(target=_record_many, args=(str(own_progress), 1))
    writer.start()
    seen = [own_progress.read_text(encoding="utf-8") for _ in iter(writer.is_alive, False) if own_progress.exists()]
    writer.join()
    assert all(text.endswith("\n") for text in seen)
    assert len(progress.passed()) == 20


def test_bars_show_the_share_that_is_done(own_progress: Path) -> None:
    assert "█" not in repr(Progress())
    for exercise in exercises_of("03"):
        progress.record(exercise.id)
    (row,) = (line for line in repr(Progress()).splitlines() if line.startswith("03"))
    total = len(exercises_of("03"))
    assert "█" * 20 in row
    assert row.endswith(f"{total}/{total}")
    assert f"<progress value='{total}' max='{total}'>" in Progress()._repr_html_()


def test_the_widget_reads_the_file_again_when_asked(own_progress: Path) -> None:
    widget = progress_widget()
    bars, button = widget.children
    before = bars.value
    progress.record("03.1")
    assert bars.value == before
    button.click()
    assert bars.value == Progress()._repr_html_() != before
    assert repr(widget) == "<the bars of your progress, with a button that reads them again>"


def test_find_names_what_there_is() -> None:
    with pytest.raises(ValueError, match=r"chapter 03 has 03\.1"):
        find("03.77")


def test_an_answer_meets_the_same_inputs_whatever_was_drawn_before():
    met = []
    drawn = replace(EXAMPLE, inputs=lambda: [(torch.rand(3), np.random.rand())], mistakes=())  # noqa: NPY002
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        examine(drawn, lambda x, y: met.append((x.tolist(), y)))
        after = torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(after, torch.rand(1))  # and the notebook draws what it would have drawn
    assert met[0] == met[1]
