"""How the next token is chosen: the nucleus of a distribution, the tree of a beam search, the cost of each setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import (
    BLUE,
    CARD,
    INK,
    LINES,
    PALETTE,
    QUIET,
    RULE,
    VERMILLION,
    CourseFigure,
    finish,
    new_figure,
    style,
    text_colour,
)
from minigpt4v.plot.fonts import visible
from minigpt4v.plot.labels import name_points

NAMED_TOKENS = 6  # further bars stand too close for words side by side
HUMAN = "written by a human"
_STEP = "step (numbers in the tree: log probability of the text up to there)"


class Candidate(NamedTuple):
    """One text that a beam search looked at.

    Attributes:
        token: its last token.
        parent: the place of the text without that token in the level before; 0 in the first level.
        score: log probability of the whole text.
        kept: whether it was among the best of its level.
    """

    token: str
    parent: int
    score: float
    kept: bool


def nucleus(
    distributions: Mapping[str, ArrayLike],
    tokens: Sequence[str],
    *,
    k: int,
    p: float,
    shown: int = 1000,
    alt: str | None = None,
) -> CourseFigure:
    """Next-token distributions, likeliest token first: filled bars are the nucleus, the dashed line is top-k.

    Ranks count in powers of ten: the bars of the first ranks are broad enough for their words, and hundreds fit.

    Args:
        distributions: what was read -> probabilities [v].
        tokens: the v tokens.
        k: how many tokens top-k keeps.
        p: how much probability the nucleus holds, more than 0 and at most 1.
        shown: how many ranks to draw.
        alt: the description.

    Raises:
        ValueError: nothing to draw, probabilities for other than v tokens, or k or p out of range.
    """
    drawn = {read: np.asarray(each, dtype=np.float64) for read, each in distributions.items()}
    if not drawn or any(each.shape != (len(tokens),) for each in drawn.values()):
        raise ValueError(f"give probabilities for {len(tokens)} tokens, not {[each.shape for each in drawn.values()]}")
    if not 1 <= k <= len(tokens) or not 0 < p <= 1:
        raise ValueError(f"k must be 1 to {len(tokens)} and p above 0 and at most 1, not {k!r} and {p!r}")
    with style():
        figure = new_figure(7.2, 2.5 * len(drawn) + 0.3)
        places = figure.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
        for axes, (read, probabilities) in zip(places, drawn.items(), strict=True):
            _draw_nucleus(axes, probabilities, tokens, k, p, min(shown, len(tokens)))
            axes.set_title(f"{visible(read)} …")
        places[-1].set_xlabel("rank of the token (1 = the likeliest)")
        return finish(figure, alt or f"{len(drawn)} next-token distributions with top-{k} and the nucleus of p = {p:g}")


def _draw_nucleus(
    axes: Axes, probabilities: NDArray[np.float64], tokens: Sequence[str], k: int, p: float, shown: int
) -> None:
    order = np.argsort(-probabilities, kind="stable")
    ordered = probabilities[order]
    size = min(int((np.cumsum(ordered) < p).sum()) + 1, len(ordered))
    ranks = np.arange(1, shown + 1)
    colours = np.where(ranks <= size, BLUE, RULE)
    axes.bar(ranks, ordered[:shown], width=1.0, color=colours, edgecolor=CARD, linewidth=np.minimum(1, 6 / ranks))
    axes.axvline(k + 0.5, color=VERMILLION, linestyle="--", linewidth=1.5)
    top = float(ordered[0])
    for rank in range(1, min(NAMED_TOKENS, shown) + 1):
        word, height = visible(tokens[order[rank - 1]]), ordered[rank - 1] + 0.02 * top
        axes.text(rank, height, word, ha="center", va="bottom", fontsize=8, rotation=0 if rank == 1 else 90)
    held = f" top-{k} holds {ordered[:k].sum():.0%}"
    axes.text(k + 0.5, top * 1.28, held, color=text_colour(VERMILLION), fontsize=9, va="top")
    count = "1 token" if size == 1 else f"{size} tokens"
    axes.text(0.99, 0.5, f"nucleus: {count}", color=BLUE, fontsize=12, ha="right", transform=axes.transAxes)
    axes.set(xscale="log", xlim=(0.5, shown + 0.5), ylim=(0, top * 1.3), ylabel="probability")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def beam_tree(levels: Sequence[Sequence[Candidate]], *, start: str, alt: str | None = None) -> CourseFigure:
    """The texts that a beam search looked at, step by step: kept ones blue, dropped ones grey, the winner framed.

    Args:
        levels: the candidates of each step; the texts that go on are the kept ones.
        start: the prompt.
        alt: the description.

    Raises:
        ValueError: nothing to draw, or a parent that is not in the level before or was dropped.
    """
    if not levels or not all(levels):
        raise ValueError("no candidates to draw: give at least one for each step")
    for before, level in pairwise(levels):
        if not all(0 <= each.parent < len(before) and before[each.parent].kept for each in level):
            raise ValueError("every candidate needs a parent that was kept in the level before")
    with style():
        figure = new_figure(1.6 + 1.75 * len(levels), 0.9 + 0.42 * max(map(len, levels)))
        axes = figure.add_subplot()
        heights = [_spread(len(level), max(map(len, levels))) for level in levels]
        winner = _winner(levels)
        for step, level in enumerate(levels):
            for place, each in enumerate(level):
                where = heights[step - 1][each.parent] if step else 0.0
                best = winner[step] == place
                colour = VERMILLION if best else BLUE if each.kept else RULE
                axes.plot([step + 0.27, step + 0.73], [where, heights[step][place]], color=colour, lw=1 + best)
                _draw_candidate(axes, step + 1, heights[step][place], each, best)
        lines = "\n".join(visible(line) for line in start.split("\n"))
        ground = {"facecolor": CARD, "edgecolor": "none", "pad": 3}
        axes.text(0.2, 0, lines, ha="right", va="center", fontsize=9.5, weight="bold", bbox=ground)
        axes.set(xlim=(-0.55, len(levels) + 0.45), xticks=range(1, len(levels) + 1), yticks=[], xlabel=_STEP)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        return finish(figure, alt or f"The tree of a beam search over {len(levels)} steps, from “{start}”")


def _spread(count: int, room: int) -> NDArray[np.float64]:
    """Heights for `count` candidates around 0, first on top, in a figure with room for `room`."""
    half = room / 2 * (1 - 1 / count)
    return np.linspace(half, -half, count)


def _winner(levels: Sequence[Sequence[Candidate]]) -> list[int]:
    """The place of the best text in the last level, and of its beginnings in the levels before."""
    path = [max(range(len(levels[-1])), key=lambda place: levels[-1][place].score)]
    for level in reversed(levels[1:]):
        path.append(level[path[-1]].parent)
    return path[::-1]


def _draw_candidate(axes: Axes, step: int, height: float, each: Candidate, best: bool) -> None:
    colour = INK if each.kept else QUIET
    box = {"boxstyle": "round,pad=0.25", "facecolor": CARD, "edgecolor": VERMILLION if best else CARD}
    text = f"{visible(each.token)}  {each.score:.2f}"
    axes.text(step, height, text, ha="center", va="center", fontsize=8.5, color=colour, bbox=box)


def trade_off(
    measured: Mapping[str, Mapping[str, Mapping[str, float]]],
    human: Mapping[str, float],
    *,
    x: str,
    y: Sequence[str],
    alt: str,
) -> CourseFigure:
    """What each setting of each method costs and buys, and where text written by a human stands.

    Args:
        measured: method -> setting -> measure -> value; joined by a line; the first and the last are named.
        human: measure -> value.
        x: the measure along the bottom of all panels.
        y: the measure of each panel.
        alt: the description.

    Raises:
        ValueError: nothing to draw.
    """
    if not measured or not y:
        raise ValueError(f"{len(measured)} methods and {len(y)} panels: give at least one of each")
    with style():
        figure = new_figure(4.4 * len(y) + 0.2, 4.3)
        for axes, measure in zip(figure.subplots(1, len(y), squeeze=False)[0], y, strict=True):
            for number, (method, settings) in enumerate(measured.items()):
                points = np.array([[values[x], values[measure]] for values in settings.values()])
                line, colour = LINES[number % len(LINES)], PALETTE[number % len(PALETTE)]
                axes.plot(*points.T, line, marker="o", markersize=4, linewidth=1.3, color=colour, label=method)
            axes.plot(human[x], human[measure], "*", color=INK, markersize=13, label=HUMAN)
            axes.set(xlabel=x, ylabel=measure)
            axes.margins(0.12)
            axes.grid(visible=True)
        handles = figure.axes[0].get_legend_handles_labels()
        figure.legend(*handles, loc="outside lower center", ncols=len(measured) + 1)
        for axes, measure in zip(figure.axes, y, strict=True):
            name_points(axes, _ends(measured, x, measure))
        return finish(figure, alt)


def _ends(
    measured: Mapping[str, Mapping[str, Mapping[str, float]]], x: str, y: str
) -> list[tuple[str, tuple[float, float], str]]:
    """The first and the last setting of each method with their points and colours; all would cover each other."""
    return [
        (name, (settings[name][x], settings[name][y]), PALETTE[number % len(PALETTE)])
        for number, settings in enumerate(measured.values())
        for name in dict.fromkeys((next(iter(settings)), list(settings)[-1]))
    ]
