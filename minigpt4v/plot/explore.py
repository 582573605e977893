"""A figure that follows sliders, for questions that one figure cannot answer."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def explore(draw: Callable[..., Figure], **controls: Any) -> Any:
    """Controls, and below them the figure for their values, drawn again whenever one of them changes.

    What `ipywidgets.interact` does with printed text; here the figure stays inside the widget, so that the outputs of
    the cell are the same in every run. Put a static figure beside it: pages and printed notebooks show no widgets.

    Args:
        draw: gets the values of all controls by name, and returns a figure.
        controls: name -> an ipywidget with a `value`: a slider, a text field, a list to choose from.

    Returns:
        The ipywidget to end the cell with.

    A ValueError of `draw`, as for an empty question, is shown in words, and the figure before it stays.
    """
    import ipywidgets

    own_size = ipywidgets.Layout(align_self="flex-start")  # a box would stretch the picture to its own width
    picture, message = ipywidgets.Image(format="png", layout=own_size), ipywidgets.Label()

    def redraw(_change: Any = None) -> None:
        try:
            figure = draw(**{name: control.value for name, control in controls.items()})
        except ValueError as error:
            message.value = str(error)
            return
        file = io.BytesIO()
        figure.savefig(file)
        plt.close(figure)
        picture.value, message.value = file.getvalue(), ""

    for name, control in controls.items():
        control.description = control.description or name.replace("_", " ")
        control.observe(redraw, "value")
    longest = max((len(control.description) for control in controls.values()), default=0)
    for control in controls.values():
        control.style.description_width = f"{longest}ch"  # one column, and no name is cut off
    redraw()
    words = f"<a figure that follows: {', '.join(controls)}>"  # or every picture's bytes would be in the saved output
    explorer = type("Explorer", (ipywidgets.VBox,), {"__repr__": lambda _: words})
    return explorer([*controls.values(), message, picture])
