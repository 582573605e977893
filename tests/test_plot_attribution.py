"""plot/attribution.py: what was drawn is read back from the axes."""

import numpy as np
import pytest

from minigpt4v import plot

PICTURES = [np.full((8, 8, 3), shade) for shade in (0.2, 0.9)]
MAPS = [
    {"attention": [[1, 0], [0, 0]], "occlusion": [[-3, 0], [0, 5]]},
    {"attention": [[0, 1], [0, 0]], "occlusion": [[0, 0], [2, 0]]},
]


def draw(images=PICTURES, captions=("one", "two"), maps=MAPS):
    return plot.attribution_maps(images, captions, maps, alt="two pictures with two maps each")


def test_rows_are_pictures_and_columns_maps():
    figure = draw()
    axes = figure.axes
    assert len(axes) == 6
    assert [place.get_title() for place in axes[:3]] == ["the picture", "attention", "occlusion"]
    assert [axes[0].get_xlabel(), axes[3].get_xlabel()] == ["one", "two"]
    assert figure.alt_text == "two pictures with two maps each"


def test_the_strongest_cell_is_framed_and_cells_below_zero_are_dark():
    axes = draw().axes
    frames = [tuple(axes[place].patches[0].get_xy()) for place in (1, 2, 4, 5)]
    assert frames == [(-0.5, -0.5), (3.5, 3.5), (3.5, -0.5), (-0.5, 3.5)]
    veil = np.asarray(axes[2].images[1].get_array())[:, :, 3]
    assert veil[1, 1] == 0
    assert veil[0, 0] == veil[0, 1] == veil.max() > 0.5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": [], "captions": [], "maps": []}, "at least one"),
        ({"captions": ["one"]}, "2 pictures, 1 captions"),
        ({"maps": [MAPS[0], {"attention": [[1]]}]}, "the same"),
        ({"maps": [{}, {}]}, "at least one"),
        ({"maps": [{"a": [1, 2]}, {"a": [1, 2]}]}, "is no map"),
    ],
)
def test_what_cannot_be_drawn_is_said(changes, message):
    with pytest.raises(ValueError, match=message):
        draw(**changes)
