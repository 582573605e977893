"""What a language model learns while it trains: the curve falls through the lines of older models, and the text shows.

Chapter 07 draws it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes

from minigpt4v.plot.base import PALETTE, PANEL, QUIET, CourseFigure, finish, new_figure, style
from minigpt4v.plot.fonts import visible, wrap

_WIDTH, _TEXT_SIZE, _LINES = 8.4, 8, 8  # inches, points, and lines of a panel


def learning_to_write(
    steps: Sequence[float],
    values: Sequence[float],
    *,
    levels: Mapping[str, float],
    moments: Mapping[int, str],
    x: str,
    y: str,
    alt: str,
    title: str = "",
) -> CourseFigure:
    """A curve that falls through horizontal lines, and beneath it what the model wrote at some of the steps.

    Args:
        steps: [n], where the values were measured.
        values: [n].
        levels: name -> value of a model that does not train, drawn as a horizontal line.
        moments: one of the steps -> what was written then; drawn from left to right in this order.
        x: what the steps are.
        y: what the values are, with their unit.
        alt: the description.
        title: a sentence that says what to see.

    Raises:
        ValueError: steps and values are not equally many, or a moment is none of the steps.
    """
    if len(steps) != len(values) or not moments:
        raise ValueError(
            f"{len(steps)} steps, {len(values)} values, {len(moments)} moments: give a value for each step"
        )
    if unknown := [moment for moment in moments if moment not in steps]:
        raise ValueError(f"nothing was measured at {unknown}: choose moments among the steps {list(steps)}")
    with style():
        figure = new_figure(_WIDTH, 5.4)
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[3.4, 1.8])[:, 0]
        curve = above.subplots()
        _draw_curve(curve, steps, values, levels)
        curve.set(xlabel=x, ylabel=y, title=title)
        panels = below.subplots(1, len(moments), squeeze=False)[0]
        room = 0.9 * _WIDTH / len(moments) - 0.15  # inches; the rest is margins
        for letter, panel, (moment, text) in zip("ABCDEFGH", panels, moments.items(), strict=False):
            height = values[list(steps).index(moment)]
            curve.plot(moment, height, "o", color=PALETTE[0], markersize=9)
            side = {"ha": "right"} if moment == steps[-1] else {}
            offset = (-4 if side else 7, 6 if moment != steps[0] else 0)
            curve.annotate(letter, (moment, height), offset, textcoords="offset points", weight="bold", **side)
            _draw_text(panel, f"{letter}: step {moment:g}", wrap(text, room, _TEXT_SIZE))
        return finish(figure, alt)


def _draw_curve(axes: Axes, steps: Sequence[float], values: Sequence[float], levels: Mapping[str, float]) -> None:
    axes.plot(steps, values, color=PALETTE[0], marker="o", markersize=4, clip_on=False, zorder=3)
    lowest, highest = axes.get_ylim()
    free = -float("inf")  # where the next name may stand without covering the one below
    for number, (name, level) in enumerate(sorted(levels.items(), key=lambda pair: pair[1]), start=1):
        axes.axhline(level, color=PALETTE[number % len(PALETTE)], linestyle="--", linewidth=1.5)
        place = max(level, free)
        free = place + 0.08 * (highest - min(lowest, *levels.values()))
        axes.annotate(
            visible(name),
            (1, level),
            (1.03, place),
            xycoords=("axes fraction", "data"),
            textcoords=("axes fraction", "data"),
            arrowprops={"arrowstyle": "-", "color": QUIET, "linewidth": 0.8},
            va="center",
            fontsize=9,
        )
    axes.grid(visible=True, axis="y")
    axes.margins(x=0.02)


def _draw_text(axes: Axes, title: str, text: str, lines: int = _LINES, size: float = _TEXT_SIZE) -> None:
    axes.set(xticks=[], yticks=[], facecolor=PANEL)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=9, color=QUIET, weight="normal")
    shown = "\n".join(text.splitlines()[:lines])
    axes.text(0.03, 0.95, shown, transform=axes.transAxes, va="top", fontsize=size, linespacing=1.35)


def show_texts(texts: Mapping[str, str], *, alt: str) -> CourseFigure:
    """Texts side by side, each under its title: what models wrote.

    Raises:
        ValueError: nothing to show.
    """
    if not texts:
        raise ValueError("no texts to show: give at least one title with a text")
    room = 0.9 * _WIDTH / max(2, len(texts)) - 0.15  # inches; a single text stays narrow enough to read
    wrapped = {title: wrap(text, room, _TEXT_SIZE + 1) for title, text in texts.items()}
    lines = max(text.count("\n") + 1 for text in wrapped.values())
    with style():
        figure = new_figure(_WIDTH * len(texts) / max(2, len(texts)), 0.178 * lines + 0.55)
        for axes, (title, text) in zip(figure.subplots(1, len(texts), squeeze=False)[0], wrapped.items(), strict=True):
            _draw_text(axes, title, text, lines, _TEXT_SIZE + 1)
        return finish(figure, alt)
