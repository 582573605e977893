"""What came out: the confidence of an answer, training curves, confusions, accuracy by question family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from numbers import Real
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator, PercentFormatter
from numpy.typing import ArrayLike

from minigpt4v.plot.base import (
    BLUE,
    CARD,
    INK,
    LINES,
    PALETTE,
    PANEL,
    QUIET,
    RULE,
    SHARES,
    CourseFigure,
    finish,
    new_figure,
    number_colour,
    style,
)
from minigpt4v.plot.fonts import drawable, text_width, visible

GREYS = ("#a3a19a", "#bfbdb6", "#d5d3cc")  # the runners-up, best first
BAR, BAR_LENGTH = 0.72, 3.4  # thickness of a bar in rows; length of a full one in inches, at least

MARKERS = ("D", "X", "s", "v", "P")
SMOOTHED_POINTS = 80  # longer curves are drawn pale, with their running mean on top
NUMBERED_CLASSES = 20  # more numbers than in such a table would be too small to read


def answer_confidence(
    tokens: Sequence[str],
    probabilities: ArrayLike,
    runners_up: Sequence[Sequence[tuple[str, float]]],
    *,
    alt: str | None = None,
) -> CourseFigure:
    """Token by token, how sure the model was, and what else it considered.

    Args:
        tokens: the tokens of the answer, in order.
        probabilities: [tokens], the probability of each when it was chosen, 0..1.
        runners_up: for each token the next best ones with their probabilities, best first; at most three are drawn.
        alt: the description.

    Raises:
        ValueError: the three are not equally long, are empty, or a probability is outside 0..1.
    """
    chances = np.asarray(probabilities, dtype=np.float64)
    if not len(tokens) == chances.size == len(runners_up) or not len(tokens):
        lengths = f"{len(tokens)} tokens, {chances.size} probabilities and {len(runners_up)} lists of runners-up"
        raise ValueError(f"{lengths}: give as many of each, at least one")
    for chance in [*chances.flat, *(chance for others in runners_up for _, chance in others)]:
        if not 0 <= chance <= 1 + 1e-6:
            raise ValueError(f"a probability is {chance:g}: give numbers in 0..1")
    with style():
        figure = new_figure(7.2, 0.9 + 0.36 * len(tokens))
        axes = figure.add_subplot()
        for row, (chance, others) in enumerate(zip(chances, runners_up, strict=True)):
            _draw_confidence(axes, row, float(chance), others)
        axes.set_yticks(range(len(tokens)), [visible(token) for token in tokens], fontsize=10.5, fontweight="bold")
        axes.set(xlim=(0, 1), ylim=(len(tokens) - 0.45, -0.55), xlabel="probability")
        _count_in_percent(axes.xaxis)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return finish(figure, alt or "How sure the model was of each token: " + ", ".join(map(visible, tokens)))


def _draw_confidence(axes: Axes, row: int, chance: float, others: Sequence[tuple[str, float]]) -> None:
    """One bar: the chosen token, then its runners-up, named inside where there is room and all beside it."""
    axes.barh(row, 1, color=PANEL, height=BAR)
    axes.barh(row, chance, color=BLUE, height=BAR)
    start = chance
    others = others[: len(GREYS)]
    for (token, other), grey in zip(others, GREYS, strict=False):
        axes.barh(row, other, left=start, color=grey, height=BAR, edgecolor=CARD, linewidth=0.6)
        if BAR_LENGTH * other > 0.08 + text_width(visible(token), 9):
            axes.text(start + other / 2, row, visible(token), ha="center", va="center", fontsize=9)
        start += other
    beside = axes.get_yaxis_transform()  # x in shares of the axes, y in rows
    axes.text(1.15, row, f"{chance:.0%}", transform=beside, ha="right", va="center", fontweight="bold")
    named = ", ".join(f"{visible(token)} {other:.0%}" for token, other in others)
    axes.text(1.17, row, named, transform=beside, va="center", fontsize=9, color=QUIET)


def training_curves(
    history: Iterable[Mapping[str, Any]], against: str = "step", *, alt: str | None = None
) -> CourseFigure:
    """Losses on the left, accuracies on the right, over steps or time.

    Args:
        history: records in order, as a run's history.jsonl holds them: "step", "seconds", and any numbers. A name with
            "loss" in it is a loss; every other number is taken for an accuracy in 0..1. Each name is a curve, and need
            not be in every record.
        against: "step" or "seconds".
        alt: the description.

    Raises:
        ValueError: against is another word, or the history holds nothing to draw.
    """
    if against not in ("step", "seconds"):
        raise ValueError(f"against is {against!r}: choose 'step' or 'seconds'")
    curves = _curves(history, against)
    groups = {
        "loss": [name for name in curves if "loss" in name],
        "accuracy": [name for name in curves if "loss" not in name],
    }
    drawn = {title: names for title, names in groups.items() if names}
    if not drawn:
        raise ValueError(f"the history has no numbers to draw against {against!r}: train first, or draw another")
    with style():
        figure = new_figure(3.9 * len(drawn) if len(drawn) > 1 else 5.0, 3.2)
        for axes, (title, names) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
            for number, name in enumerate(names):
                _draw_curve(axes, *curves[name], name.replace("_", " "), number)
            _label_curves(axes, title, against)
        return finish(figure, alt or f"Training curves against {against}: " + ", ".join(curves))


def _curves(history: Iterable[Mapping[str, Any]], against: str) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> (places, values)."""
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for record in history:
        for name, value in record.items():
            if name in ("step", "seconds") or against not in record or not _is_number(value):
                continue
            places, values = curves.setdefault(name, ([], []))
            places.append(record[against])
            values.append(value)
    return curves


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _draw_curve(axes: Axes, places: Sequence[float], values: Sequence[float], name: str, number: int) -> None:
    look: dict[str, Any] = {"color": PALETTE[number % len(PALETTE)], "linestyle": LINES[number % len(LINES)]}
    if len(values) < SMOOTHED_POINTS:
        marker = "o" if len(values) <= 20 else ""
        axes.plot(places, values, label=name, marker=marker, markersize=4, **look)
        return
    axes.plot(places, values, color=look["color"], alpha=0.25, linewidth=1)
    window = len(values) // 30
    mean = np.convolve(values, np.ones(window) / window, mode="valid")
    middle = places[(window - 1) // 2 :][: len(mean)]
    axes.plot(middle, mean, label=f"{name} (mean of {window})", **look)


def _label_curves(axes: Axes, title: str, against: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(against)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10), integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:,.0f}"))
    axes.set_xlim(left=0)
    axes.grid(axis="y")
    if title == "accuracy":
        axes.set_ylim(0, 1.02)
        _count_in_percent(axes.yaxis)
    else:
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_locator(MaxNLocator(6))
    axes.legend(loc="best")


