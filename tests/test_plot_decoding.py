"""The figures of chapter 08: bars, edges and points are what was given."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from minigpt4v import plot
from minigpt4v.plot.base import BLUE, VERMILLION
from minigpt4v.plot.decoding import HUMAN

TOKENS = [f"w{i}" for i in range(6)]
PROBABILITIES = [0.05, 0.5, 0.1, 0.25, 0.06, 0.04]


@pytest.fixture(autouse=True)
def close_figures() -> Iterator[None]:
    yield
    plt.close("all")


@pytest.mark.parametrize(("p", "size"), [(0.5, 1), (0.51, 2), (0.75, 2), (0.8, 3), (0.99, 6), (1.0, 6)])
def test_the_filled_bars_are_the_nucleus(p: float, size: int):
    figure = plot.nucleus({"read": PROBABILITIES}, TOKENS, k=2, p=p)
    figure.canvas.draw()
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == sorted(PROBABILITIES, reverse=True)
    assert [to_hex(bar.get_facecolor()) == BLUE.lower() for bar in axes.patches] == [i < size for i in range(6)]
    texts = [text.get_text() for text in axes.texts]
    assert texts[:6] == ["w1", "w3", "w2", "w4", "w0", "w5"]
    assert texts[6].strip() == "top-2 holds 75%"
    assert texts[7] == ("nucleus: 1 token" if size == 1 else f"nucleus: {size} tokens")
    assert np.allclose(axes.lines[0].get_xdata(), 2.5)
    assert "top-2" in repr(figure)


def test_a_panel_for_each_distribution_and_no_more_ranks_than_asked_for():
    figure = plot.nucleus({"a": PROBABILITIES, "b": PROBABILITIES}, TOKENS, k=6, p=1, shown=3, alt="two")
    assert [len(axes.patches) for axes in figure.axes] == [3, 3]
    assert repr(figure) == "<Figure: two>"


@pytest.mark.parametrize(
    ("distributions", "k", "p"),
    [({}, 1, 0.9), ({"a": [0.5, 0.5]}, 1, 0.9), ({"a": PROBABILITIES}, 0, 0.9), ({"a": PROBABILITIES}, 1, 0.0)],
)
def test_a_nucleus_that_cannot_be_drawn(distributions: dict, k: int, p: float):
    with pytest.raises(ValueError, match=r"probabilities for 6|k must be"):
        plot.nucleus(distributions, TOKENS, k=k, p=p)


def tree() -> list[list[plot.Candidate]]:
    first = [plot.Candidate(" a", 0, -1.0, True), plot.Candidate(" b", 0, -1.5, True)]
    second = [
        plot.Candidate("c", 0, -3.0, False),
        plot.Candidate("d", 0, -2.5, True),
        plot.Candidate("e", 1, -2.0, True),
    ]
    return [first, second]


def test_the_winner_and_its_beginnings_are_framed():
    figure = plot.beam_tree(tree(), start="O")
    figure.canvas.draw()
    (axes,) = figure.axes
    framed = [
        text.get_text()
        for text in axes.texts
        if text.get_bbox_patch() and to_hex(text.get_bbox_patch().get_edgecolor()) == VERMILLION.lower()
    ]
    assert framed == ["␣b  -1.50", "e  -2.00"]
    colours = [to_hex(line.get_color()) for line in axes.lines]
    assert [colour == VERMILLION.lower() for colour in colours] == [False, True, False, False, True]
    assert [colour == BLUE.lower() for colour in colours] == [True, False, False, True, False]
    assert "2 steps" in repr(figure)


def test_a_tree_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="no candidates"):
        plot.beam_tree([], start="O")
    orphan = [*tree(), [plot.Candidate("f", 0, -4.0, True)]]  # grows from a text that was dropped
    with pytest.raises(ValueError, match="parent"):
        plot.beam_tree(orphan, start="O")


def test_points_of_a_trade_off():
    measured = {"warm": {"1": {"x": 1.0, "y": 2.0, "z": 3.0}, "2": {"x": 4.0, "y": 5.0, "z": 6.0}}}
    figure = plot.trade_off(measured, {"x": 7.0, "y": 8.0, "z": 9.0}, x="x", y=["y", "z"], alt="both")
    figure.canvas.draw()
    left, right = figure.axes
    assert np.allclose(left.lines[0].get_xydata(), [[1, 2], [4, 5]])
    assert np.allclose(right.lines[0].get_xydata(), [[1, 3], [4, 6]])
    assert np.allclose(left.lines[1].get_xydata(), [[7, 8]])
    assert [text.get_text() for text in left.texts] == ["1", "2"]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert legends == ["warm", HUMAN]
    with pytest.raises(ValueError, match="0 methods"):
        plot.trade_off({}, {}, x="x", y=["y"], alt="")


def test_names_in_a_trade_off_cover_no_line_and_no_other_name():
    ends = {"a": ((0.5, 1.4), (0.9, 3.9)), "b": ((0.52, 1.5), (0.8, 2.4)), "c": ((0.54, 1.3), (0.7, 2.0))}
    measured = {
        method: {f"{method}{place}": dict(zip("xy", point, strict=True)) for place, point in enumerate(points)}
        for method, points in ends.items()
    }
    figure = plot.trade_off(measured, {"x": 0.7, "y": 3.7}, x="x", y=["y"], alt="three lines close together")
    figure.canvas.draw()
    (axes,) = figure.axes
    boxes = [name.get_window_extent() for name in axes.texts]
    assert len(boxes) == 6
    for place, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[:place])
        assert not any(
            line.get_path().transformed(axes.transData).intersects_bbox(box, filled=False) for line in axes.lines
        )
        assert all(axes.bbox.contains(*corner) for corner in box.corners())
