"""mdBook preprocessor: the course's notebooks as pages, straight from the `.ipynb` files and their saved outputs.

mdBook starts it with the whole book as JSON on standard input and reads the changed book from standard output
(https://rust-lang.github.io/mdBook/for_developers/preprocessors.html). It needs Python's standard library alone.
"""

from __future__ import annotations

import html
import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any

from book.glossary import FirstUses, glossary_list, load_terms
from book.reference import reference_list

_FENCED = re.compile(r"^(?P<ticks>`{3,}|~{3,})[^\n]*\n.*?^(?P=ticks)[ \t]*$|`+[^`\n]*`+", re.DOTALL | re.MULTILINE)
_MATH = re.compile(
    r"(?<!\\)\$\$(?P<display>.+?)\$\$|(?<![\\$\w])\$(?!\s)(?P<inline>[^$\n]+?)(?<![\s\\])\$(?![\d$])", re.DOTALL
)
_ALT_TEXT = re.compile(r"<Figure: (.*)>", re.DOTALL)
_FOLLOWS = re.compile(r"<a figure that follows: (.*)>", re.DOTALL)
_LINK = re.compile(r"(\]\()([^)\s]+)(\))")
_MINUTES = re.compile(r"About (\d+) minutes")
_DIFFICULTY = re.compile("●+○*")
_MAP_MARK, _GLOSSARY_MARK, _LIVE_MARK = "<!-- chapter map -->", "<!-- glossary -->", "<!-- live model -->"
_LIVE_MODEL = """<link rel="stylesheet" href="live/live.css"><script type="module" src="live/page.js"></script>
<div class="live-model">Here the model would answer. It does not run in a page opened as a file: serve the book with
<code>make book-serve</code>. It needs JavaScript, and a book that was built where there was npm.</div>"""
_FOLDERS = ("bench", "book", "data", "minigpt4v", "tests")  # of the repository, whose files pages link to
_BLANK_LINES = re.compile(r"\n\s*\n")  # they would end a block of HTML inside Markdown


def main() -> None:
    """Answer whether a renderer is supported, or read the book and write it with its notebooks turned into pages."""
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0 if sys.argv[2:3] == ["html"] else 1)
    _, book = json.load(sys.stdin)
    lessons = [chapter for chapter in chapters(book["items"]) if chapter["path"].endswith(".ipynb")]
    marks = {_MAP_MARK: chapter_map(lessons), _GLOSSARY_MARK: glossary_list(load_terms()), _LIVE_MARK: _LIVE_MODEL}
    for chapter in chapters(book["items"]):
        for mark, content in marks.items():
            chapter["content"] = chapter["content"].replace(mark, content)
        turn_into_page(chapter)
    json.dump(book, sys.stdout)


def chapters(items: list[Any]) -> Iterator[dict[str, Any]]:
    """Every chapter of a book that has a file, depth first."""
    for item in items:
        if isinstance(item, dict) and (chapter := item.get("Chapter")):
            if chapter.get("path"):
                yield chapter
            yield from chapters(chapter["sub_items"])


def chapter_map(lessons: list[dict[str, Any]]) -> str:
    """All notebooks as a list of links, each with its promise, its minutes and the hardest of its exercises."""
    return '<ol class="chapter-map">' + "".join(_map_entry(lesson) for lesson in lessons) + "</ol>"


def _map_entry(lesson: dict[str, Any]) -> str:
    cells = json.loads(lesson["content"])["cells"]
    title, promise, *_ = "".join(cells[0]["source"]).split("\n\n")
    minutes = _MINUTES.search("".join(cells[0]["source"]))
    outputs = [output for cell in cells for output in cell.get("outputs", []) if "data" in output]
    exercises = [found[0] for output in outputs if (found := _DIFFICULTY.search(_joined(output["data"]["text/plain"])))]
    hardest = max(exercises, key=lambda dots: dots.count("●"), default="")
    number, _, name = title.removeprefix("# ").partition(" ")
    plain = promise.replace("**", "").replace("\n", " ")
    facts = [f"{minutes[1]} minutes"] if minutes else []
    if hardest:
        facts.append(f'<span title="{len(exercises)} exercises; how hard the hardest is">{hardest}</span>')
    return (
        f'<li><a href="{PurePosixPath(lesson["path"]).stem}.html"><b>{number}</b> {html.escape(name)}</a>'
        f"<p>{html.escape(plain)}</p><small>{' · '.join(facts)}</small></li>"
    )


def turn_into_page(chapter: dict[str, Any]) -> None:
    """Change a chapter in place: a notebook becomes Markdown; formulas and links become what the page needs."""
    path = PurePosixPath(chapter["path"])
    if path.suffix == ".ipynb":
        chapter["content"] = page_of(json.loads(chapter["content"]), path.name)
        chapter["path"] = f"{path.stem}.md"  # notebooks lie beside the book's folder; their pages lie in it
    else:
        chapter["content"] = prose(chapter["content"])


