"""Figures that follow controls (`plot.explore`), moved as a learner moves them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from notebook_page import NotebookPage

if TYPE_CHECKING:
    from playwright.sync_api import Locator

NEW_QUESTION = "How many animals are there?"
EXPLORER = ".jp-OutputArea-output .widget-vbox"
IS_A_NEW_PICTURE = "([image, before]) => image.src !== before && image.complete && image.naturalWidth > 0"


def explorers(notebook: NotebookPage) -> list[Locator]:
    """The boxes of controls with a figure, in a notebook that has run."""
    boxes = notebook.page.locator(EXPLORER)
    return boxes.filter(has=notebook.page.locator("img.widget-image")).all()


def pictures_after_each_change(explorer: Locator) -> list[str]:
    """The address of the picture at first and after every control was moved once; a new picture has a new one."""
    explorer.scroll_into_view_if_needed()
    seen = [picture(explorer, before="")]
    for slider in explorer.locator(".noUi-handle").all():
        slider.focus()
        at_the_end = slider.get_attribute("aria-valuenow") == slider.get_attribute("aria-valuemax")
        slider.press("Home" if at_the_end else "End")
        seen.append(picture(explorer, before=seen[-1]))
    for choice in explorer.locator("select").all():
        choice.select_option(index=choice.locator("option").count() - 1)
        seen.append(picture(explorer, before=seen[-1]))
    for field in explorer.locator("input[type=text]").all():
        field.fill(NEW_QUESTION)
        field.press("Enter")
        seen.append(picture(explorer, before=seen[-1]))
    return seen


def picture(explorer: Locator, before: str) -> str:
    """The address of the picture, as soon as it is another one than before and can be seen."""
    image = explorer.locator("img.widget-image")
    explorer.page.wait_for_function(IS_A_NEW_PICTURE, arg=[image.element_handle(), before])
    return str(image.get_attribute("src"))
