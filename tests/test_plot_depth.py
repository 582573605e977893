"""plot/depth.py: what was drawn is read back from the axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from minigpt4v import plot

STACKS = {
    "falls": {2: [0.1, 1.0], 16: np.logspace(-15, 0, 16)},
    "stays": {2: [1.0, 1.0], 16: np.ones(16)},
}


def draw(**changes):
    return plot.through_depth(**({"panels": STACKS, "y": "size", "alt": "two kinds of stacks"} | changes))


def test_every_stack_is_a_curve_from_its_first_layer_to_its_last():
    figure = draw()
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["falls", "stays"]
    for axes, stacks in zip(figure.axes, STACKS.values(), strict=True):
        drawn = {len(line.get_xdata()): line for line in axes.get_lines()}
        assert set(drawn) == {2, 16}
        for layers, sizes in stacks.items():
            assert list(drawn[layers].get_xdata()) == list(range(1, layers + 1))
            np.testing.assert_array_equal(drawn[layers].get_ydata(), sizes)


def test_panels_share_one_logarithmic_axis():
    falls, stays = draw().axes
    assert falls.get_yscale() == stays.get_yscale() == "log"
    assert falls.get_ylim() == stays.get_ylim()
    assert falls.get_ylim()[0] < 1e-15
    assert falls.get_ylabel() == "size"


def test_few_powers_of_ten_are_numbered_more_finely():
    narrow = draw(panels={"flat": {2: [0.2, 3.0]}}).axes[0]
    narrow.figure.canvas.draw()
    assert {"0.2", "0.5", "1", "2"} <= {tick.get_text() for tick in narrow.get_yticklabels()}


def test_a_depth_has_one_shade_in_all_panels_and_deeper_is_darker():
    figure = draw()
    shades = [{len(line.get_xdata()): line.get_color() for line in axes.get_lines()} for axes in figure.axes]
    assert all(np.array_equal(shades[0][layers], shades[1][layers]) for layers in (2, 16))
    assert sum(shades[0][16][:3]) < sum(shades[0][2][:3])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["2 layers", "16 layers"]


def test_a_floor_is_marked_and_named_in_words():
    figure = draw(floor=1e-10, floor_name="too small for float32")
    for axes in figure.axes:
        assert [list(line.get_ydata()) for line in axes.get_lines()].count([1e-10, 1e-10]) == 1
    assert "too small for float32" in [text.get_text() for axes in figure.axes for text in axes.texts]
    assert repr(figure) == "<Figure: two kinds of stacks>"


def test_the_style_of_other_figures_is_left_alone():
    before = dict(plt.rcParams)
    draw()
    assert dict(plt.rcParams) == before


@pytest.mark.parametrize("panels", [{}, {"empty": {}}])
def test_nothing_to_draw_is_refused(panels):
    with pytest.raises(ValueError, match="no stacks to draw: give each panel at least one depth"):
        draw(panels=panels)


@pytest.mark.parametrize("sizes", [[1.0], [1.0, 0.0], [1.0, float("nan")], [1.0, -1.0], [[1.0, 1.0]]])
def test_sizes_that_a_logarithmic_axis_cannot_show_are_named(sizes):
    with pytest.raises(ValueError, match=r"'bad' has sizes of shape .*, for 2 layers: give 2 positive numbers"):
        draw(panels={"bad": {2: sizes}})
