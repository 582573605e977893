"""The figure of a model that learns to write: what it shows is what it was given."""

import matplotlib.pyplot as plt
import pytest
from matplotlib.text import Text

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
    assert [line.get_ydata()[0] for line in curve.lines[1:3]] == sorted(LEVELS.values())
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


def test_names_of_near_levels_do_not_cover_each_other():
    figure = drawn(levels={"one": 2.60, "two": 2.62, "three": 2.61})
    figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if text.get_text() in ("one", "two", "three")]
    boxes = [Text.get_window_extent(name) for name in names]  # without the thread to its line
    assert len(boxes) == 3
    assert not any(low.overlaps(high) for place, low in enumerate(boxes) for high in boxes[place + 1 :])


def test_texts_side_by_side():
    figure = plot.show_texts({"GPT": "床前明月光，\n疑是地上霜。", "n-gram": "word " * 60}, alt="Two texts.")
    figure.draw_without_rendering()
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["GPT", "n-gram"]
    assert words(figure.axes[0]) == ["床前明月光，\n疑是地上霜。"]
    assert words(figure.axes[1])[0].split() == ["word"] * 60
    for panel in figure.axes:
        text, frame = panel.texts[0].get_window_extent(), panel.get_window_extent()
        assert text.x1 <= frame.x1
        assert frame.y0 <= text.y0
    with pytest.raises(ValueError, match="no texts"):
        plot.show_texts({}, alt="")
