"""A figure follows its controls, and what cannot be drawn is said."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pytest
from ipywidgets import FloatSlider, Text

from minigpt4v import plot

DRAWN: list[dict] = []


def draw(size: float, name: str) -> plot.CourseFigure:
    DRAWN.append({"size": size, "name": name})
    if not name:
        raise ValueError("the name is empty: write one")
    return plot.bars({name: size}, y="size", alt="one bar")


@pytest.fixture
def widget():
    DRAWN.clear()
    return plot.explore(draw, size=FloatSlider(value=1.0, max=9.0), name=Text("cat", description="who"))


def test_the_first_figure_is_that_of_the_first_values(widget) -> None:
    slider, text, message, picture = widget.children
    assert DRAWN == [{"size": 1.0, "name": "cat"}]
    assert bytes(picture.value).startswith(b"\x89PNG")
    assert (slider.description, text.description, message.value) == ("size", "who", "")
    assert slider.style.description_width == text.style.description_width == "4ch", "as wide as the longest name"
    assert picture.layout.align_self == "flex-start"


def test_names_of_several_words_are_read_as_such() -> None:
    slider = plot.explore(lambda top_left: draw(top_left, "cat"), top_left=FloatSlider()).children[0]
    assert slider.description == "top left"


def test_every_change_draws_again_and_leaves_no_figure_open(widget) -> None:
    slider, text, _, picture = widget.children
    before = bytes(picture.value)
    slider.value = 5.0
    assert bytes(picture.value) != before
    text.value = "dog"
    assert DRAWN[1:] == [{"size": 5.0, "name": "cat"}, {"size": 5.0, "name": "dog"}]
    assert plt.get_fignums() == []


def test_what_cannot_be_drawn_is_said_and_the_figure_stays(widget) -> None:
    _, text, message, picture = widget.children
    before = bytes(picture.value)
    text.value = ""
    assert message.value == "the name is empty: write one"
    assert bytes(picture.value) == before
    text.value = "dog"
    assert message.value == ""


def test_its_words_are_the_same_in_every_run(widget) -> None:
    assert repr(widget) == "<a figure that follows: size, name>"
