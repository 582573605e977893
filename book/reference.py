"""From chapters to the reference pages of what they import from the library, and back."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LIBRARY = "minigpt4v"
_ROOT = Path(__file__).resolve().parent.parent
_NOT_DOCUMENTED = ("commands", "exercises", "cli", "__main__")  # the command line documents itself with --help
_CHAPTER = re.compile(r"\d\d_\w+\.html")
_LINK = re.compile(r'href="reference/([\w./]+\.html)')
_TITLE = re.compile(r"<h1[^>]*><a[^>]*>(.*?)</a></h1>")
_HEADING_ENDS = "</h1>"


def documented_modules(package: Path) -> list[str]:
    """The dotted names of all modules that get a reference page."""
    names = [
        ".".join((LIBRARY, *path.relative_to(package).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted(package.rglob("*.py"))
    ]
    return [name for name in names if not set(name.split(".")) & set(_NOT_DOCUMENTED)]


def reference_list(notebook: dict[str, Any]) -> str:
    """A section of Markdown that links what a notebook imports from the library; empty if that is nothing."""
    found: dict[str, list[str]] = {}
    for module, name in imported(notebook):
        if not set(module.split(".")) & set(_NOT_DOCUMENTED) and name not in found.setdefault(module, []):
            found[module].append(name)
    if not found:
        return ""
    lines = [
        f"- [{module}]({page_of(module)}): {', '.join(_link(module, name) for name in names)}"
        for module, names in found.items()
    ]
    return "\n".join(["## In the reference", "", "What this chapter takes from the library:", "", *lines])


def imported(notebook: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(module, name) for each `from minigpt4v.module import name`, in reading order."""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        for node in ast.walk(ast.parse(_without_magics("".join(cell["source"])))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{LIBRARY}."):
                yield from ((str(node.module), alias.name) for alias in node.names)


def page_of(module: str) -> str:
    """The address of a module's reference page, seen from the chapters."""
    return f"reference/{module.replace('.', '/')}.html"


def link_back(book: Path) -> None:
    """Name, under the title of each reference page, the chapters that link to it."""
    chapters: dict[str, list[str]] = {}
    for path in sorted(book.glob("*.html")):
        text = path.read_text(encoding="utf-8")
        title = _TITLE.search(text)
        if not _CHAPTER.fullmatch(path.name) or not title:
            continue
        for target in dict.fromkeys(_LINK.findall(text)):
            up = "../" * (target.count("/") + 1)
            chapters.setdefault(target, []).append(f'<a href="{up}{path.name}">{title[1]}</a>')
    for target, links in chapters.items():
        page = book / "reference" / target
        before, end, after = page.read_text(encoding="utf-8").partition(_HEADING_ENDS)
        page.write_text(f"{before}{end}\n<p>In the course: {', '.join(links)}</p>{after}", encoding="utf-8")


def _link(module: str, name: str) -> str:
    is_module = (_ROOT / module.replace(".", "/") / f"{name}.py").is_file()
    return f"[`{name}`]({page_of(f'{module}.{name}') if is_module else f'{page_of(module)}#{name}'})"


def _without_magics(code: str) -> str:
    return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in code.split("\n"))
