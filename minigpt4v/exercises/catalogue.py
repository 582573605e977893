"""All exercises of the course, found by the number of their chapter."""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module

from minigpt4v import exercises
from minigpt4v.exercises.exercise import Exercise


@cache
def chapters() -> dict[str, str]:
    """The two digits of every chapter that has exercises -> its title, in order."""
    names = sorted(
        found.name for found in pkgutil.iter_modules(exercises.__path__) if found.name.startswith("chapter_")
    )
    return {name.removeprefix("chapter_"): import_module(f"{exercises.__name__}.{name}").TITLE for name in names}


def exercises_of(chapter: str) -> tuple[Exercise, ...]:
    """The exercises of a chapter, "03", in order. Raises ValueError where it has none."""
    if chapter not in chapters():
        raise ValueError(f"chapter {chapter!r} has no exercises: these have some: {', '.join(chapters())}")
    return import_module(f"{exercises.__name__}.chapter_{chapter}").EXERCISES


def find(number: str) -> Exercise:
    """The exercise with that number, "03.2". Raises ValueError where there is none."""
    chapter = str(number).partition(".")[0]
    found = [exercise for exercise in exercises_of(chapter) if exercise.id == number]
    if not found:
        ids = ", ".join(exercise.id for exercise in exercises_of(chapter))
        raise ValueError(f"there is no exercise {number!r}: chapter {chapter} has {ids}")
    return found[0]
