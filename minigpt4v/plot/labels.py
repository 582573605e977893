"""Names beside points, each where it covers no line, no point and no other name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from minigpt4v.plot.base import text_colour

_CLOSE, _FAR = 6, 13  # points between a point and its name
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))


def name_points(axes: Axes, names: Sequence[tuple[str, tuple[float, float], str]]) -> None:
    """Write each name beside its point, on the side where it covers least of what is drawn.

    The layout is settled before and stays as it is, so call it last.

    Args:
        axes: with all its lines drawn.
        names: (text, (x, y), colour); the name is written in a shade of the colour that reads.
    """
    figure: Any = axes.figure  # one with a canvas
    figure.draw_without_rendering()  # where things are is known only now
    covered = np.concatenate([_along(axes.transData.transform(line.get_xydata())) for line in axes.lines])
    for text, point, colour in names:
        ink = text_colour(colour)
        note = axes.annotate(text, point, (0, 0), textcoords="offset points", color=ink, fontsize=8)
        note.set_in_layout(False)
        costs = []
        sides = [(x, y, gap) for gap in (_CLOSE, _FAR) for x, y in _SIDES]
        for x, y, gap in sides:
            _move(note, x, y, gap)
            box = note.get_window_extent().padded(2)
            inside = (covered > (box.x0, box.y0)).all(axis=1) & (covered < (box.x1, box.y1)).all(axis=1)
            out = not all(axes.bbox.contains(*corner) for corner in box.corners())
            costs.append((inside.sum() + 1000 * out, gap))
        _move(note, *sides[min(range(len(sides)), key=lambda place: costs[place])])
        box = note.get_window_extent()
        grid = np.meshgrid(np.linspace(box.x0, box.x1, 8), np.linspace(box.y0, box.y1, 4))
        covered = np.concatenate([covered, np.stack(grid, axis=-1).reshape(-1, 2)])


def _move(note: Any, x: int, y: int, gap: int) -> None:
    """Put the name on one side of its point: x and y are -1, 0 or 1."""
    note.set_position((x * gap, y * gap))
    note.set(ha=("center", "left", "right")[x], va=("center", "bottom", "top")[y])


def _along(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points [n, 2] close together along a line through these corners [m, 2], in pixels; more at the corners' marks."""
    steps = np.linspace(0, 1, 60)[:, None, None]
    between = (corners[:-1] * (1 - steps) + corners[1:] * steps).reshape(-1, 2)
    turns = np.linspace(0, 2 * np.pi, 12)[:, None, None]
    marks = corners + 4 * np.concatenate([np.cos(turns), np.sin(turns)], axis=-1)
    return np.concatenate([between, marks.reshape(-1, 2)])
