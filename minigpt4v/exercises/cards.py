"""The card of an exercise: what to do, and folded away: a hint, help, and the solution."""

from __future__ import annotations

import inspect
from textwrap import dedent

from minigpt4v.exercises.catalogue import find
from minigpt4v.exercises.exercise import Exercise


class Card:
    """An exercise as a notebook or a terminal shows it."""

    def __init__(self, exercise: Exercise) -> None:
        self.exercise = exercise

    @property
    def _heading(self) -> str:
        dots = "●" * self.exercise.difficulty + "○" * (5 - self.exercise.difficulty)
        return f"{self.exercise.id} {self.exercise.title} {dots} {self.exercise.minutes} min"

    def __repr__(self) -> str:
        return f"{self._heading}\n{_unfolded(self.exercise.task)}"

    def _repr_markdown_(self) -> str:
        return self.markdown(solution=True)

    def markdown(self, *, solution: bool) -> str:
        """The card with its folds; a handout leaves out the solution."""
        folds = {"Hint": self.exercise.hint, "Help": self.exercise.help}
        if solution:
            folds["Solution"] = f"```python\n{solution_source(self.exercise)}\n```"
        folded = (
            f"<details><summary>{name}</summary>\n\n{_unfolded(text)}\n\n</details>" for name, text in folds.items()
        )
        return "\n\n".join([f"**Exercise {self._heading}**", _unfolded(self.exercise.task), *folded])


def card(number: str) -> Card:
    """The card of an exercise. Raises ValueError where there is none of that number."""
    return Card(find(number))


def solution_source(exercise: Exercise) -> str:
    """The solution as Python, as it stands in the file of its chapter."""
    if exercise.inputs is None:
        return f"answer = {exercise.solution!r}"
    return dedent(inspect.getsource(exercise.solution)).strip()


def _unfolded(text: str) -> str:
    return dedent(text).strip()
