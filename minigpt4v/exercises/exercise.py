"""What an exercise is made of: a task, a solution, and the mistakes that people make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from minigpt4v.exercises.difference import difference


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give, and what to tell them.

    Attributes:
        answer: what they write: a function, class or value, as the solution is.
        says: the diagnosis, in sentences: what is wrong, and where to look.
    """

    answer: Any
    says: str


def call(answer: Any, *arguments: Any) -> Any:
    """The plainest use of an answer: call it."""
    return answer(*arguments)


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise, as its card shows it and as its check judges it.

    An answer is right if it gives what the solution gives, on every one of the inputs. Texts are Markdown.

    Attributes:
        id: chapter and number, "03.2".
        title: a few words.
        difficulty: 1 (a line) to 5 (an evening).
        minutes: how long it takes somebody who has read the chapter.
        task: what to do, with the names and shapes of what goes in and comes out.
        hint: a nudge that does not give it away.
        help: the likely error, and how to get out of it.
        solution: a function or class, whose source is shown, or a value.
        mistakes: at least two.
        inputs: makes the arguments to try, one tuple for each trial; None where the answer is a value.
        use: how an answer is tried; gets the answer and one tuple of arguments, unpacked.
        compare: says how a result differs from the expected one, or None where it is as good.
        seconds: how long one trial may take.
    """

    id: str
    title: str
    difficulty: int
    minutes: int
    task: str
    hint: str
    help: str
    solution: Any
    mistakes: tuple[Mistake, ...]
    inputs: Callable[[], Sequence[tuple[Any, ...]]] | None = None
    use: Callable[..., Any] = call
    compare: Callable[[Any, Any], str | None] = difference
    seconds: float = 15.0

    @property
    def chapter(self) -> str:
        """The two digits of its chapter."""
        return self.id.partition(".")[0]
