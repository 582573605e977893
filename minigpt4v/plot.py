"""Every figure of the course, in one style: arrays and words in, a matplotlib figure out.

Each function takes `alt`, a description for readers who cannot see the figure; without one it says what is drawn (names
and sizes, but no measured values, which differ a little from machine to machine). It ends up in `figure.alt_text` and
in the figure's `repr`. Pictures are [h, w, 3] or [3, h, w], uint8 or floats in 0..1. The figures belong to pyplot: a
notebook shows them with `plt.show()`, a program saves them with `figure.savefig` and closes them with `plt.close`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from numbers import Real
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from einops import rearrange
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot_style import (
    BAD,
    BLUE,
    CARD,
    GOOD,
    INK,
    ORANGE,
    PALETTE,
    PANEL,
    QUIET,
    RULE,
    SHARES,
    CourseFigure,
    as_picture,
    drawable,
    finish,
    style,
    text_width,
    visible,
    wrap,
)

VEIL = "#101c2c"  # laid over the parts of a picture that were not looked at
LINES = ("-", "--", "-.", ":")  # curves differ in these too, for grey prints
GREYS = ("#a3a19a", "#bfbdb6", "#d5d3cc")
BAR = 0.72  # thickness of a bar, in rows
MARKERS = ("D", "X", "s", "v", "P")
NUMBERED_PATCHES = 64  # more numbers than these would be too small to read
NUMBERED_CLASSES = 20
SMOOTHED_POINTS = 80  # longer curves are drawn pale, with their running mean on top


# -- pictures ---------------------------------------------------------------------------------------------------------


def show_picture(image: ArrayLike, caption: str = "", *, alt: str | None = None) -> CourseFigure:
    """One picture with its caption below.

    Raises:
        ValueError: the picture cannot be drawn.
    """
    with style():
        figure = _new_figure(3.4, 3.2 + 0.2 * _lines_of(caption, 44))
        _draw_picture(figure.add_subplot(), as_picture(image), wrap(caption, 44))
        return finish(figure, alt or f"A picture: {caption or 'no caption'}")


def show_pictures(
    images: Sequence[ArrayLike], captions: Sequence[str] = (), columns: int = 4, *, alt: str | None = None
) -> CourseFigure:
    """Pictures in a grid, row by row, each with its caption below.

    Args:
        images: at least one picture.
        captions: one for each picture, or none at all.
        columns: how many pictures stand side by side at most.
        alt: the description.

    Raises:
        ValueError: the numbers of pictures and captions differ, there is no picture, or one cannot be drawn.
    """
    if captions and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} pictures: give one for each, or none")
    captions = captions or [""] * len(images)
    with style():
        figure, places = _grid(len(images), columns, 1.8, max((_lines_of(c, 26) for c in captions), default=0))
        for axes, image, caption in zip(places, images, captions, strict=True):
            _draw_picture(axes, as_picture(image), wrap(caption, 26))
        described = "; ".join(captions) if any(captions) else "no captions"
        return finish(figure, alt or f"{len(images)} pictures: {described}")


def patch_grid(image: ArrayLike, patch_size: int, *, alt: str | None = None) -> CourseFigure:
    """A picture, its patches, and the patches in a row: the sequence that a vision transformer reads.

    Args:
        image: the picture; its height and width are multiples of patch_size.
        patch_size: height and width of a patch, in pixels.
        alt: the description.

    Raises:
        ValueError: the patches do not tile the picture.
    """
    picture = as_picture(image)
    height, width = picture.shape[:2]
    if patch_size < 1 or height % patch_size or width % patch_size:
        raise ValueError(f"patches of {patch_size} pixels do not tile a picture of {width}x{height}: choose a divisor")
    patches = rearrange(picture, "(r p) (c q) ch -> r c p q ch", p=patch_size, q=patch_size)
    rows, columns = patches.shape[:2]
    first = rearrange(patches, "r c p q ch -> 1 (r c) p q ch")[:, :16]
    with style():
        figure = _new_figure(7.2, 4.9)
        top, bottom = figure.add_gridspec(2, 1, height_ratios=[6, 1])
        left, right = (figure.add_subplot(part) for part in top.subgridspec(1, 2))
        _draw_picture(left, picture)
        left.set_title(f"{width}x{height} pixels")
        left.hlines(np.arange(1, rows) * patch_size - 0.5, -0.5, width - 0.5, color=CARD, linewidth=1)
        left.vlines(np.arange(1, columns) * patch_size - 0.5, -0.5, height - 0.5, color=CARD, linewidth=1)
        _draw_patches(right, patches)
        right.set_title(f"{rows}x{columns} patches of {patch_size}x{patch_size} pixels")
        sequence = figure.add_subplot(bottom)
        _draw_patches(sequence, first)
        shown = "" if rows * columns == first.shape[1] else f" (the first {first.shape[1]} are shown)"
        sequence.set_title(f"a sequence of {rows * columns} tokens{shown}")
        return finish(figure, alt or f"A picture cut into {rows} rows of {columns} patches, then laid out in a row")


def _draw_patches(axes: Axes, patches: NDArray[np.float32]) -> None:
    """patches [r, c, p, q, channels], drawn apart and numbered."""
    rows, columns, size, _, _ = patches.shape
    gap = max(1, size // 8)
    axes.set(xlim=(-gap, columns * (size + gap)), ylim=(rows * (size + gap), -gap), aspect="equal")
    axes.axis("off")
    for number in range(rows * columns):
        top, left = (index * (size + gap) for index in divmod(number, columns))
        axes.imshow(patches[divmod(number, columns)], extent=(left, left + size, top + size, top), interpolation="none")
        if rows * columns <= NUMBERED_PATCHES:
            axes.text(left, top, str(number), fontsize=6.5, ha="left", va="top", bbox=_badge(CARD))
    axes.set(xlim=(-gap, columns * (size + gap)), ylim=(rows * (size + gap), -gap))


# -- where the model looks --------------------------------------------------------------------------------------------


def attention_over_picture(image: ArrayLike, weights: ArrayLike, word: str, *, alt: str | None = None) -> CourseFigure:
    """The picture, and beside it the same picture lit where the model looked when it said (or read) a word.

    Args:
        image: the picture.
        weights: [rows, columns], the attention from the word to each image token; at least 0. The strongest place is
            fully lit and framed; numbers are in percent of all attention of the word.
        word: the word.
        alt: the description.

    Raises:
        ValueError: weights have another shape, are negative or not finite, or the picture cannot be drawn.
    """
    picture, weights = as_picture(image), _attention(weights)
    with style():
        figure = _new_figure(6.4, 3.6)
        left, right = figure.subplots(1, 2)
        _draw_picture(left, picture)
        left.set_title("the picture")
        _draw_attention(right, picture, weights)
        right.set_title(f"attention of “{visible(word)}”")
        right.set_xlabel(_share(weights))
        return finish(figure, alt or f"A picture, and the {_size(weights)} map of where the model looks for “{word}”")


def attention_over_sentence(
    image: ArrayLike, weights: ArrayLike, words: Sequence[str], columns: int = 6, *, alt: str | None = None
) -> CourseFigure:
    """The picture once for each word of a sentence, lit where the model looked at that word.

    Each word has its own scale, so that words which hardly look at the picture can be read too; the share of their
    attention that is on the picture stands below.

    Args:
        image: the picture.
        weights: [words, rows, columns], as in `attention_over_picture`.
        words: one word or token for each map.
        columns: how many pictures stand side by side at most.
        alt: the description.

    Raises:
        ValueError: the numbers of words and maps differ, or as in `attention_over_picture`.
    """
    maps = [_attention(each) for each in np.asarray(weights, dtype=np.float64)]
    if len(maps) != len(words):
        raise ValueError(f"{len(words)} words for {len(maps)} attention maps: give one word for each map")
    picture = as_picture(image)
    with style():
        figure, places = _grid(len(maps), columns, 1.45, 2)
        for axes, word, each in zip(places, words, maps, strict=True):
            _draw_attention(axes, picture, each, numbers=False)
            axes.set_title(visible(word), loc="center")
            axes.set_xlabel(_share(each), fontsize=8, color=QUIET)
        sentence = " ".join(word.strip() for word in words)
        return finish(figure, alt or f"Where the model looks in the picture at each word of “{sentence}”")


def _attention(weights: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(weights, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"attention of shape {list(array.shape)} is no map: give [rows, columns]")
    if not (np.isfinite(array).all() and array.min() >= 0):
        raise ValueError(f"attention from {array.min():g} to {array.max():g}: give finite weights of at least 0")
    return array


def _draw_attention(axes: Axes, picture: NDArray, weights: NDArray, *, numbers: bool = True) -> None:
    """A dark veil over the picture, thinner where there is more attention."""
    height, width = picture.shape[:2]
    rows, columns = weights.shape
    _draw_picture(axes, picture)
    strength = weights / max(weights.max(), 1e-12)
    veil = np.empty((rows, columns, 4))
    veil[:, :, :3] = [int(VEIL[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    veil[:, :, 3] = 0.85 * (1 - strength)
    axes.imshow(veil, extent=(-0.5, width - 0.5, height - 0.5, -0.5), interpolation="nearest")
    cell_height, cell_width = height / rows, width / columns
    top, left = np.unravel_index(weights.argmax(), weights.shape)
    corner = (left * cell_width - 0.5, top * cell_height - 0.5)
    axes.add_patch(Rectangle(corner, cell_width, cell_height, fill=False, edgecolor=ORANGE, linewidth=2))
    if numbers and weights.size <= NUMBERED_PATCHES:
        for (row, column), weight in np.ndenumerate(weights):
            x, y = (column + 0.94) * cell_width - 0.5, (row + 0.94) * cell_height - 0.5
            axes.text(x, y, f"{100 * weight:.0f}", ha="right", va="bottom", fontsize=7, color=CARD, bbox=_badge(VEIL))


def _share(weights: NDArray) -> str:
    return f"{weights.sum():.0%} on the picture"


def _size(weights: NDArray) -> str:
    return f"{weights.shape[0]}x{weights.shape[1]}"


# -- answers ----------------------------------------------------------------------------------------------------------


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
        runners_up: for each token the next best ones with their probabilities, best first; may be empty.
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
        figure = _new_figure(7.2, 0.9 + 0.36 * len(tokens))
        axes = figure.add_subplot()
        for row, (chance, others) in enumerate(zip(chances, runners_up, strict=True)):
            _draw_confidence(axes, row, float(chance), others)
        axes.set_yticks(range(len(tokens)), [visible(token) for token in tokens], fontsize=10.5, fontweight="bold")
        axes.set(xlim=(0, 1), ylim=(len(tokens) - 0.45, -0.55), xlabel="probability")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return finish(figure, alt or "How sure the model was of each token: " + ", ".join(map(visible, tokens)))


def _draw_confidence(axes: Axes, row: int, chance: float, others: Sequence[tuple[str, float]]) -> None:
    """One bar: the chosen token, then its runners-up, named inside where there is room and all beside it."""
    axes.barh(row, 1, color=PANEL, height=BAR)
    axes.barh(row, chance, color=BLUE, height=BAR)
    start = chance
    for (token, other), grey in zip(others, GREYS * len(others), strict=False):
        axes.barh(row, other, left=start, color=grey, height=BAR, edgecolor=CARD, linewidth=0.6)
        if other > 0.02 + 0.018 * text_width(visible(token)):
            axes.text(start + other / 2, row, visible(token), ha="center", va="center", fontsize=9)
        start += other
    beside = axes.get_yaxis_transform()  # x in shares of the axes, y in rows
    axes.text(1.08, row, f"{chance:.0%}", transform=beside, ha="right", va="center", fontweight="bold")
    named = ", ".join(f"{visible(token)} {other:.0%}" for token, other in others)
    axes.text(1.1, row, named, transform=beside, va="center", fontsize=9, color=QUIET)


# -- curves and tables ------------------------------------------------------------------------------------------------


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
        figure = _new_figure(3.9 * len(drawn) if len(drawn) > 1 else 5.0, 3.2)
        for axes, (title, names) in zip(figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True):
            for number, name in enumerate(names):
                _draw_curve(axes, *curves[name], name.replace("_", " "), number)
            _label_curves(axes, title, against, len(names))
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
    look = {"color": PALETTE[number % len(PALETTE)], "linestyle": LINES[number % len(LINES)]}
    if len(values) < SMOOTHED_POINTS:
        marker = "o" if len(values) <= 20 else ""
        axes.plot(places, values, label=name, marker=marker, markersize=4, **look)
        return
    axes.plot(places, values, color=look["color"], alpha=0.25, linewidth=1)
    window = len(values) // 30
    mean = np.convolve(values, np.ones(window) / window, mode="valid")
    middle = places[(window - 1) // 2 :][: len(mean)]
    axes.plot(middle, mean, label=f"{name} (mean of {window})", **look)


def _label_curves(axes: Axes, title: str, against: str, curves: int) -> None:
    axes.set_title(title)
    axes.set_xlabel(against)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: f"{place:,.0f}"))
    axes.set_xlim(left=0)
    axes.grid(axis="y")
    if title == "accuracy":
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    else:
        axes.set_ylim(bottom=0)
    if curves > 1 or title == "accuracy":
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
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    numbered = size <= NUMBERED_CLASSES
    side = 1.9 + size * (0.36 if numbered else 0.15)
    with style():
        figure = _new_figure(max(side, 3.6) + 0.7, max(side, 3.6))
        axes = figure.add_subplot()
        image = axes.imshow(shares, cmap=SHARES, vmin=0, vmax=1)
        small = {"fontsize": 9 if numbered else 6.5}
        axes.set_xticks(range(size), map(drawable, labels), rotation=90, **small)
        axes.set_yticks(range(size), map(drawable, labels), **small)
        axes.set(xlabel="answer", ylabel="truth")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        figure.colorbar(image, ax=axes, label="share of the row", format=PercentFormatter(1), shrink=0.6)
        if numbered:
            for (row, column), count in np.ndenumerate(table):
                colour = CARD if shares[row, column] > 0.5 else INK
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
        figure = _new_figure(7.2, 1.3 + len(families) * (0.16 + 0.24 * len(splits)))
        axes = figure.add_subplot()
        for record in records:
            place = families.index(record["family"])
            split = splits.index(record.get("split", ""))
            _draw_family(axes, record, place, split, len(splits), baselines)
        axes.set_yticks(range(len(families)), map(drawable, families))
        axes.set(xlim=(0, 1), ylim=(len(families) - 0.5, -0.5), xlabel="accuracy")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        handles: list[Any] = [Patch(color=PALETTE[i], label=drawable(split)) for i, split in enumerate(splits) if split]
        handles += [Line2D([], [], label=drawable(name), **_marker(i)) for i, name in enumerate(baselines)]
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        described = f"Accuracy of the question families {', '.join(families)}"
        return finish(figure, alt or described + (f" on {', '.join(splits)}" if any(splits) else ""))


def _check_interval(record: Mapping[str, Any]) -> None:
    low, middle, high = (
        record.get("low", record["accuracy"]),
        record["accuracy"],
        record.get("high", record["accuracy"]),
    )
    if not 0 <= low <= middle <= high <= 1:
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
    low, high = record.get("low", accuracy), record.get("high", accuracy)
    axes.errorbar(accuracy, y, xerr=[[accuracy - low], [high - accuracy]], color=INK, capsize=2, linewidth=1.2)
    axes.text(1.015, y, f"{accuracy:.1%}", transform=axes.get_yaxis_transform(), va="center", fontsize=8.5)
    for name, value in record.get("baselines", {}).items():
        axes.plot(value, y, zorder=3, **_marker(baselines.index(name)))


# -- the demonstration ------------------------------------------------------------------------------------------------


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


# Inches. The page is as high as its texts need, so that nothing is ever cut off.
PANEL_WIDTH, GAP, MARGIN, PICTURE = 5.3, 0.16, 0.2, 1.6
QUESTION_COLUMNS, ANSWER_COLUMNS = 40, 29
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
    heights = [max(map(_panel_height, row)) for row in rows]
    header = 0.42 * bool(title) + 0.3 * bool(subtitle)
    width = columns * (PANEL_WIDTH + GAP) - GAP + 2 * MARGIN
    height = header + sum(heights) + GAP * (len(rows) - 1) + 2 * MARGIN
    with style():
        figure = _new_figure(width, height, layout="none")
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))  # one unit = one inch, y downwards
        page.axis("off")
        page.text(MARGIN, MARGIN, drawable(title), fontsize=17, fontweight="bold", va="top")
        page.text(MARGIN, MARGIN + 0.42 * bool(title), drawable(subtitle), fontsize=10.5, color=QUIET, va="top")
        top = MARGIN + header
        for row, row_height in zip(rows, heights, strict=True):
            for number, panel in enumerate(row):
                _draw_panel(page, panel, MARGIN + number * (PANEL_WIDTH + GAP), top, row_height)
            top += row_height + GAP
        asked = "; ".join(f"“{each.question}” “{each.answer}”" for panel in panels for each in panel.answers)
        return finish(figure, alt or f"{title or 'Pictures and answers'}. {asked}")


def _panel_height(panel: Panel) -> float:
    pictures = PICTURE if panel.attention is None else 2 * PICTURE + 0.1 + 0.2 * _lines_of(_looked(panel), 30)
    return max(pictures, sum(height for *_, height in _panel_lines(panel))) + 2 * MARGIN


def _looked(panel: Panel) -> str:
    return f"where it looked for “{panel.word.strip()}”" if panel.word.strip() else ""


def _panel_lines(panel: Panel) -> list[tuple[str, dict[str, Any], str, float]]:
    """The texts of a panel: (text, look, text on the right, height in inches), from the top down."""
    lines: list[tuple[str, dict[str, Any], str, float]] = []
    for each in panel.answers:
        mark, colour = MARKS[each.right]
        question = wrap(each.question, QUESTION_COLUMNS)
        lines.append((question, {"fontsize": 9.5, "color": QUIET}, "", _height(question, 0.17) + 0.03))
        sure = "" if each.confidence is None else f"{each.confidence:.0%} sure"
        answer = wrap(f"{mark} {each.answer}", ANSWER_COLUMNS).replace("\n", "\n    ")
        look = {"fontsize": 11.5, "color": colour, "fontweight": "bold"}
        lines.append((answer, look, sure, _height(answer, 0.21)))
        if each.right is False and each.truth:
            truth = wrap(f"truth: {each.truth}", QUESTION_COLUMNS)
            lines.append((truth, {"fontsize": 9, "color": INK}, "", _height(truth, 0.17)))
        lines.append(("", {}, "", 0.12))
    return lines[:-1]


def _draw_panel(page: Axes, panel: Panel, left: float, top: float, height: float) -> None:
    corner = "round,pad=0,rounding_size=0.12"
    box = FancyBboxPatch((left, top), PANEL_WIDTH, height, boxstyle=corner, facecolor="white", edgecolor=RULE)
    page.add_patch(box)
    picture = as_picture(panel.picture)
    _draw_picture(_inset(page, left + MARGIN, top + MARGIN), picture)
    if panel.attention is not None:
        below = _inset(page, left + MARGIN, top + MARGIN + PICTURE + 0.1)
        _draw_attention(below, picture, _attention(panel.attention), numbers=False)
        below.set_xlabel(wrap(_looked(panel), 30), fontsize=8.5, color=QUIET)
    x, y = left + 2 * MARGIN + PICTURE, top + MARGIN
    for text, look, right, line_height in _panel_lines(panel):
        page.text(x, y, text, va="top", linespacing=1.25, **look)
        page.text(left + PANEL_WIDTH - MARGIN, y + 0.03, right, va="top", ha="right", fontsize=9, color=QUIET)
        y += line_height


def _inset(page: Axes, left: float, top: float) -> Axes:
    """Axes for a picture, placed in inches from the upper left corner of the page."""
    width, height = page.get_xlim()[1], page.get_ylim()[0]
    return page.figure.add_axes((left / width, 1 - (top + PICTURE) / height, PICTURE / width, PICTURE / height))


def _height(text: str, line: float) -> float:
    return line * (text.count("\n") + 1)


# -- shared -----------------------------------------------------------------------------------------------------------


def _new_figure(width: float, height: float, layout: str = "constrained") -> CourseFigure:
    """Width and height in inches."""
    return plt.figure(figsize=(width, height), layout=layout, FigureClass=CourseFigure)


def _grid(count: int, columns: int, side: float, caption_lines: int) -> tuple[CourseFigure, list[Axes]]:
    """Axes for `count` pictures of `side` inches, row by row."""
    if count < 1 or columns < 1:
        raise ValueError(f"{count} pictures in {columns} columns: give at least one of each")
    columns = min(columns, count)
    rows = ceil(count / columns)
    figure = _new_figure(0.2 + columns * (side + 0.15), 0.2 + rows * (side + 0.12 + 0.18 * caption_lines))
    places = figure.subplots(rows, columns, squeeze=False).flat
    for axes in places[count:]:
        axes.remove()
    return figure, list(places[:count])


def _lines_of(caption: str, width: int) -> int:
    return wrap(caption, width).count("\n") + 1 if caption else 0


def _draw_picture(axes: Axes, picture: NDArray[np.float32], caption: str = "") -> None:
    axes.imshow(picture, interpolation="nearest")
    axes.set(xticks=[], yticks=[], xlabel=caption)
    axes.spines[:].set(visible=True, color=RULE)  # or a white picture would have no edge


def _badge(colour: str) -> dict[str, Any]:
    """The ground that keeps a number on a picture readable."""
    return {"boxstyle": "square,pad=0.15", "facecolor": colour, "edgecolor": "none", "alpha": 0.8}
