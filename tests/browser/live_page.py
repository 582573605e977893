"""A page of the book with the live model on it: what a visitor does there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from minigpt4v.datasets.scenes import Scene


class LivePage:
    """A page of the book with a live model on it."""

    def __init__(self, page: Any, book: str) -> None:
        self.page, self.book = page, book
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(f"an error: {error}"))
        page.on("console", self._note_error)
        page.on("request", self._note_outside_request)

    def _note_error(self, said: Any) -> None:
        no_icon = said.location["url"].endswith("/favicon.ico")  # asked for by the browser itself, of the same host
        if said.type == "error" and not no_icon:
            self.troubles.append(f"the console: {said.text} ({said.location['url']})")

    def _note_outside_request(self, request: Any) -> None:
        if not request.url.startswith((self.book, "data:", "blob:")):
            self.troubles.append(f"a request to the network: {request.url[:100]}")

    def open(self, name: str = "talk.html") -> LivePage:
        self.page.goto(self.book + name)
        self.page.locator(".live-stage").wait_for()
        return self

    def do(self, script: str, *values: Any) -> Any:
        """A script about `composer`, `conversation` and `value`."""
        names = "const { composer, conversation, wake } = document.querySelector('.live-model').live;"
        return self.page.evaluate(f"async (value) => {{ {names} return {script}; }}", *values)

    def show(self, scene: Scene) -> None:
        self.do("composer.setScene(value)", asdict(scene))

    def ask(self, question: str) -> str:
        """Type a question, press Enter, wait for the end of the answer."""
        before = self.page.locator(".live-answers li").count()
        self.page.get_by_label("your question").fill(question)
        self.page.keyboard.press("Enter")
        self.page.locator(f".live-answers:has(li:nth-child({before + 1})) li:first-child small:not(:empty)").wait_for()
        return self.page.locator(".live-answers li:first-child .live-said").inner_text()

    def objects(self) -> list[dict[str, Any]]:
        return self.do("composer.scene.objects")

    def middle_of(self, thing: int) -> tuple[float, float]:
        box = self.page.locator(".live-things button").nth(thing).bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
