"""The model alive on a page: answers as in Python, things to drag, files to open, and nothing leaves the page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from book_server import serving
from conftest import MILLISECONDS_TO_APPEAR, do_without
from live_page import LivePage
from notebook_page import keep_screenshot
from PIL import Image

from book.build import build
from book.live_model import add_live_model
from minigpt4v import GPT4V
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import Scene, SceneObject, load_world, scenes_of

pytestmark = pytest.mark.xdist_group("book")  # which is built once, for one process

DESK, PHONE = {"width": 1200, "height": 1000}, {"width": 390, "height": 844}
TWO = Scene("blue", (SceneObject(1, "noto", 4, 4, 26), SceneObject(0, "fluent", 35, 36, 26)))
# Greedy answers of the page's model, as ids, to one question about each scene.
ASK_ALL = """async ([scenes, questions]) => {
    const { composer, wake } = document.querySelector(".live-model").live, reader = await wake(), answers = [];
    for (const [i, scene] of scenes.entries()) {
        composer.setScene(scene);
        const ids = [], picture = await reader.see(composer.image);
        for await (const { id } of reader.answer(picture, reader.prompt(questions[i]))) ids.push(id);
        answers.push(ids);
    }
    return answers;
}"""


@pytest.fixture(scope="session")
def model() -> GPT4V:
    return GPT4V.from_pretrained("laptop")


@pytest.fixture(scope="session")
def book(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("book") / "book"
    build(folder)
    if not add_live_model(folder):
        do_without("the live model needs onnxruntime-web, which npm could not fetch")
    with serving(folder) as address:
        yield address


@pytest.fixture
def live(browser: Any, book: str) -> Iterator[LivePage]:
    page = browser.new_page(viewport=DESK)
    page.set_default_timeout(MILLISECONDS_TO_APPEAR)
    live = LivePage(page, book)
    yield live
    page.close()
    assert live.troubles == []


def test_fifty_answers_are_pythons_token_for_token(live: LivePage, model: GPT4V) -> None:
    world = load_world("core64")
    scenes = scenes_of(world, "seen", "live page", 25) + scenes_of(world, "style", "live page", 25)
    asked = [
        "What is in the picture?",
        "图里有什么？",
        "How many things are there?",
        "最大的东西是什么？",
        "What is at the top left?",
    ]
    questions = (asked * 10)[:50]
    found = live.open().page.evaluate(ASK_ALL, [[asdict(scene) for scene in scenes], questions])
    pictures = Renderer(world)(scenes)
    for picture, question, ids in zip(pictures, questions, found, strict=True):
        assert ids == [step.token for step in model.ask(picture, question).steps], question
    assert len({tuple(ids) for ids in found}) > 20  # they are answers to these pictures


def test_it_answers_in_both_languages_and_shows_what_it_thought_of(live: LivePage) -> None:
    live.open().show(TWO)
    assert live.ask("what is in the picture") == "A cat at the top left and a dog at the bottom right."
    assert "% sure" in live.page.locator(".live-answers li:first-child small").inner_text()
    keep_screenshot(live.page, "live-page-english")
    assert live.ask("图里有什么") == "左上角有一只猫，右下角有一只狗。"
    words = live.page.locator(".live-answers li:first-child .live-said button")
    words.filter(has_text="狗").hover()
    table = live.page.locator(".live-answers li:first-child table")
    assert table.locator("tr").first.inner_text().startswith("狗")
    assert table.locator("tr").count() == 5
    veils = live.page.locator(".live-heat i").evaluate_all(
        "parts => parts.map((part) => Number(part.style.getPropertyValue('--veil')))"
    )
    assert len(veils) == 16
    assert live.page.locator(".live-heat .live-most").count() == 1
    assert veils.index(min(veils)) // 4 >= 2  # the dog is below, and there it looked
    keep_screenshot(live.page, "live-page-chinese")


def test_it_goes_on_when_it_remembers(live: LivePage, model: GPT4V) -> None:
    live.open().show(TWO)
    live.page.get_by_label("it remembers").check()
    live.ask("Where is the dog?")
    said = live.ask("And what colour is it?")
    chat = model.chat(Renderer(load_world("core64"))([TWO])[0])
    chat.ask("Where is the dog?")
    assert said == str(chat.ask("And what colour is it?"))


def test_things_are_dragged(live: LivePage) -> None:
    live.open().show(TWO)
    x, y = live.middle_of(1)
    live.page.mouse.move(x, y)
    live.page.mouse.down()
    live.page.mouse.move(x, y - 120, steps=4)
    live.page.mouse.up()
    moved = live.objects()[1]
    assert moved["x"] == 35
    assert moved["y"] < 22
    assert "top right" in live.ask("Where is the dog?")


def test_things_are_moved_and_taken_away_with_the_keyboard(live: LivePage) -> None:
    live.open().show(TWO)
    live.page.locator(".live-things button").first.focus()
    live.page.keyboard.press("ArrowRight")
    live.page.keyboard.press("Shift+ArrowDown")
    assert [live.objects()[0][axis] for axis in ("x", "y")] == [5, 12]
    live.page.keyboard.press("Delete")
    assert [thing["noun"] for thing in live.objects()] == [0]


def test_things_are_added_by_a_click_and_by_a_drop(live: LivePage) -> None:
    live.open().show(Scene("white"))
    live.page.get_by_label("find a thing").fill("大象")
    elephant = live.page.locator(".live-choices button:visible")
    assert elephant.count() == 1
    elephant.click()
    assert len(live.objects()) == 1
    stage = live.page.locator(".live-stage").bounding_box()
    elephant.drag_to(
        live.page.locator(".live-stage"), target_position={"x": stage["width"] * 0.75, "y": stage["height"] * 0.75}
    )
    dropped = live.objects()[1]
    assert len(live.objects()) == 2
    assert min(dropped["x"], dropped["y"]) >= 32
    for _ in range(3):
        elephant.click()
    assert len(live.objects()) == 4
    assert "four things" in live.page.locator(".live-hints").inner_text()


def test_a_picture_file_is_seen_as_in_python(live: LivePage, model: GPT4V, tmp_path: Path) -> None:
    picture = Renderer(load_world("core64"))([TWO])[0]
    large = Image.fromarray((picture.permute(1, 2, 0).numpy() * 255).round().astype("uint8")).resize((200, 160))
    large.save(tmp_path / "two.png")
    live.open().page.set_input_files("input[type=file]", tmp_path / "two.png")
    live.page.get_by_text("two.png: 200x160 resized").wait_for()
    assert live.ask("What is in the picture?") == str(model.ask(tmp_path / "two.png", "What is in the picture?"))
    keep_screenshot(live.page, "live-page-file")


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n broken"])
def test_a_broken_file_gets_a_kind_word_and_the_picture_stays(live: LivePage, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    live.open().show(TWO)
    live.page.set_input_files("input[type=file]", tmp_path / "broken.png")
    live.page.get_by_text("“broken.png” is no picture that this browser can read").wait_for()
    assert live.ask("How many things are there?") == "Two."


def test_a_missing_model_is_named_and_the_next_question_tries_again(live: LivePage) -> None:
    live.page.route("**/read.onnx", lambda route: route.fulfill(status=404))
    live.open().show(TWO)
    live.page.get_by_label("your question").fill("What is in the picture?")
    live.page.keyboard.press("Enter")
    live.page.get_by_text("read.onnx could not be loaded (404)").wait_for()
    live.troubles.clear()  # the browser's own note of the 404
    live.page.unroute("**/read.onnx")
    assert live.ask("How many things are there?") == "Two."


@pytest.mark.parametrize("name", ["talk.html", "index.html"])
def test_it_works_on_a_phone(live: LivePage, name: str) -> None:
    live.page.set_viewport_size(PHONE)
    live.open(name).show(TWO)
    assert live.ask("图里有什么？") == "左上角有一只猫，右下角有一只狗。"
    assert live.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    live.page.locator(".live-stage").scroll_into_view_if_needed()
    keep_screenshot(live.page, f"live-page-phone-{Path(name).stem}")


def test_every_page_of_the_book_stays_at_home(browser: Any, book: str, live: LivePage) -> None:
    """No request leaves the host, nothing fails, and no page must be scrolled sideways on a phone."""
    live.page.set_viewport_size(PHONE)
    live.page.goto(book + "toc.html")
    names = live.page.locator("a[href$='.html']").evaluate_all(
        "links => links.map((link) => link.getAttribute('href'))"
    )
    assert len(names) > 20
    for name in dict.fromkeys(names):
        live.page.goto(book + name)
        live.page.wait_for_load_state("networkidle")
        wide = live.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= PHONE["width"], f"{name} is {wide} pixels wide"
        assert live.troubles == [], name
