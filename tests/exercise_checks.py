"""What the tests of all chapters' exercises share."""

from typing import Any

from minigpt4v.exercises.catalogue import find
from minigpt4v.exercises.examination import NOT_YET_RIGHT, PASSED, examine


def assert_passes(number: str, answer: Any) -> None:
    verdict = examine(find(number), answer)
    assert verdict.state == PASSED, verdict


def assert_diagnosed(number: str, answer: Any, *words: str) -> None:
    """The answer is wrong, and is told so in the words of its own mistake."""
    verdict = examine(find(number), answer)
    assert verdict.state == NOT_YET_RIGHT, verdict
    known = [mistake.says for mistake in find(number).mistakes]
    assert verdict.says in known, f"no diagnosis of its own: {verdict}"
    assert all(word in verdict.says for word in words), verdict
