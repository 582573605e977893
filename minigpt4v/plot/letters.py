"""Characters as points in a plane: which ones does a model treat alike? (chapter 01)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from minigpt4v.plot.base import BLUE, QUIET, VERMILLION, CourseFigure, finish, new_figure, style
from minigpt4v.plot.fonts import visible

_VOWELS = "aeiouAEIOU"
_SHOWN_AS = {" ": "␣", "\n": "↵"}
_COLOURS = {"vowels": VERMILLION, "consonants": BLUE, "neither": QUIET}


def letter_map(points: ArrayLike, characters: Sequence[str], *, alt: str = "", title: str = "") -> CourseFigure:
    """Each character drawn at its point, coloured by its kind: vowel, consonant, or neither.

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
        for (x, y), character in zip(places, characters, strict=True):
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


def _kind(character: str) -> str:
    if not character.isalpha():
        return "neither"
    return "vowels" if character in _VOWELS else "consonants"
