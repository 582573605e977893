"""The demonstration: pictures, questions, answers, and where the model looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch
from numpy.typing import ArrayLike

from minigpt4v.plot.attention import as_attention, draw_attention
from minigpt4v.plot.base import (
    BAD,
    GOOD,
    INK,
    QUIET,
    RULE,
    CourseFigure,
    as_picture,
    draw_picture,
    finish,
    new_figure,
    style,
)
from minigpt4v.plot.fonts import wrap


@dataclass(frozen=True)
class Answer:
    """A question and what the model said.

    Attributes:
        question: the question, in any language.
        answer: the model's answer.
        right: whether it is; None where nobody knows the truth.
        truth: the right answer, shown if the model's is wrong.
        confidence: the probability of the answer, 0..1.
    """

    question: str
    answer: str
    right: bool | None = None
    truth: str = ""
    confidence: float | None = None


@dataclass(frozen=True)
class Panel:
    """A picture and what was asked about it.

    Attributes:
        picture: [h, w, 3] or [3, h, w], uint8 or floats in 0..1.
        answers: the questions and answers.
        attention: [rows, columns], where the model looked when it said `word`; None draws no map.
        word: that word.
    """

    picture: ArrayLike
    answers: Sequence[Answer]
    attention: ArrayLike | None = None
    word: str = ""


# All in inches. A page is as high as its texts need, so that nothing is ever cut off.
PANEL_WIDTH, PICTURE, GAP, MARGIN = 5.5, 1.6, 0.16, 0.2
TEXT_WIDTH = PANEL_WIDTH - PICTURE - 3 * MARGIN
MARK_WIDTH, SURE_WIDTH, TITLE, SUBTITLE = 0.2, 0.75, 0.42, 0.3
ANSWER_SIZE = 11.5  # points
LEADING = 1.28  # line to line, in font sizes
MARKS = {True: ("✓", GOOD), False: ("✗", BAD), None: ("→", QUIET)}


def demo_figure(
    panels: Sequence[Panel], title: str = "", subtitle: str = "", columns: int = 2, *, alt: str | None = None
) -> CourseFigure:
    """Pictures with questions, answers marked right or wrong, and where the model looked.

    Args:
        panels: at least one.
        title: what the reader sees here.
        subtitle: how it came about.
        columns: how many panels stand side by side at most.
        alt: the description.

    Raises:
        ValueError: there are no panels, or one cannot be drawn.
    """
    if not panels or columns < 1:
        raise ValueError(f"{len(panels)} panels in {columns} columns: give at least one of each")
    columns = min(columns, len(panels))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    with style():
        width = columns * (PANEL_WIDTH + GAP) - GAP + 2 * MARGIN
        title = wrap(title, width - 2 * MARGIN, 17, bold=True)
        subtitle = wrap(subtitle, width - 2 * MARGIN, 10.5)
        title_height, subtitle_height = _lines(title) * TITLE, _lines(subtitle) * SUBTITLE
        heights = [max(map(_panel_height, row)) for row in rows]
        height = title_height + subtitle_height + sum(heights) + GAP * (len(rows) - 1) + 2 * MARGIN
        figure = new_figure(width, height, layout="none")
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # one unit = one inch, y downwards
        page.axis("off")
        page.text(MARGIN, MARGIN, title, fontsize=17, fontweight="bold", va="top")
        page.text(MARGIN, MARGIN + title_height, subtitle, fontsize=10.5, color=QUIET, va="top")
        top = MARGIN + title_height + subtitle_height
        for row, row_height in zip(rows, heights, strict=True):
            for number, panel in enumerate(row):
                _draw_panel(page, panel, MARGIN + number * (PANEL_WIDTH + GAP), top, row_height)
            top += row_height + GAP
        asked = "; ".join(f"“{each.question}” “{each.answer}”" for panel in panels for each in panel.answers)
        return finish(figure, alt or f"{title or 'Pictures and answers'}. {asked}".replace("\n", " "))


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0


class _Text(NamedTuple):
    """A line of text in a panel: where it begins, in inches from the upper left of the text column, and its look."""

    x: float
    y: float
    text: str
    look: dict[str, Any]


def _panel_texts(panel: Panel) -> tuple[list[_Text], float]:
    """The texts of a panel, and their height."""
    texts: list[_Text] = []
    y = 0.0

    def add(text: str, indent: float, room: float, size: float, **look: Any) -> None:
        nonlocal y
        for line in wrap(text, room, size, bold="fontweight" in look).split("\n"):
            texts.append(_Text(indent, y + size / 72, line, {"fontsize": size, **look}))
            y += size / 72 * LEADING

    for each in panel.answers:
        mark, colour = MARKS[each.right]
        add(each.question, 0, TEXT_WIDTH, 9.5, color=QUIET)
        y += 0.03
        beside = y + ANSWER_SIZE / 72
        texts.append(_Text(0, beside, mark, {"fontsize": ANSWER_SIZE, "color": colour, "fontweight": "bold"}))
        if each.confidence is not None:
            sure = {"fontsize": 9, "color": QUIET, "ha": "right"}
            texts.append(_Text(TEXT_WIDTH, beside, f"{each.confidence:.0%} sure", sure))
        room = TEXT_WIDTH - MARK_WIDTH - SURE_WIDTH
        add(each.answer, MARK_WIDTH, room, ANSWER_SIZE, color=colour, fontweight="bold")
        if each.right is False and each.truth:
            add(f"truth: {each.truth}", MARK_WIDTH, TEXT_WIDTH - MARK_WIDTH, 9, color=INK)
        y += 0.12
    return texts, y


def _looked(panel: Panel) -> str:
    word = panel.word.strip()
    return wrap(f"where it looked for “{word}”", PICTURE, 8.5) if word else ""


def _panel_height(panel: Panel) -> float:
    pictures = PICTURE
    if panel.attention is not None:
        pictures += MARGIN / 2 + PICTURE + 0.17 * (_looked(panel).count("\n") + 1)
    return max(pictures, _panel_texts(panel)[1]) + 2 * MARGIN


def _draw_panel(page: Axes, panel: Panel, left: float, top: float, height: float) -> None:
    corners = "round,pad=0,rounding_size=0.12"
    card = FancyBboxPatch((left, top), PANEL_WIDTH, height, boxstyle=corners, facecolor="white", edgecolor=RULE)
    page.add_patch(card)
    picture = as_picture(panel.picture)
    draw_picture(_inset(page, left + MARGIN, top + MARGIN), picture)
    if panel.attention is not None:
        below = _inset(page, left + MARGIN, top + MARGIN + PICTURE + MARGIN / 2)
        draw_attention(below, picture, as_attention(panel.attention))
        below.set_xlabel(_looked(panel), fontsize=8.5, color=QUIET)
    for x, y, text, look in _panel_texts(panel)[0]:
        column = left + 2 * MARGIN + PICTURE
        page.text(column + x, top + MARGIN + y, text, va="baseline", **look)


def _inset(page: Axes, left: float, top: float) -> Axes:
    """Axes for a picture, placed in inches from the upper left corner of the page."""
    width, height = page.get_xlim()[1], page.get_ylim()[0]
    return page.figure.add_axes((left / width, 1 - (top + PICTURE) / height, PICTURE / width, PICTURE / height))