def confusion_matrix(counts: ArrayLike, labels: Sequence[str], *, alt: str | None = None) -> CourseFigure:
    """How often each truth (a row) was answered by each label (a column); rows are coloured by their shares.

    Args:
        counts: [n, n] counts: row = truth, column = answer.
        labels: n names.
        alt: the description.

    Raises:
        ValueError: counts is not square, has a negative or non-finite number, or the labels are too many or few.
    """
    table = np.asarray(counts, dtype=np.float64)
    size = len(labels)
    if table.shape != (size, size) or not size:
        raise ValueError(f"counts of shape {list(table.shape)} for {size} labels: give [{size}, {size}]")
    if not (np.isfinite(table).all() and table.min() >= 0):
        raise ValueError(f"counts from {table.min():g} to {table.max():g}: give finite numbers of at least 0")
    totals = table.sum(axis=1, keepdims=True)
    shares = np.divide(table, totals, out=np.zeros_like(table), where=totals > 0)
    numbered = size <= NUMBERED_CLASSES
    font_size, cell = (9.0, 0.36) if numbered else (6.5, 0.14)
    with style():
        names = [drawable(label) for label in labels]
        longest = max(text_width(name, font_size) for name in names)
        across = longest < cell  # else the names of the columns are turned
        side = max(cell * size, 2.2)
        figure = new_figure(side + longest + 1.6, side + (0.1 if across else longest) + 0.7)
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1)
        axes.set_xticks(range(size), names, rotation=0 if across else 90, fontsize=font_size)
        axes.set_yticks(range(size), names, fontsize=font_size)
        axes.set(xlabel="answer", ylabel="truth")
        axes.tick_params(length=0)
        axes.spines[:].set(visible=True, color=RULE)
        scale = figure.colorbar(image, ax=axes, label="share of the row", shrink=0.6, pad=0.02)
        _count_in_percent(scale.ax.yaxis)
        if numbered:
            for (row, column), count in np.ndenumerate(table):
                colour = number_colour(image, shares[row, column])
                text = f"{count:g}" if count else ""
                axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        return finish(figure, alt or f"Confusion matrix of {size} labels: " + ", ".join(labels))


