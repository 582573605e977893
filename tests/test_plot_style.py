"""The style of all figures: colours that everybody can tell apart, and text that reads.

Colour blindness is simulated as Machado, Oliveira & Fernandes (2009) do it, "A Physiologically-based Model for
Simulation of Color Vision Deficiency", with their matrices of severity 1. Distances are those of CIELAB (1976), in
which about 2.3 is just to be seen.
"""

from __future__ import annotations

import re
from itertools import combinations

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb

from minigpt4v import plot
from minigpt4v.plot import base
from minigpt4v.plot.charts import SIGNED

EYES = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colour: str) -> np.ndarray:
    channels = np.array(to_rgb(colour))
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def lab(colour: str, eye: str) -> np.ndarray:
    """How an eye sees a colour: lightness, green to red, blue to yellow."""
    seen = np.clip(np.array(EYES[eye]) @ linear(colour), 0, 1)
    xyz = TO_XYZ @ seen / TO_XYZ.sum(axis=1)  # white is 1, 1, 1
    x, y, z = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one: str, other: str, eye: str) -> float:
    return float(np.linalg.norm(lab(one, eye) - lab(other, eye)))


def contrast(colour: str, ground: str) -> float:
    dark, bright = sorted(float(linear(each) @ (0.2126, 0.7152, 0.0722)) + 0.05 for each in (colour, ground))
    return bright / dark


def test_the_simulation_is_one():
    assert distance("#00ff00", "#ff0000", "normal") == pytest.approx(170.6, abs=0.1)  # known values
    assert lab("#ffffff", "normal") == pytest.approx([100, 0, 0], abs=0.1)
    for eye in EYES:
        assert lab("#808080", eye) == pytest.approx(lab("#808080", "normal"), abs=0.1)  # greys stay greys
    assert distance("#b00000", "#4b5500", "deuteranopia") < 13 < 70 < distance("#b00000", "#4b5500", "normal")


@pytest.mark.parametrize("eye", EYES)
def test_lines_are_told_apart_by_every_eye(eye: str):
    for one, other in combinations(base.PALETTE, 2):
        assert distance(one, other, eye) > 15, (one, other)
    for colour in base.PALETTE:
        assert distance(colour, base.CARD, eye) > 35, colour


@pytest.mark.parametrize("shades", [base.SHARES, SIGNED, "viridis", "gray"])
def test_numbers_read_on_every_shade(shades):
    image = plt.figure().subplots().imshow([[-1, 1]], cmap=shades)
    for value in np.linspace(-1, 1, 201):
        assert contrast(base.number_colour(image, value), to_hex(image.to_rgba(value))) >= 4.5
    plt.close()


@pytest.mark.parametrize("colour", [*base.PALETTE, base.INK, "#ffffff"])
def test_small_text_in_any_colour_reads(colour: str):
    text = base.text_colour(colour)
    assert contrast(text, base.CARD) >= 4.5
    if contrast(colour, base.CARD) >= 4.5:
        assert text == colour.lower()
    else:
        assert contrast(text, base.CARD) < 4.9  # no darker than it must be


def test_the_style_can_be_used_by_its_name():
    with plt.style.context("minigpt4v.plot.course"):
        assert mpl.rcParams["axes.facecolor"] == base.CARD
        used = dict(mpl.rcParams)
    with plot.style():
        assert {name: used[name] for name in base.STYLE} == {name: mpl.rcParams[name] for name in base.STYLE}


def test_the_page_has_the_card_under_its_figures():
    from book.build import ROOT

    style_sheet = (ROOT / "book/page.css").read_text(encoding="utf-8")
    assert re.search(r"figure img {[^}]*background: (#\w+)", style_sheet)[1] == base.CARD
