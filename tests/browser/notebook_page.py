"""A notebook that is open in JupyterLab, in a browser: what a learner does with it, and what there is to see."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab_server import ROOT, LabServer

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SCREENSHOTS = ROOT / "build" / "screenshots"
SECONDS_FOR_A_CHAPTER = 300
KERNEL_IS_IDLE = "() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
# Resolves once all cells have run, or the first has failed; the page must not wait for ever.
COMMAND_WITH_LIMIT = """([command, seconds]) => Promise.race([
    window.jupyterapp.commands.execute(command),
    new Promise((_, stop) => setTimeout(() => stop(new Error(`${command} takes over ${seconds} s`)), 1000 * seconds)),
])"""
# What is said of each code cell: whether it ran, and its errors.
CODE_CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets.filter(cell => cell.model.type === 'code')
    .map((cell, number) => {
        const outputs = cell.model.outputs.toJSON();
        return {
            number: number + 1,
            ran: cell.model.executionCount !== null,
            errors: outputs.filter(output => output.output_type === 'error' || output.name === 'stderr')
                .map(output => output.ename ? `${output.ename}: ${output.evalue}` : `stderr: ${output.text}`),
        };
    })"""
# Pictures without a size are broken. MathJax notes where it cannot read a formula, and writes unknown commands in red.
UNSEEN = """() => {
    const notebook = window.jupyterapp.shell.currentWidget.node;
    const broken = [...notebook.querySelectorAll('img')].filter(picture => picture.complete && !picture.naturalWidth);
    const formulas = [...notebook.querySelectorAll('math merror, math mtext[mathcolor=red]')];
    return [...broken.map(picture => `a broken picture: ${picture.alt || picture.src.slice(0, 80)}`),
            ...formulas.map(part => `a formula that cannot be read: ${part.textContent}`)];
}"""


class NotebookPage:
    """One notebook in one browser page."""

    def __init__(self, page: Page, server: LabServer) -> None:
        self.page, self.server = page, server
        self.troubles: list[str] = []  # of the page itself, not of the notebook
        page.on("pageerror", lambda error: self.troubles.append(f"an error of the page: {error}"))
        page.on("request", self._note_outside_request)

    def _note_outside_request(self, request: Any) -> None:
        own = (self.server.url, self.server.url.replace("http", "ws", 1), "file:", "data:", "blob:", "about:")
        if not request.url.startswith(own):
            self.troubles.append(f"a request to the network: {request.url[:100]}")

    def enter(self) -> None:
        """Come in as `make lab` lets the learner in."""
        self.page.goto(self.server.front_door.as_uri())
        self._wait_for_notebook()

    def open(self, name: str) -> None:
        """Open a notebook of the course by its file name."""
        self.page.goto(f"{self.server.url}lab/tree/notebooks/{name}?token={self.server.token}")
        self._wait_for_notebook()

    def _wait_for_notebook(self) -> None:
        self.page.locator(".jp-Notebook .jp-CodeCell").first.wait_for()
        self.wait_for_kernel()

    def wait_for_kernel(self) -> None:
        self.page.wait_for_function(KERNEL_IS_IDLE, polling=100)

    def run_all(self) -> None:
        """Run all cells, and wait until they have run or one has failed."""
        self.page.evaluate(COMMAND_WITH_LIMIT, ["runmenu:run-all", SECONDS_FOR_A_CHAPTER])

    def code_cells(self) -> list[dict[str, Any]]:
        """Of every code cell: its number from 1, whether it ran, and its errors."""
        return self.page.evaluate(CODE_CELLS)

    def faults(self) -> list[str]:
        """One sentence for everything that is wrong after Run All."""
        cells = self.code_cells()
        failed = [f"cell {cell['number']}: {error}" for cell in cells for error in cell["errors"]]
        idle = [f"cell {cell['number']} did not run" for cell in cells if not cell["ran"]]
        return [*failed, *idle, *self.page.evaluate(UNSEEN), *self.troubles]

    def code_cell(self, text: str) -> Locator:
        """The code cell whose source contains a text."""
        source = self.page.locator(".jp-InputArea").filter(has_text=text)
        return self.page.locator(".jp-Notebook .jp-CodeCell").filter(has=source)

    def run_cell(self, cell: Locator) -> None:
        """Run one cell with the keys that a learner presses, and wait for its end."""
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Control+Enter")
        cell.locator(".jp-InputPrompt").filter(has_text="[*]").wait_for(state="hidden")
        self.wait_for_kernel()

    def retype_line(self, cell: Locator, old: str, new: str) -> None:
        """Replace the one line of a cell that contains a text, key by key; its indentation stays."""
        cell.locator(".cm-line").filter(has_text=old).click()
        self.page.keyboard.press("End")
        self.page.keyboard.press("Shift+Home")
        self.page.keyboard.type(new)

    def menu(self, menu: str, item: str) -> None:
        """Choose from the menu bar."""
        self.page.get_by_role("menuitem", name=menu, exact=True).click()
        self.page.get_by_role("menuitem", name=item).click()

    def restart_kernel(self) -> None:
        """Restart through the menu, and say yes when asked."""
        self.menu("Kernel", "Restart Kernel…")
        self.page.get_by_role("button", name="Confirm Kernel Restart").click()
        self.wait_for_kernel()


def keep_screenshot(seen: Page | Locator, name: str) -> Path:
    """A picture of the page, or of a part of it, in build/screenshots."""
    path = SCREENSHOTS / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    seen.screenshot(path=path)
    return path
