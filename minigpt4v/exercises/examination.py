"""Judging an answer: right, not attempted, a known mistake, or something else; always in kind words, never raising."""

from __future__ import annotations

import copy
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minigpt4v.exercises.difference import difference, short
from minigpt4v.exercises.exercise import Exercise
from minigpt4v.exercises.trial import Failure, contained, fixed_seeds, is_unwritten, text_of, try_out

PASSED, NOT_ATTEMPTED, NOT_YET_RIGHT = "passed", "not attempted yet", "not yet right"
_MARKS = {PASSED: "✓", NOT_ATTEMPTED: "·", NOT_YET_RIGHT: "✗"}
_COLOURS = {PASSED: "#009E73", NOT_ATTEMPTED: "#8a877f", NOT_YET_RIGHT: "#D55E00"}


@dataclass(frozen=True)
class Verdict:
    """What `check` says of an answer: the exercise, the state, and one or two sentences."""

    id: str
    state: str
    says: str

    def __repr__(self) -> str:
        return f"{_MARKS[self.state]} {self.id} {self.state}: {self.says}"

    def _repr_html_(self) -> str:
        says = html.escape(self.says).replace("\n", "<br>")
        style = f"border-left: 4px solid {_COLOURS[self.state]}; padding: 0.2em 0.8em"
        return f'<div style="{style}">{_MARKS[self.state]} <b>{self.id} {self.state}</b>: {says}</div>'


def examine(exercise: Exercise, answer: Any) -> Verdict:
    """Judge an answer. Never raises, whatever the answer does, but for Ctrl-C."""
    try:
        return _judge(exercise, answer)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a strange object that cannot be written down
        return Verdict(exercise.id, NOT_YET_RIGHT, f"It cannot be judged: {type(error).__name__}: {text_of(error)}")


def _judge(exercise: Exercise, answer: Any) -> Verdict:
    if is_unwritten(answer):
        return _not_attempted(exercise)
    if exercise.inputs is None:
        return _judge_value(exercise, answer)
    if not callable(answer):
        says = f"{short(answer)} is no function: give `check` the function's name, without brackets."
        return Verdict(exercise.id, NOT_YET_RIGHT, says)
    with fixed_seeds():  # whatever the notebook has drawn before, an answer meets the same inputs
        trials = exercise.inputs()
    return _judge_callable(exercise, answer, trials)


def _not_attempted(exercise: Exercise) -> Verdict:
    return Verdict(exercise.id, NOT_ATTEMPTED, "put your answer where the dots are and run the cell again.")


def _judge_value(exercise: Exercise, answer: Any) -> Verdict:
    if _compared(exercise, exercise.compare, answer, exercise.solution) is None:
        return Verdict(exercise.id, PASSED, "well done.")
    known = (mistake.says for mistake in exercise.mistakes if _alike(exercise, answer, mistake.answer))
    return Verdict(exercise.id, NOT_YET_RIGHT, next(known, f"{short(answer)} is not it: the hint may help."))


def _judge_callable(exercise: Exercise, answer: Any, trials: Sequence[tuple[Any, ...]]) -> Verdict:
    results = []
    for arguments in trials:
        results.append(try_out(exercise, answer, copy.deepcopy(arguments)))
        if isinstance(results[-1], Failure) and results[-1].kind in ("unwritten", "too long"):
            break
    failure = next((result for result in results if isinstance(result, Failure)), None)
    if failure and failure.kind == "unwritten":
        return _not_attempted(exercise)
    expected = [try_out(exercise, exercise.solution, copy.deepcopy(arguments)) for arguments in trials[: len(results)]]
    faults = [_fault(exercise, mine, right) for mine, right in zip(results, expected, strict=True)]
    if not any(faults):
        return Verdict(exercise.id, PASSED, "well done.")
    says = None if failure and failure.kind == "too long" else _known_mistake(exercise, results, trials)
    if says is None:
        number, fault = next((number, fault) for number, fault in enumerate(faults) if fault)
        says = f"{fault}\nTried with {_described(trials[number])}."
    return Verdict(exercise.id, NOT_YET_RIGHT, says)


def _fault(exercise: Exercise, mine: Any, right: Any) -> str | None:
    """What is wrong with one result, or None."""
    if isinstance(mine, Failure):
        return mine.says
    if mine is None and right is not None:
        return "It gives nothing back: is there a `return`?"
    says = _compared(exercise, exercise.compare, mine, right)
    return f"{says[:1].upper()}{says[1:]}." if says else None


def _compared(exercise: Exercise, compare: Callable[[Any, Any], str | None], mine: Any, right: Any) -> str | None:
    """What differs, or None. A learner's own object may fail at being compared, or take for ever."""
    says = contained(exercise.seconds, lambda: compare(mine, right))
    return f"it cannot be compared: {says.says or says.kind}" if isinstance(says, Failure) else says


def _known_mistake(exercise: Exercise, results: Sequence[Any], trials: Sequence[tuple[Any, ...]]) -> str | None:
    """The diagnosis of the mistake that gives the same results on every trial."""
    for mistake in exercise.mistakes:
        if all(
            _alike(exercise, mine, try_out(exercise, mistake.answer, copy.deepcopy(arguments)))
            for mine, arguments in zip(results, trials, strict=True)
        ):
            return mistake.says
    return None


def _alike(exercise: Exercise, mine: Any, theirs: Any) -> bool:
    if isinstance(mine, Failure) or isinstance(theirs, Failure):
        return isinstance(mine, Failure) and isinstance(theirs, Failure) and mine.kind == theirs.kind
    return _compared(exercise, difference, mine, theirs) is None


def _described(arguments: tuple[Any, ...]) -> str:
    shapes = (
        f"a tensor of shape {list(value.shape)}" if hasattr(value, "shape") else short(value) for value in arguments
    )
    return ", ".join(shapes) or "no arguments"
