"""The figure of a model that learns to write: what it shows is what it was given."""

import matplotlib.pyplot as plt
import pytest

from minigpt4v import plot

STEPS, BITS = [0, 50, 100, 150], [4.5, 3.1, 2.7, 2.5]
LEVELS = {"5-gram": 2.9, "neural n-gram": 2.6}
MOMENTS = {0: "xq zz\nq", 50: "the " * 100, 150: "HAMLET:\nTo be."}


def drawn(**changes):
    options = {"levels": LEVELS, "moments": MOMENTS, "x": "step", "y": "bits a byte", "alt": "A falling curve."}
    return plot.learning_to_write(STEPS, BITS, **(options | changes))


def words(axes):
    return [text.get_text() for text in axes.texts]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_the_curve_the_lines_and_the_texts():
    figure = drawn(title="It falls")
    curve, *panels = figure.axes
    assert curve.lines[0].get_xydata().tolist() == [list(point) for point in zip(STEPS, BITS, strict=True)]
    assert [line.get_ydata()[0] for line in curve.lines[1:3]] == list(LEVELS.values())
    assert {*LEVELS, "A", "B", "C"} <= set(words(curve))
    assert curve.get_title(loc="left") == "It falls"
    assert [panel.get_title(loc="left") for panel in panels] == ["A: step 0", "B: step 50", "C: step 150"]
    assert words(panels[0]) == ["xq zz\nq"]
    assert figure.alt_text == "A falling curve."


def test_a_long_text_stays_in_its_panel():
    figure = drawn()
    figure.draw_without_rendering()
    for panel in figure.axes[1:]:
        text, frame = panel.texts[0].get_window_extent(), panel.get_window_extent()
        assert frame.x0 <= text.x0
        assert text.x1 <= frame.x1
        assert frame.y0 <= text.y0
        assert text.y1 <= frame.y1


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"moments": {75: "a"}}, r"nothing was measured at \[75\]"), ({"moments": {}}, "0 moments")],
)
def test_what_cannot_be_drawn(changes, message):
    with pytest.raises(ValueError, match=message):
        drawn(**changes)


def test_as_many_values_as_steps():
    with pytest.raises(ValueError, match="4 steps, 3 values"):
        plot.learning_to_write(STEPS, BITS[:3], levels={}, moments=MOMENTS, x="", y="", alt="")
