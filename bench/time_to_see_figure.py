"""The runs of `laptop` on record as a figure: right answers against the clock, for docs/performance.md.

`python -m bench.time_to_see_figure` draws it anew.
"""

from __future__ import annotations

import json
from typing import Any

from bench import RESULTS_FOLDER, ROOT
from minigpt4v.plot.base import BLUE, ORANGE, QUIET, CourseFigure, finish, new_figure, style

FILE = ROOT / "docs" / "images" / "time_to_see.png"
_GOALS = {5: 0.97, 10: 0.985}
_LOOKS = {5: (BLUE, "-"), 10: (ORANGE, "--")}


def main() -> None:
    """Draw the record that bench/results holds."""
    runs = json.loads((RESULTS_FOLDER / "time_to_see.json").read_text(encoding="utf-8"))
    draw(runs).savefig(FILE, dpi=150)


def draw(runs: dict[str, dict[str, Any]]) -> CourseFigure:
    """Runs of 5 and of 10 minutes with any seed; other entries of the record are left out."""
    shown = [run for name, run in runs.items() if name.startswith("laptop, ") and "stages" in run]
    with style():
        figure = new_figure(7.4, 3.9)
        axes = figure.subplots()
        for run in shown:
            colour, line = _LOOKS[int(run["minutes"])]
            seconds, shares = zip(*run["curve"], strict=True)
            axes.plot(seconds, shares, color=colour, linestyle=line, linewidth=1.4)
            axes.plot(seconds[-1], run["style"], "x", color=colour, markersize=7)
        for minutes, goal in _GOALS.items():
            colour, line = _LOOKS[minutes]
            axes.plot([], [], color=colour, linestyle=line, label=f"{minutes} minutes, training styles")
            axes.plot(60 * minutes, goal, "o", markerfacecolor="none", color=colour, markersize=9)
        axes.plot([], [], "x", color=QUIET, label="at the end, Twemoji")
        axes.plot([], [], "o", markerfacecolor="none", color=QUIET, label="goal, training styles")
        axes.set(xlabel="seconds since the weights were random", ylabel="right answers to fresh questions")
        axes.set(xlim=(0, 630), ylim=(0.6, 1.005))
        axes.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
        axes.legend(loc="lower right")
        early = "names, pointing, first words,\ncomparing: no sentence yet"
        axes.text(8, 0.985, early, color=QUIET, va="top", fontsize=9)
        alt = f"Curves of {len(shown)} runs: from the first sentences on they climb within two minutes, then slowly"
        return finish(figure, alt)


if __name__ == "__main__":
    main()