def accuracy_by_family(rows: Iterable[Mapping[str, Any]], *, alt: str | None = None) -> CourseFigure:
    """A bar for each question family (and split), with its interval and what the baselines reach.

    Args:
        rows: records with "family" and "accuracy" (0..1), and if known "split", "low" and "high" (the ends of the
            interval) and "baselines" (name -> accuracy).
        alt: the description.

    Raises:
        ValueError: there are no rows, or an accuracy or an end of an interval is out of place.
    """
    records = [dict(row) for row in rows]
    if not records:
        raise ValueError("there are no rows to draw: evaluate first")
    for record in records:
        _check_interval(record)
    families = list(dict.fromkeys(record["family"] for record in records))
    splits = list(dict.fromkeys(record.get("split", "") for record in records))
    baselines = list(dict.fromkeys(name for record in records for name in record.get("baselines", {})))
    with style():
        figure = new_figure(7.2, 1.3 + len(families) * (0.16 + 0.24 * len(splits)))
        axes = figure.add_subplot()
        for record in records:
            place = families.index(record["family"])
            split = splits.index(record.get("split", ""))
            _draw_family(axes, record, place, split, len(splits), baselines)
        axes.set_yticks(range(len(families)), map(drawable, families))
        axes.set(xlim=(0, 1), ylim=(len(families) - 0.5, -0.5), xlabel="accuracy")
        _count_in_percent(axes.xaxis)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        handles: list[Any] = [
            Patch(color=PALETTE[i % len(PALETTE)], label=drawable(split)) for i, split in enumerate(splits) if split
        ]
        handles += [Line2D([], [], label=drawable(name), **_marker(i)) for i, name in enumerate(baselines)]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))
        described = f"Accuracy of the question families {', '.join(families)}"
        return finish(figure, alt or described + (f" on {', '.join(splits)}" if any(splits) else ""))


def _check_interval(record: Mapping[str, Any]) -> None:
    accuracy = record["accuracy"]
    rising = [0, record.get("low", accuracy), accuracy, record.get("high", accuracy), 1]
    if not all(after - before >= -1e-9 for before, after in pairwise(rising)):  # written so that NaN fails
        low, middle, high = rising[1:4]
        raise ValueError(f"{record['family']!r}: {low:g}, {middle:g}, {high:g} must rise from low to high inside 0..1")


def _marker(number: int) -> dict[str, Any]:
    shape = MARKERS[number % len(MARKERS)]
    return {"marker": shape, "linestyle": "none", "color": INK, "markerfacecolor": CARD, "markersize": 6}


def _draw_family(
    axes: Axes, record: Mapping[str, Any], place: int, split: int, splits: int, baselines: Sequence[str]
) -> None:
    thickness = 0.8 / splits
    y = place - 0.4 + thickness * (split + 0.5)
    accuracy = record["accuracy"]
    axes.barh(y, accuracy, height=thickness * 0.9, color=PALETTE[split % len(PALETTE)])
    if "low" in record and "high" in record:
        ends = [[max(0, accuracy - record["low"])], [max(0, record["high"] - accuracy)]]
        axes.errorbar(accuracy, y, xerr=ends, color=INK, capsize=2, linewidth=1.2)
    axes.text(1.015, y, f"{accuracy:.1%}", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    for name, value in record.get("baselines", {}).items():
        axes.plot(value, y, zorder=3, **_marker(baselines.index(name)))


def _count_in_percent(axis: Axis) -> None:
    """Fixed ticks at 0%, 20%, ... 100%: the automatic ones would depend on the settings when the figure is shown."""
    axis.set_major_locator(MultipleLocator(0.2))
    axis.set_major_formatter(PercentFormatter(1))
