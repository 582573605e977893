"""What happens through the layers of deep stacks: one panel for each kind of stack, one curve for each depth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import ArrayLike

from minigpt4v.plot.base import INK, QUIET, SHARES, CourseFigure, finish, new_figure, style
from minigpt4v.plot.fonts import visible

PALEST = 0.2  # the place of the shallowest stack on the colour map, where white is 0
FEW_POWERS = 300
MARKED_LAYERS = 8  # deeper stacks have no markers


def through_depth(
    panels: Mapping[str, Mapping[int, ArrayLike]],
    *,
    y: str,
    alt: str,
    floor: float = 0.0,
    floor_name: str = "",
) -> CourseFigure:
    """Sizes, layer by layer, on one logarithmic axis for all panels; the deeper a stack, the darker its curve.

    Args:
        panels: title of the panel -> number of layers -> [layers], positive sizes from the first layer to the last.
        y: what the sizes are.
        alt: the description.
        floor: a size to mark by a line in every panel, such as the smallest number of a data type; 0 = none.
        floor_name: what the line is.

    Raises:
        ValueError: nothing to draw, or sizes that are not one positive number for each layer.
    """
    if not panels or not all(panels.values()):
        raise ValueError("no stacks to draw: give each panel at least one depth with the sizes of its layers")
    for title, stacks in panels.items():
        for layers, sizes in stacks.items():
            _check_sizes(title, layers, np.asarray(sizes, dtype=np.float64))
    depths = sorted({layers for stacks in panels.values() for layers in stacks})
    shades = dict(zip(depths, SHARES(np.linspace(PALEST, 1, len(depths))), strict=True))
    with style():
        figure = new_figure(2.7 * len(panels) + 1.4, 3.3)
        places = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (title, stacks) in zip(places, panels.items(), strict=True):
            _draw_stacks(axes, stacks, shades)
            axes.set(title=visible(title), xlabel="layer")
            if floor > 0:
                axes.axhline(floor, color=QUIET, linewidth=1, linestyle=":")
        if floor > 0:  # its name stands where the stacks that come down to it have left room
            beside = axes.get_yaxis_transform()  # x in shares of the panel, y in sizes
            axes.text(0.98, floor, floor_name, va="bottom", ha="right", fontsize=8, transform=beside)
        places[0].set_ylabel(y)
        low, high = places[0].get_ylim()
        if high < FEW_POWERS * low:  # powers of ten alone would leave the axis nearly without numbers
            places[0].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=12))
            places[0].yaxis.set_major_formatter(lambda size, _: f"{size:g}")
        handles: list[Any] = [Line2D([], [], color=shades[layers], label=f"{layers} layers") for layers in depths]
        figure.legend(handles=handles, loc="outside right center")
        return finish(figure, alt)


def _check_sizes(title: str, layers: int, sizes: np.ndarray) -> None:
    if sizes.shape != (layers,) or not (np.isfinite(sizes).all() and (sizes > 0).all()):
        found = f"shape {list(sizes.shape)}, least {sizes.min(initial=np.inf):g}"
        raise ValueError(f"{title!r} has sizes of {found}, for {layers} layers: give {layers} positive numbers")


def _draw_stacks(axes: Axes, stacks: Mapping[int, ArrayLike], shades: Mapping[int, Any]) -> None:
    for layers, sizes in sorted(stacks.items(), reverse=True):  # the short curves on top of the long ones
        marker = "o" if layers <= MARKED_LAYERS else ""
        axes.plot(range(1, layers + 1), np.asarray(sizes), color=shades[layers], marker=marker, markersize=3)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(numticks=9))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.grid(axis="y")
    axes.tick_params(labelcolor=INK)
