"""What the browser tests share: JupyterLab, a browser, and a page in it for each test.

`make test-browser` runs them. Where there is no browser they are skipped, unless MINIGPT4V_BROWSER_TESTS=required.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest
from lab_server import LabServer, running_lab
from notebook_page import NotebookPage, keep_screenshot

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Playwright

HERE = Path(__file__).resolve().parent
# The names under which systems install Chromium and its relatives; the last resort is what Playwright installs itself.
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "microsoft-edge")
NO_PLAYWRIGHT = "playwright is not installed: run `make setup`"
NO_BROWSER = "no browser is installed: get one with `apt-get install chromium`, or with `playwright install chromium`"
SIZE = {"width": 1400, "height": 1000}
MILLISECONDS_TO_APPEAR = 90_000  # the first page of a busy machine takes long
HAS_FAILED = pytest.StashKey[bool]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    item.stash[HAS_FAILED] = item.stash.get(HAS_FAILED, False) or report.failed
    return report


def do_without(reason: str) -> NoReturn:
    """Skip a test that cannot run here; where all must run, let it fail."""
    if os.environ.get("MINIGPT4V_BROWSER_TESTS") == "required":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        do_without(NO_PLAYWRIGHT)
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def browser(playwright: Playwright) -> Iterator[Browser]:
    found = [shutil.which(name) for name in BROWSERS] + [playwright.chromium.executable_path]
    program = next((path for path in found if path and Path(path).exists()), None)
    if program is None:
        do_without(NO_BROWSER)
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    options = ["--no-sandbox"] if is_root else []  # Chromium refuses to be root inside a sandbox
    running = playwright.chromium.launch(executable_path=program, args=options)
    yield running
    running.close()


@pytest.fixture(scope="session")
def window(browser: Browser) -> BrowserContext:
    """One for all tests: what it has read of JupyterLab once, it need not read and compile again."""
    context = browser.new_context(viewport=SIZE)
    context.set_default_timeout(MILLISECONDS_TO_APPEAR)
    return context


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    with running_lab(tmp_path_factory.mktemp("lab")) as running:
        yield running


@pytest.fixture
def notebook(window: BrowserContext, server: LabServer, request: pytest.FixtureRequest) -> Iterator[NotebookPage]:
    """An empty page. The browser is asked for first: without one, JupyterLab need not be started."""
    page = window.new_page()
    yield NotebookPage(page, server)
    if request.node.stash.get(HAS_FAILED, False):
        keep_screenshot(page, f"failed-{request.node.name}")
    page.close()
    server.start_afresh()
