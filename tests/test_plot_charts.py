"""Plain charts show the numbers that they were given, and refuse what cannot be drawn."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from matplotlib.figure import Figure

from minigpt4v import plot


def axes_of(figure: Figure):
    return figure.axes[0]


def test_curves_are_the_numbers_given() -> None:
    figure = plot.curves([1, 2, 4], {"a": [3, 2, 1], "b": [1, 5, 2]}, x="tokens", y="loss", alt="two", log="x")
    axes = axes_of(figure)
    assert [line.get_ydata().tolist() for line in axes.lines] == [[3, 2, 1], [1, 5, 2]]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    assert (axes.get_xlabel(), axes.get_ylabel(), repr(figure)) == ("tokens", "loss", "<Figure: two>")
    assert axes.lines[0].get_linestyle() != axes.lines[1].get_linestyle()


def test_each_curve_may_have_its_own_places() -> None:
    places = {"a": [0, 1], "b": [0, 1, 2]}
    axes = axes_of(plot.curves(places, {"a": [1, 2], "b": [1, 2, 3]}, x="x", y="y", alt="a", log="y"))
    assert [line.get_xdata().tolist() for line in axes.lines] == [[0, 1], [0, 1, 2]]
    assert axes.get_yscale() == "log"


def test_names_beside_the_chart_cover_no_curve() -> None:
    up_and_down = [0, 9] * 10
    figure = plot.curves(range(20), {"a": up_and_down, "b": up_and_down}, x="x", y="y", alt="two", beside=True)
    figure.canvas.draw()
    box, axes = axes_of(figure).get_legend().get_window_extent(), axes_of(figure)
    assert axes.bbox.x1 <= box.x0 < box.x1 <= figure.bbox.x1


def test_one_curve_needs_no_legend() -> None:
    assert axes_of(plot.curves([1, 2], {"a": [1, 2]}, x="x", y="y", alt="a")).get_legend() is None


@pytest.mark.parametrize(
    ("values", "log", "words"),
    [({}, "", "0 curves"), ({"a": [1, 2]}, "z", "log 'z'"), ({"a": [1, 2, 3]}, "", "as many of each")],
)
def test_curves_refuse(values: dict, log: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        plot.curves([1, 2], values, x="x", y="y", alt="a", log=log)


def test_bars_are_as_long_as_their_numbers() -> None:
    axes = axes_of(plot.bars({"guess": 0.25, "model": 0.75}, y="share", alt="bars", highlight=["model"]))
    assert [bar.get_width() for bar in axes.patches] == [0.25, 0.75]
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()
    assert [text.get_text() for text in axes.texts] == ["0.25", "0.75"]
    assert axes.yaxis_inverted()
    with pytest.raises(ValueError, match="no bars"):
        plot.bars({}, y="share", alt="none")


def test_matrices_show_every_number_where_there_is_room() -> None:
    small, large = np.array([[0.0, 1.0], [0.5, math.nan]]), np.ones((20, 20))
    figure = plot.matrices({"small": small, "large": large}, alt="two", rows="ab", columns="cd")
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.00", "1.00", "0.50"]
    assert len(figure.axes[1].texts) == 0
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["small", "large"]


def test_zero_has_the_colour_of_the_ground_where_numbers_have_signs() -> None:
    (image,) = axes_of(plot.matrices({"signed": [[-2.0, 0.0, 1.0]]}, alt="signed")).images
    assert image.get_clim() == (-2, 2)
    negative, zero, positive = image.cmap(image.norm(np.array([-2.0, 0.0, 2.0])))
    assert min(zero[:3]) > 0.9
    assert negative[0] > negative[2]
    assert positive[2] > positive[0]


@pytest.mark.parametrize(("count", "side"), [(1, 5), (2, 9), (2, 15), (3, 8), (9, 30)])
def test_tables_side_by_side_fit_a_page(count: int, side: int) -> None:
    figure = plot.matrices({str(number): np.eye(side) for number in range(count)}, alt="tables")
    assert figure.get_size_inches()[0] < (8.5 if count < 8 else 30)


@pytest.mark.parametrize("tables", [{}, {"a": [1, 2]}])
def test_matrices_refuse(tables: dict) -> None:
    with pytest.raises(ValueError, match="give at least one"):
        plot.matrices(tables, alt="none")


def test_the_map_names_every_chapter() -> None:
    figure = plot.course_map(np.zeros((64, 64, 3)), "Where is the dog?", "At the top.")
    axes = axes_of(figure)
    said = " ".join(text.get_text() for text in axes.texts)
    assert all(f"{number:02d}" in said for number in range(1, 14))
    assert "“Where is the dog?”" in said
    assert "“At the top.”" in said
    assert all(f"{number:02d}" in figure.alt_text for number in range(1, 14))
    assert "convolutions or patches (09, 10)" in figure.alt_text
    figure.savefig(io.BytesIO())
    inside = axes.get_tightbbox().padded(-1)
    assert figure.bbox.x0 <= inside.x0
    assert inside.x1 <= figure.bbox.x1
