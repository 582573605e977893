"""Trying out an answer: with fixed seeds, within a time limit, and without letting its errors out."""

from __future__ import annotations

import copy
import dis
import inspect
import linecache
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import numpy as np
import torch

from minigpt4v.exercises.difference import difference
from minigpt4v.exercises.exercise import Exercise
from minigpt4v.exercises.time_limit import TimeIsUp, within


@dataclass(frozen=True)
class Failure:
    """A trial that gave no result. kind: "unwritten", "too long", "changed" or the name of the exception."""

    kind: str
    says: str


def try_out(exercise: Exercise, answer: Any, arguments: tuple[Any, ...]) -> Any:
    """The result of an answer for some arguments, or a `Failure`."""
    before = copy.deepcopy(arguments)
    with fixed_seeds():
        result = contained(exercise.seconds, lambda: exercise.use(answer, *arguments), answer)
    if isinstance(result, Failure):
        return result
    if result is Ellipsis:
        return Failure("unwritten", "")
    if answer is not exercise.solution and _changed(before, arguments):
        return Failure(
            "changed", "It changes what it was given: work on a copy, or without `+=` and assignments to parts."
        )
    return result


def contained(seconds: float, function: Callable[[], Any], answer: Any = None) -> Any:
    """What a function gives, or a `Failure` where it takes too long or raises anything at all; Ctrl-C goes through.

    answer: what the learner wrote; the failure names its line.
    """

    def without_errors() -> Any:
        try:
            return function()
        except TimeIsUp:
            raise
        except (
            BaseException
        ) as error:  # exit() and a raised KeyboardInterrupt too: Ctrl-C reaches the main thread alone
            return _failure(error, answer)

    try:
        return within(seconds, without_errors)
    except TimeIsUp:
        return Failure("too long", f"It was stopped after {seconds:g} seconds: is there a loop that never ends?")


def is_unwritten(answer: Any) -> bool:
    """Whether an answer is still the stub: dots, nothing, a function without a body, or a class with such a method."""
    if isinstance(answer, type):
        return any(is_unwritten(member) for member in vars(answer).values() if isinstance(member, FunctionType))
    if isinstance(answer, FunctionType):
        steps = [step for step in dis.get_instructions(inspect.unwrap(answer)) if step.opname not in _NO_STEP]
        return [step.opname for step in steps] in _RETURNS_A_CONSTANT and steps[0].argval in (None, Ellipsis)
    return answer is None or answer is Ellipsis


_NO_STEP = ("RESUME", "NOP", "COPY_FREE_VARS", "MAKE_CELL")
_RETURNS_A_CONSTANT = (["LOAD_CONST", "RETURN_VALUE"], ["RETURN_CONST"])  # the second from Python 3.12 on


@contextmanager
def fixed_seeds() -> Iterator[None]:
    """The same random numbers in every trial; what the notebook draws afterwards is as if there had been none."""
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - learners draw from it
    with torch.random.fork_rng(devices=[]):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        torch.manual_seed(0)
        try:
            yield
        finally:
            random.setstate(state)
            np.random.set_state(numpy_state)  # noqa: NPY002


def _changed(before: Any, after: Any) -> bool:
    if isinstance(before, tuple):
        return any(map(_changed, before, after))
    if isinstance(before, torch.Tensor | np.ndarray | Sequence | Mapping):
        return difference(after, before) is not None
    return False


def _failure(error: BaseException, answer: Any) -> Failure:
    text, kind = text_of(error), type(error).__name__
    if isinstance(error, NotImplementedError) or "ellipsis" in text.lower():  # dots that were left in place
        return Failure("unwritten", "")
    return Failure(kind, _explained(error, f"{kind}: {text}" if text else kind, answer))


def text_of(error: BaseException) -> str:
    """What an error says; nothing where it fails at that too."""
    try:
        return str(error)
    except (TimeIsUp, KeyboardInterrupt):
        raise
    except BaseException:
        return ""


def _explained(error: BaseException, says: str, answer: Any) -> str:
    """The error and the learner's own line in which it happened."""
    file = _file_of(answer)
    line, trace = None, error.__traceback__
    while trace:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    text = linecache.getline(file, line).strip() if file and line else ""
    return f"{says}\nThis happens in line {line} of your cell: {text}" if text else says


def _file_of(answer: Any) -> str | None:
    functions = [answer, *vars(answer).values()] if isinstance(answer, type) else [answer]
    return next((f.__code__.co_filename for f in map(inspect.unwrap, functions) if isinstance(f, FunctionType)), None)
