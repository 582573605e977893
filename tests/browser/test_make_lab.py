"""What a learner sees after `make lab`, and what must not have happened to the rest of the machine."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request

import pytest
from lab_server import ROOT, LabServer, wait_until
from notebook_page import NotebookPage, keep_screenshot

CHAPTERS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
CUT_OFF = "names => names.filter(name => name.scrollWidth > name.clientWidth).map(name => name.innerText)"
NOTIFICATIONS = "@jupyterlab/apputils-extension:notification"


@pytest.fixture
def entered(notebook: NotebookPage) -> NotebookPage:
    notebook.enter()
    return notebook


def test_the_welcome_chapter_is_open_beside_the_list_of_chapters(entered: NotebookPage) -> None:
    page = entered.page
    assert page.locator("#jp-main-dock-panel .lm-TabBar-tabLabel").all_inner_texts() == ["00_welcome.ipynb"]
    assert page.locator(".jp-Notebook h1").first.inner_text().startswith("00 Welcome")
    assert page.locator(".jp-Toolbar-kernelName").inner_text() == "Python 3 (ipykernel)"
    (session,) = entered.server.ask("api/sessions")
    assert session["kernel"]["name"] == "python3"

    names = page.locator(".jp-DirListing-item .jp-DirListing-itemText")
    names.first.wait_for()
    keep_screenshot(page, "make-lab")
    assert names.all_inner_texts() == CHAPTERS
    assert names.evaluate_all(CUT_OFF) == []


def test_nothing_pops_up_asks_the_network_or_changes_the_learners_settings(entered: NotebookPage) -> None:
    entered.page.evaluate("() => window.jupyterapp.restored")
    settings = entered.server.ask(f"lab/api/settings/{NOTIFICATIONS}")["schema"]["properties"]
    assert settings["fetchNews"]["default"] == "false"  # "none" asks whether to be notified
    assert entered.page.locator(".jp-Dialog, .Toastify__toast").all_inner_texts() == []
    assert entered.troubles == []
    wait_until(lambda: "00_welcome" in str(entered.server.ask("lab/api/workspaces/default")), "the tabs to be kept")
    own = (entered.server.settings / "config").rglob("*")
    assert [path for path in own if path.is_file() and "lab" in path.parts] == []


def test_it_listens_on_this_machine_only_and_asks_for_the_token(server: LabServer) -> None:
    assert urllib.parse.urlsplit(server.url).hostname == "127.0.0.1"
    assert len(server.token) >= 32
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(f"{server.url}api/contents")
