"""Characters as points in a plane: which ones does a model treat alike? (chapter 01)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from minigpt4v.plot.base import BLUE, QUIET, VERMILLION, CourseFigure, finish, new_figure, style
from minigpt4v.plot.fonts import visible

_VOWELS = "aeiouAEIOU"
_SHOWN_AS = {" ": "␣", "\n": "↵"}
_COLOURS = {"vowels": VERMILLION, "consonants": BLUE, "neither": QUIET}
_ROOM = np.array([4.2, 3.3])  # inches that the points fill, about
_APART = 0.17  # inches between two letters, as wide as one is


def letter_map(points: ArrayLike, characters: Sequence[str], *, alt: str = "", title: str = "") -> CourseFigure:
    """Each character drawn at its point, coloured by its kind: vowel, consonant, or neither.

    Characters that would cover each other are pushed a little apart.

    Args:
        points: [n, 2], on the CPU.
        characters: n of them.
        alt: the description.
        title: a sentence that says what to see.

    Raises:
        ValueError: not as many points as characters, or points that are not in a plane.
    """
    places = np.asarray(points, dtype=np.float64)
    if places.shape != (len(characters), 2):
        raise ValueError(f"points of shape {list(places.shape)} for {len(characters)} characters: give one [x, y] each")
    with style():
        figure = new_figure(6.0, 4.4)
        axes = figure.add_subplot()
        for kind, colour in _COLOURS.items():
            axes.plot([], [], "o", color=colour, label=kind)
        for (x, y), character in zip(_apart(places), characters, strict=True):
            shown = visible(_SHOWN_AS.get(character, character))
            colour = _COLOURS[_kind(character)]
            axes.text(x, y, shown, color=colour, fontsize=12, weight="bold", ha="center", va="center")
        axes.update_datalim(places)
        axes.margins(0.08)
        axes.autoscale_view()
        axes.set(xticks=[], yticks=[], title=title)
        axes.spines[:].set(visible=False)
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), handletextpad=0.2)
        return finish(figure, alt or f"{len(characters)} characters as points in a plane")


def _apart(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The points [n, 2], each moved just so far that no character covers another; equal points stay equal."""
    reach = np.ptp(places, axis=0)
    scale = _ROOM / np.where(reach > 0, reach, 1)  # inches per unit
    pushed = np.zeros_like(places)
    for _ in range(300):
        spots = (places + pushed) * scale
        ways = spots[:, None] - spots  # [n, n, 2]
        distances = np.linalg.norm(ways, axis=-1)
        lacking = np.where(distances > 0, np.clip(_APART - distances, 0, None), 0)
        if lacking.max(initial=0) < 0.001:
            break
        steps = 0.5 * lacking[..., None] * ways / np.maximum(distances, 1e-9)[..., None]
        pushed += steps.sum(axis=1) / scale
    return places + pushed


def _kind(character: str) -> str:
    if not character.isalpha():
        return "neither"
    return "vowels" if character in _VOWELS else "consonants"
