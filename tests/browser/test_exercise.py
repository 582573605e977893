"""An exercise is solved as a learner solves it: typed into its cell. What is solved stays solved."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from notebook_page import NotebookPage, keep_screenshot

if TYPE_CHECKING:
    from playwright.sync_api import Locator

DOTS, RIGHT = "...", "return sum(answer == truth for answer, truth in zip(answers, truths)) / len(truths)"
WRONG = RIGHT.removesuffix(" / len(truths)")  # how many are right, not which share
GREY, RED, GREEN = "rgb(138, 135, 127)", "rgb(213, 94, 0)", "rgb(0, 158, 115)"


@pytest.fixture
def welcome(notebook: NotebookPage) -> NotebookPage:
    """The welcome chapter, with the course's `card` and `check` imported."""
    notebook.open("00_welcome.ipynb")
    notebook.run_cell(notebook.code_cell("import Progress, card, check"))
    return notebook


def answer(welcome: NotebookPage, old: str, new: str) -> tuple[str, str]:
    """Type an answer to exercise 00.1 in place of another and run the cell: what `check` says, and in which colour."""
    cell = welcome.code_cell("def share_of_right_answers")
    if new != old:
        welcome.retype_line(cell, old, new)
    welcome.run_cell(cell)
    verdict = cell.locator(".jp-OutputArea-output div[style]").first
    return verdict.inner_text(), verdict.evaluate("verdict => getComputedStyle(verdict).borderLeftColor")


def bar(welcome: NotebookPage) -> Locator:
    """The bar of chapter 00 in the widget that shows the progress."""
    return welcome.code_cell("progress_widget()").locator(".widget-html progress").first


def test_a_check_goes_from_grey_to_red_to_green(welcome: NotebookPage) -> None:
    unsolved, colour = answer(welcome, DOTS, DOTS)
    assert unsolved.startswith("· 00.1 not attempted yet")
    assert colour == GREY

    wrong, colour = answer(welcome, DOTS, WRONG)
    assert wrong.startswith("✗ 00.1 not yet right")
    assert colour == RED
    assert not welcome.server.progress_file.exists()
    keep_screenshot(welcome.page, "exercise-wrong")

    right, colour = answer(welcome, "return", RIGHT)
    assert right.startswith("✓ 00.1 passed")
    assert colour == GREEN
    keep_screenshot(welcome.page, "exercise-right")


def test_progress_is_shown_and_survives_a_new_kernel(welcome: NotebookPage) -> None:
    widget = welcome.code_cell("progress_widget()")
    welcome.run_cell(widget)
    assert bar(welcome).get_attribute("value") == "0"

    answer(welcome, DOTS, RIGHT)
    assert "00.1 passed" in welcome.server.progress_file.read_text(encoding="utf-8")
    widget.get_by_role("button", name="Refresh").click()
    widget.locator("progress[value='1']").wait_for()
    widget.scroll_into_view_if_needed()
    keep_screenshot(welcome.page, "progress-widget")

    welcome.restart_kernel()
    welcome.run_cell(welcome.code_cell("import Progress, card, check"))
    welcome.run_cell(widget)
    assert bar(welcome).get_attribute("value") == "1"
    keep_screenshot(welcome.page, "progress-after-restart")


def test_the_card_folds_its_solution_away(welcome: NotebookPage) -> None:
    card = welcome.code_cell('card("00.1")')
    solution = card.locator("details", has_text="Solution")
    assert solution.locator("pre").is_hidden()
    solution.locator("summary").click()
    assert "def share_of_right_answers" in solution.locator("pre").inner_text()
    keep_screenshot(card, "card-unfolded")
