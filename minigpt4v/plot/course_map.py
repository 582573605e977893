"""The map of the course: a GPT that sees, with the number of the chapter that builds it on every part."""

from __future__ import annotations

from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from numpy.typing import ArrayLike

from minigpt4v.plot.base import (
    BLUE,
    CARD,
    GREEN,
    INK,
    ORANGE,
    PANEL,
    QUIET,
    RULE,
    CourseFigure,
    as_picture,
    finish,
    new_figure,
    style,
)

LESSONS = {"I  words become numbers": GREEN, "II  a GPT that writes": BLUE, "III  sight": ORANGE}
_WORDS, _WRITING, _SIGHT = LESSONS.values()


class _Part(NamedTuple):
    """A box: its middle, its width, what it is, and its chapters with the colour of their lesson."""

    x: float
    y: float
    width: float
    name: str
    chapters: str
    colour: str


_HEIGHT = 0.62
_PARTS = (
    _Part(1.45, 1.55, 2.3, "convolutions\nor patches", "09 10", _SIGHT),
    _Part(5.15, 1.55, 2.3, "cut into tokens", "02", _WORDS),
    _Part(1.45, 2.55, 2.3, "picture vectors", "10", _SIGHT),
    _Part(5.15, 2.55, 2.3, "word vectors", "02", _WORDS),
    _Part(3.3, 3.55, 6.0, "one sequence: picture, then words", "11", _SIGHT),
    _Part(3.3, 4.75, 5.2, "attention, in several heads", "03 04", _WRITING),
    _Part(3.3, 5.55, 5.2, "feed-forward, residual, norm", "05", _WRITING),
    _Part(7.6, 4.75, 1.9, "positions", "06", _WRITING),
    _Part(3.3, 6.75, 6.0, "how likely is each next word?", "01 07", _WORDS),
    _Part(3.3, 7.65, 6.0, "choose one, append it, repeat", "08", _WRITING),
    _Part(7.6, 6.75, 1.9, "training", "12", _SIGHT),
    _Part(7.6, 7.65, 1.9, "does it see?", "13", _SIGHT),
)
_ARROWS = (
    *((1.45, 0.95, 1.45, 1.22), (5.15, 0.7, 5.15, 1.22), (1.45, 1.88, 1.45, 2.22), (5.15, 1.88, 5.15, 2.22)),
    *((1.45, 2.88, 1.45, 3.22), (5.15, 2.88, 5.15, 3.22), (3.3, 3.88, 3.3, 4.42), (3.3, 5.88, 3.3, 6.42)),
    *((3.3, 7.08, 3.3, 7.32), (6.63, 4.75, 5.93, 4.75), (3.3, 7.98, 3.3, 8.32)),
)


def course_map(picture: ArrayLike, question: str, answer: str, *, alt: str | None = None) -> CourseFigure:
    """The model that the course builds, from a picture and a question at the bottom to an answer at the top.

    Args:
        picture: what it looks at.
        question: what it is asked; short.
        answer: what it says; short.
        alt: the description.

    Raises:
        ValueError: the picture cannot be drawn.
    """
    pixels = as_picture(picture)
    with style():
        figure = new_figure(8.2, 8.3)
        axes = figure.add_subplot()
        axes.set(xlim=(-0.1, 9.1), ylim=(-0.6, 8.85), aspect="equal")
        axes.axis("off")
        _draw_stack(axes)
        for part in _PARTS:
            _draw_part(axes, part)
        for x, y, to_x, to_y in _ARROWS:
            axes.annotate("", (to_x, to_y), (x, y), arrowprops={"arrowstyle": "-|>", "color": QUIET, "lw": 1.2})
        axes.imshow(pixels, extent=(0.75, 2.15, -0.5, 0.9), interpolation="nearest", zorder=3)
        axes.text(5.15, 0.42, f"“{question}”", ha="center", va="center", fontsize=11)
        axes.text(3.3, 8.58, f"“{answer}”", ha="center", va="center", fontsize=12, fontweight="bold")
        axes.set(xlim=(-0.1, 9.1), ylim=(-0.6, 8.85))
        _draw_legend(axes)
        return finish(figure, alt or _describe())


def _describe() -> str:
    parts = [f"{part.name} ({part.chapters.replace(' ', ', ')})".replace("\n", " ") for part in _PARTS]
    return "The parts of the model from the input to the answer, with the chapters that build them: " + "; ".join(parts)


def _draw_stack(axes: Axes) -> None:
    """The frame around a block, and that it is repeated."""
    for shift in (0.16, 0.08, 0.0):
        box = (0.46 + shift, 4.24 + shift), 5.68, 1.82
        frame = FancyBboxPatch(*box, "round,pad=0.04", facecolor=PANEL, edgecolor=RULE)
        axes.add_patch(frame)
    axes.text(6.5, 5.6, "a block,\nrepeated", ha="left", va="center", fontsize=9, color=QUIET)


def _draw_part(axes: Axes, part: _Part) -> None:
    left, bottom = part.x - part.width / 2, part.y - _HEIGHT / 2
    axes.add_patch(
        FancyBboxPatch(
            (left, bottom), part.width, _HEIGHT, "round,pad=0.03", facecolor=CARD, edgecolor=part.colour, lw=1.6
        )
    )
    tag = 0.3 * len(part.chapters.split()) + 0.12
    axes.add_patch(
        FancyBboxPatch((left + 0.06, bottom + 0.1), tag, _HEIGHT - 0.2, "round,pad=0.03", facecolor=part.colour, lw=0)
    )
    ink = CARD if part.colour == BLUE else INK  # what reads on the ground of its lesson
    axes.text(
        left + 0.06 + tag / 2, part.y, part.chapters, ha="center", va="center", fontsize=9, fontweight="bold", color=ink
    )
    axes.text(left + 0.2 + tag, part.y, part.name, ha="left", va="center", fontsize=10, linespacing=1.1)


def _draw_legend(axes: Axes) -> None:
    for number, (lesson, colour) in enumerate(LESSONS.items()):
        y = 1.9 - 0.42 * number
        axes.add_patch(FancyBboxPatch((6.75, y - 0.1), 0.2, 0.2, "round,pad=0.02", facecolor=colour, lw=0))
        axes.text(7.1, y, f"Lesson {lesson}", va="center", fontsize=9)