def page_of(notebook: dict[str, Any], name: str) -> str:
    """The Markdown of a notebook: its text, its code and its saved outputs, in order."""
    parts = [f'<div class="notebook-tools"><a href="notebooks/{name}" download>Download this notebook</a></div>']
    first_uses = FirstUses(load_terms())
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(prose(source, first_uses.link))
        elif cell["cell_type"] == "code" and source.strip():
            parts.append(_fence(source, "python"))
            parts += [shown for output in cell["outputs"] if (shown := output_of(output))]
    parts.append(reference_list(notebook))
    return "\n\n".join(parts) + "\n"


# -- outputs ----------------------------------------------------------------------------------------------------------


def output_of(output: dict[str, Any]) -> str:
    """A saved output as Markdown or HTML: the richest of its forms that a page without a kernel can show."""
    if output["output_type"] == "stream":
        return _text_block("".join(output["text"]))
    if output["output_type"] == "error":
        return _text_block(re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output["traceback"])), "error")
    data = {kind: _joined(value) for kind, value in output["data"].items()}
    for kind, show in _FORMS.items():
        if kind in data:
            return show(data)
    return ""


def _joined(value: Any) -> str:
    return "".join(value) if isinstance(value, list) else str(value)


def _picture(data: dict[str, str]) -> str:
    described = _ALT_TEXT.fullmatch(data.get("text/plain", "")) or _FOLLOWS.fullmatch(data.get("text/plain", ""))
    alt = html.escape(described[1] if described else "", quote=True).replace("\n", " ")
    encoded = data["image/png"].replace("\n", "")
    return f'<figure><img class="figure" alt="{alt}" src="data:image/png;base64,{encoded}"></figure>'


def _widget(data: dict[str, str]) -> str:
    """A widget moves in a running notebook only: what it would do, in its own words."""
    words = data.get("text/plain", "")
    if follows := _FOLLOWS.fullmatch(words):
        what = "controls for " + _listed([name.replace("_", " ") for name in follows[1].split(", ")])
        what += ", and a figure that is drawn again whenever one of them is moved"
    else:
        what = words.strip("<>")
    where = "Try it in JupyterLab: <code>make lab</code>."
    return f'<p class="widget">Here a running notebook has {html.escape(what)}. {where}</p>'


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _html_block(data: dict[str, str]) -> str:
    return f'<div class="output">{_BLANK_LINES.sub(chr(10), data["text/html"])}</div>'


def _text_block(text: str, kind: str = "") -> str:
    # one line of HTML for Markdown: a blank line inside would end it
    escaped = html.escape(text.rstrip("\n")).replace("\n", "&#10;")
    return f'<pre class="{" ".join(["output", kind]).strip()}">{escaped}</pre>'


_FORMS: dict[str, Callable[[dict[str, str]], str]] = {
    "image/png": _picture,
    "application/vnd.jupyter.widget-view+json": _widget,
    "text/html": _html_block,
    "text/markdown": lambda data: f'<div class="output">\n\n{prose(data["text/markdown"])}\n\n</div>',
    "text/plain": lambda data: _text_block(data["text/plain"]),
}


# -- text -------------------------------------------------------------------------------------------------------------


def prose(text: str, also: Callable[[str], str] = str) -> str:
    """Markdown with its formulas and links made ready; code stays as it is.

    also: what else is done to the text between pieces of code.
    """
    parts, end = [], 0
    for code in _FENCED.finditer(text):
        parts += [also(_links(_formulas(text[end : code.start()]))), code[0]]
        end = code.end()
    return "".join([*parts, also(_links(_formulas(text[end:])))])


def _formulas(text: str) -> str:
    return _MATH.sub(_formula, text)


def _formula(found: re.Match[str]) -> str:
    display = found["display"] is not None
    tex = (found["display"] if display else found["inline"]).strip().replace("\n", " ")
    # Markdown would read * and _ in it: every sign but letters, digits and blanks as its number
    coded = "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in tex)
    return f'<span class="math {"display" if display else "inline"}">{coded}</span>'


def _links(text: str) -> str:
    return _LINK.sub(lambda found: found[1] + page_address(found[2]) + found[3], text)


def page_address(target: str) -> str:
    """Where a link of a notebook or of a page in docs/ leads in the book.

    Notebooks and pages stand side by side; the library's modules have reference pages; other files of the repository
    are copied into `source/`.
    """
    path, hash_sign, place = target.partition("#")
    if not path or "://" in path or path.startswith(("mailto:", "/")):
        return target
    parts = [part for part in PurePosixPath(path).parts if part not in ("..", ".")]
    if path.endswith(".ipynb"):
        path = f"{PurePosixPath(path).stem}.html"
    elif parts[:1] == ["docs"] and path.endswith(".md"):
        path = "/".join(parts[1:])
    elif parts[:1] == ["minigpt4v"] and path.endswith(".py"):
        path = "reference/" + "/".join(parts).removesuffix("/__init__.py").removesuffix(".py") + ".html"
    elif path.startswith("../") or parts[0] in _FOLDERS:
        path = "source/" + "/".join(parts)
    return path + hash_sign + place


def _fence(code: str, language: str) -> str:
    ticks = "```"
    while ticks in code:
        ticks += "`"
    return f"{ticks}{language}\n{code.rstrip()}\n{ticks}"


if __name__ == "__main__":
    main()
