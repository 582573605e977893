"""plot/convolutions.py: the numbers drawn are those of PyTorch, and the frames stand where they should."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.patches import Rectangle

from minigpt4v import plot


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def frames(axes) -> list[tuple[float, float, float, float]]:
    """(row, column, height, width) of the framed pixels."""
    boxes = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    return [(box.get_y() + 0.5, box.get_x() + 0.5, box.get_height(), box.get_width()) for box in boxes]


def numbers(axes) -> list[float]:
    return [float(text.get_text()) for text in axes.texts]


def test_the_map_is_pytorchs():
    image, kernel = torch.randint(-9, 9, (6, 7)).float(), torch.randint(-3, 3, (3, 2)).float()
    figure = plot.kernel_at_work(image, kernel, row=2, column=4)
    left, middle, right = figure.axes
    expected = F.conv2d(image[None, None], kernel[None, None])[0, 0]
    assert numbers(right) == expected.flatten().tolist()
    assert numbers(left) == image.flatten().tolist()
    assert numbers(middle) == kernel.flatten().tolist()
    assert frames(left) == [(2, 4, 3, 2)]
    assert frames(right) == [(2, 4, 1, 1)]
    assert "row 2, column 4" in figure.alt_text
    assert [axes.get_title("left") for axes in figure.axes] == ["picture, 6x7", "kernel", "map, 4x6"]


def test_zero_has_no_sign_and_digits_are_as_asked():
    figure = plot.kernel_at_work(np.full((2, 2), 0.25), [[-0.0]], digits=2)
    assert [text.get_text() for text in figure.axes[2].texts] == ["0.00"] * 4
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.25"] * 4


def test_large_pictures_have_colours_only():
    figure = plot.kernel_at_work(np.ones((20, 20)), np.ones((3, 3)), alt="ones")
    assert [len(axes.texts) for axes in figure.axes] == [0, 9, 0]
    assert figure.alt_text == "ones"


@pytest.mark.parametrize(("row", "column"), [(4, 0), (0, 5), (-1, 0)])
def test_windows_that_do_not_exist(row, column):
    with pytest.raises(ValueError, match="there are 4 x 5 of them"):
        plot.kernel_at_work(np.ones((6, 7)), np.ones((3, 3)), row, column)


def test_a_kernel_too_large():
    with pytest.raises(ValueError, match=r"kernel of shape \(3, 3\) does not fit on a picture of shape \(2, 9\)"):
        plot.kernel_at_work(np.ones((2, 9)), np.ones((3, 3)))


def test_fields_are_squares_cut_off_at_the_edge():
    influence = np.arange(64.0).reshape(8, 8)
    figure = plot.receptive_fields(
        np.zeros((8, 8, 3)), {"first": (3, 2, 3), "second": (-2, 1, 9)}, influence=influence, alt="two squares"
    )
    first, second = figure.axes
    assert frames(first) == [(3, 2, 3, 3), (0, 1, 7, 7)]
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["first: 3 px", "second: 9 px"]
    assert np.array_equal(second.images[0].get_array(), influence)
    assert figure.alt_text == "two squares"
    assert len(plot.receptive_fields(np.zeros((8, 8, 3)), {"one": (0, 0, 2)}, alt="one").axes) == 1


def test_what_cannot_be_drawn():
    with pytest.raises(ValueError, match="0 squares"):
        plot.receptive_fields(np.zeros((8, 8, 3)), {}, alt="none")
    with pytest.raises(ValueError, match=r"influence of shape \(4, 4\)"):
        plot.receptive_fields(np.zeros((8, 8, 3)), {"one": (0, 0, 2)}, influence=np.zeros((4, 4)), alt="small")
