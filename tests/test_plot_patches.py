"""Where patches look: the frame and the light stand where they should, and bad input is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import Rectangle

from minigpt4v import plot


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def attention(row, column):
    weights = np.full((4, 4), 0.01)
    weights[row, column] = 0.85
    return weights


def test_one_picture_more_than_maps_each_with_the_patch_framed():
    maps = {"block 1": attention(0, 3), "block 2": attention(2, 2)}
    figure = plot.patch_attention(np.zeros((3, 64, 64)), maps, patch=(1, 2))
    assert [axes.get_title("center") for axes in figure.axes] == ["the patch that looks", *maps]
    for axes in figure.axes:
        (frame,) = (each for each in axes.patches if isinstance(each, Rectangle))
        assert (frame.get_x(), frame.get_y(), frame.get_width()) == (31.5, 15.5, 16)
    assert "block 1, block 2" in figure.alt_text


def test_light_falls_where_the_patch_looks():
    figure = plot.patch_attention(np.ones((64, 64, 3)), {"head": attention(0, 3)}, patch=(1, 2))
    veil = figure.axes[1].images[1].get_array()[:, :, 3]
    assert np.unravel_index(veil.argmin(), veil.shape) == (0, 3)
    assert veil.min() == 0
    assert veil.max() > 0.8


@pytest.mark.parametrize(
    ("maps", "patch"), [({}, (0, 0)), ({"a": attention(0, 0)}, (4, 0)), ({"a": -attention(0, 0)}, (0, 0))]
)
def test_what_is_no_map_is_refused(maps, patch):
    with pytest.raises(ValueError, match=r"map|negative|attention"):
        plot.patch_attention(np.zeros((64, 64, 3)), maps, patch)
