"""What a learner sees after `make lab`, and what must not have happened to the rest of the machine."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request

import pytest
from lab_server import ROOT, LabServer
from notebook_page import NotebookPage, keep_screenshot

CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
CUT_OFF = "names => names.filter(name => name.scrollWidth > name.clientWidth).map(name => name.innerText)"
NOTIFICATIONS = "@jupyterlab/apputils-extension:notification"


@pytest.fixture
def entered(notebook: NotebookPage) -> NotebookPage:
    notebook.enter()
    return notebook


def test_the_welcome_chapter_is_open_and_nothing_else(entered: NotebookPage) -> None:
    tabs = entered.page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel")
    assert tabs.all_inner_texts() == ["00_welcome.ipynb"]
    assert entered.page.locator(".jp-Notebook h1").first.inner_text().startswith("00 Welcome")
    keep_screenshot(entered.page, "make-lab")


def test_the_file_browser_lists_every_chapter_by_its_whole_name(entered: NotebookPage) -> None:
    names = entered.page.locator(".jp-DirListing-item .jp-DirListing-itemText")
    names.first.wait_for()
    assert names.all_inner_texts() == CHAPTERS
    assert names.evaluate_all(CUT_OFF) == []


def test_the_kernel_is_chosen_and_is_that_of_the_course(entered: NotebookPage) -> None:
    (session,) = entered.server.ask("api/sessions")
    assert session["path"] == "notebooks/00_welcome.ipynb"
    assert session["kernel"]["name"] == "python3"
    assert entered.page.locator(".jp-Toolbar-kernelName").inner_text() == "Python 3 (ipykernel)"


def test_nothing_pops_up_and_nothing_asks_the_network(entered: NotebookPage) -> None:
    entered.page.evaluate("() => window.jupyterapp.restored")
    settings = entered.server.ask(f"lab/api/settings/{NOTIFICATIONS}")["schema"]["properties"]
    assert settings["fetchNews"]["default"] == "false"  # "none" asks whether to be notified
    assert entered.page.locator(".jp-Dialog, .Toastify__toast").all_inner_texts() == []
    assert entered.troubles == []


def test_the_learners_own_settings_and_tabs_are_left_alone(entered: NotebookPage) -> None:
    entered.page.evaluate("() => window.jupyterapp.restored")
    config = entered.server.settings / "config"
    assert [path for path in config.rglob("*") if path.is_file() and "lab" in path.parts] == []


def test_it_listens_on_this_machine_only_and_asks_for_the_token(server: LabServer) -> None:
    assert urllib.parse.urlsplit(server.url).hostname == "127.0.0.1"
    assert len(server.token) >= 32
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.url}api/contents")
