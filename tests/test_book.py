"""The web book: built once into a folder, then every page is read like a browser would, without a network."""

import json
import re
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

import pytest

from book import notebook_preprocessor as preprocessor
from book import reference
from book.build import ROOT, build

_GENERATED = ("toc", "reference/")  # their links inside a page are made by mdBook and pdoc
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


class Page(HTMLParser):
    """Links, anchors and pictures of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: list[str] = []
        self.alts: list[str | None] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.anchors.append(given["id"])
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ("canonical", None) and given.get("href"):
            self.loaded.append(given["href"])
        if tag in ("script", "img", "iframe", "source") and given.get("src"):
            self.loaded.append(given["src"])
        if tag == "img":
            self.alts.append(given.get("alt"))


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> dict[str, Page]:
    """The pages of the book by their place in it; reference pages included."""
    folder = tmp_path_factory.mktemp("book")
    build(folder)
    return {page.relative_to(folder).as_posix(): Page(page) for page in sorted(folder.rglob("*.html"))}


def target_of(page: Page, link: str) -> Path:
    return (page.path.parent / unquote(urlsplit(link).path)).resolve() if urlsplit(link).path else page.path


def test_every_notebook_is_a_page(book):
    assert len(NOTEBOOKS) >= 14
    assert {f"{notebook.stem}.html" for notebook in NOTEBOOKS} <= set(book)


def test_every_internal_link_leads_somewhere(book):
    broken = []
    for name, page in book.items():
        for link in page.links + page.loaded:
            address = urlsplit(link)
            if address.scheme in ("data", "mailto", "http", "https"):
                continue
            target = target_of(page, link)
            if not target.exists():
                broken.append(f"{name}: {link}")
            elif address.fragment and target.suffix == ".html" and not name.startswith(_GENERATED):
                inside = book.get(target.relative_to(book["index.html"].path.parent).as_posix())
                if inside and unquote(address.fragment) not in inside.anchors:
                    broken.append(f"{name}: {link} (no such anchor)")
    assert broken == []


def test_external_links_are_addresses(book):
    for name, page in book.items():
        for link in page.links:
            address = urlsplit(link)
            if address.scheme in ("http", "https"):
                assert "." in address.netloc, f"{name}: {link}"
                assert " " not in link, f"{name}: {link}"


def test_nothing_is_loaded_from_elsewhere(book):
    for name, page in book.items():
        for source in page.loaded:
            assert urlsplit(source).scheme in ("", "data"), f"{name} loads {source}"
    for style_sheet in book["index.html"].path.parent.rglob("*.css"):
        text = style_sheet.read_text(encoding="utf-8")
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", text), style_sheet.name


def test_every_picture_is_described(book):
    for notebook in NOTEBOOKS:
        alts = book[f"{notebook.stem}.html"].alts
        assert alts
        assert all(alt and len(alt) > 10 for alt in alts), notebook.name


def test_every_output_of_a_notebook_is_on_its_page(book):
    for notebook in NOTEBOOKS:
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        outputs = [output for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
        pictures = sum("image/png" in output.get("data", {}) for output in outputs)
        text = book[f"{notebook.stem}.html"].path.read_text(encoding="utf-8")
        assert text.count('<img class="figure"') == pictures
        assert text.count('<pre class="output') >= sum(output["output_type"] == "stream" for output in outputs)


# -- the preprocessor -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("03_attention.ipynb", "03_attention.html"),
        ("../notebooks/03_attention.ipynb#4-masks", "03_attention.html#4-masks"),
        ("../docs/performance.md", "performance.md"),
        ("../minigpt4v/attention.py", "reference/minigpt4v/attention.html"),
        ("../minigpt4v/plot/__init__.py", "reference/minigpt4v/plot.html"),
        ("../bench/results/training.json", "source/bench/results/training.json"),
        ("https://example.org/a.ipynb", "https://example.org/a.ipynb"),
        ("#summary", "#summary"),
    ],
)
def test_links_lead_into_the_book(link, address):
    assert preprocessor.page_address(link) == address
    assert preprocessor.prose(f"see [it]({link}).") == f"see [it]({address})."


def test_formulas_are_kept_from_markdown():
    assert preprocessor.prose("so $a_1 * b$ is") == ('so <span class="math inline">a&#95;1 &#42; b</span> is')
    assert 'class="math display"' in preprocessor.prose("$$\nx^2\n$$")
    for plain in ("it costs $5 and $6", r"\$x$", "`$x$`", "```\n$x$ [a](b.ipynb)\n```"):
        assert preprocessor.prose(plain) == plain


def test_outputs_are_shown_in_their_richest_form():
    figure = {"output_type": "display_data", "data": {"image/png": "AB\n", "text/plain": ['<Figure: a "dog">']}}
    shown = preprocessor.output_of(figure)
    assert 'alt="a &quot;dog&quot;"' in shown
    assert "base64,AB" in shown
    stream = {"output_type": "stream", "text": ["1 < 2\n", "\n", "end\n"]}
    assert preprocessor.output_of(stream) == '<pre class="output">1 &lt; 2&#10;&#10;end</pre>'
    error = {"output_type": "error", "traceback": ["\x1b[31mNo\x1b[0m"]}
    assert preprocessor.output_of(error) == '<pre class="output error">No</pre>'


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("<a figure that follows: top_left, ground, question>", "controls for top left, ground and question, and a"),
        ("<a figure that follows: word>", "has controls for word, and a figure"),
        ("<your progress>", "has your progress. Try it in JupyterLab: <code>make lab</code>"),
    ],
)
def test_a_widget_has_a_stand_in_that_says_what_it_does(words, said):
    widget = {"application/vnd.jupyter.widget-view+json": {}, "text/plain": words}
    assert said in preprocessor.output_of({"output_type": "display_data", "data": widget})


def test_every_widget_says_what_it_is(book):
    for notebook in NOTEBOOKS:
        text = book[f"{notebook.stem}.html"].path.read_text(encoding="utf-8")
        stand_ins = re.findall(r'<p class="widget">(.*?)</p>', text)
        assert not [each for each in stand_ins if "children=" in each or len(each) < 60], notebook.name


def test_only_html_is_supported():
    program = [sys.executable, str(ROOT / "book" / "notebook_preprocessor.py"), "supports"]
    assert [subprocess.run([*program, kind], check=False).returncode for kind in ("html", "epub")] == [0, 1]


def test_the_preprocessor_needs_python_alone():
    sources = [
        (ROOT / "book" / name).read_text(encoding="utf-8") for name in ("notebook_preprocessor.py", "glossary.py")
    ]
    lines = [line for source in sources for line in source.splitlines() if line.startswith(("import ", "from "))]
    imported = {line.split()[1].split(".")[0] for line in lines}
    assert {"html", "re", "book"} < imported <= {"book", *sys.stdlib_module_names}


def test_every_chapter_names_what_it_takes_from_the_library_and_the_library_where_it_is_taught(book):
    chapter, module = book["03_attention.html"], book["reference/minigpt4v/attention.html"]
    assert "reference/minigpt4v/attention.html#scaled_dot_product_attention" in chapter.links
    assert "../../03_attention.html" in module.links
    for notebook in NOTEBOOKS:
        links = book[f"{notebook.stem}.html"].links
        for target in {link.partition("#")[0] for link in links if link.startswith("reference/minigpt4v/")}:
            assert any(link.endswith(f"../{notebook.stem}.html") for link in book[target].links), (
                notebook.name,
                target,
            )


def test_exercises_and_commands_have_no_reference_pages(book):
    assert "reference/minigpt4v/export.html" in book
    assert not [name for name in book if re.search("exercises|commands|cli", name) and name.startswith("reference/")]


def code(*lines: str) -> dict:
    return {"cells": [{"cell_type": "code", "source": [line + "\n" for line in lines]}]}


def test_imports_are_found_in_reading_order():
    notebook = code(
        "%matplotlib inline",
        "from minigpt4v.gpt import (GPT,",
        "    GPTConfig)",
        "import torch",
        "from minigpt4v.datasets import sort_of_clevr",
        "from minigpt4v.exercises import card",
        "from minigpt4v.gpt import GPT",
    )
    lines = reference.reference_list(notebook).splitlines()[4:]
    assert lines == [
        "- [minigpt4v.gpt](reference/minigpt4v/gpt.html): [`GPT`](reference/minigpt4v/gpt.html#GPT), "
        "[`GPTConfig`](reference/minigpt4v/gpt.html#GPTConfig)",
        "- [minigpt4v.datasets](reference/minigpt4v/datasets.html): "
        "[`sort_of_clevr`](reference/minigpt4v/datasets/sort_of_clevr.html)",
    ]


def test_a_chapter_that_takes_nothing_has_no_such_section():
    assert reference.reference_list(code("import numpy", "from minigpt4v.exercises import card")) == ""


@pytest.mark.parametrize("name", ["index.html", "talk.html"])
def test_the_live_model_has_its_place_and_a_word_for_where_it_does_not_run(book, name):
    text = book[name].path.read_text(encoding="utf-8")
    assert text.count('class="live-model"') == 1
    assert "make book-serve" in text
    assert {"live/page.js", "live/live.css"} <= set(book[name].loaded)


def test_style_sheets_find_their_fonts_and_pictures(book):
    sheets = sorted(book["index.html"].path.parent.rglob("*.css"))
    asked = [
        (sheet, address)
        for sheet in sheets
        for address in re.findall(r"url\([\"']?([^)\"']+)", sheet.read_text(encoding="utf-8"))
        if not address.startswith("data:")
    ]
    assert len(asked) > 20
    assert [pair for pair in asked if not (pair[0].parent / urlsplit(pair[1]).path).exists()] == []


def test_every_chapter_links_its_terms_to_the_glossary_once(book):
    for notebook in NOTEBOOKS:
        terms = [link for link in book[f"{notebook.stem}.html"].links if link.startswith("glossary.html#")]
        assert terms, notebook.name
        assert len(set(terms)) == len(terms), notebook.name


def test_the_book_is_served_to_this_machine_only(tmp_path):
    """By the command of the Makefile, with any free port and another folder."""
    (tmp_path / "index.html").write_text("the book", encoding="utf-8")
    recipe = re.search(
        r"^book-serve:.*\n\t\$\(RUN\) (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    words = [{"3000": "0", "build/book": str(tmp_path)}.get(word, word) for word in recipe[1].split()]
    assert {"0", str(tmp_path)} < set(words)
    command = [sys.executable, "-u", "-m", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8") as server:
        try:
            port = int(re.search(r"127\.0\.0\.1 port (\d+)", server.stdout.readline())[1])
            assert urlopen(f"http://127.0.0.1:{port}/", timeout=10).read() == b"the book"
            with pytest.raises(OSError, match=r"refused|assign"):  # Linux would answer if it listened to all addresses
                socket.create_connection(("127.0.0.2", port), timeout=5)
        finally:
            server.terminate()
