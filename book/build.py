"""Build the web book: mdBook's pages of the notebooks and docs, and beside them all that they link to (`make book`)."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pdoc

from book.live_model import SCRIPTS, add_live_model
from book.reference import LIBRARY, documented_modules, link_back

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = "notebooks"
_PREPROCESSOR = "book.notebook_preprocessor"
_SOURCE_LINK = re.compile(r'href="source/([^"#]+)')


def main() -> None:
    """Build into build/book."""
    folder = ROOT / "build" / "book"
    build(folder)
    add_live_model(folder)


def build(folder: Path) -> None:
    """All pages of the book into a folder. Whatever the folder holds is lost: mdBook empties it first."""
    mdbook = Path(sys.executable).with_name("mdbook")
    # book.toml says python3, which may be an older one than this
    preprocessor = {"MDBOOK_PREPROCESSOR__NOTEBOOK__COMMAND": shlex.join([sys.executable, "-m", _PREPROCESSOR])}
    command = [mdbook, "build", ROOT, "--dest-dir", folder.resolve()]
    subprocess.run(command, check=True, cwd=ROOT, env=os.environ | preprocessor)
    copy_fonts(folder)
    copy_notebooks(folder)
    copy_sources(folder)
    document_library(folder)
    shutil.copytree(SCRIPTS, folder / "live")


def copy_fonts(folder: Path) -> None:
    """The fonts that KaTeX's style sheet asks for, beside it."""
    for style_sheet in (folder / "book").rglob("katex*.css"):
        shutil.copytree(ROOT / "book/vendor/katex/fonts", style_sheet.parent / "fonts", dirs_exist_ok=True)


def copy_notebooks(folder: Path) -> None:
    """The notebooks themselves, for the download link of each chapter."""
    (folder / NOTEBOOKS).mkdir(exist_ok=True)
    for notebook in sorted((ROOT / NOTEBOOKS).glob("*.ipynb")):
        shutil.copy(notebook, folder / NOTEBOOKS)


def copy_sources(folder: Path) -> None:
    """The files of the repository that some page links to, under source/.

    Raises FileNotFoundError, with the page, where there is no such file.
    """
    for page in sorted(folder.glob("*.html")):
        for name in _SOURCE_LINK.findall(page.read_text(encoding="utf-8")):
            origin, copy = ROOT / name, folder / "source" / name
            if not origin.exists():
                raise FileNotFoundError(f"{page.name} links to {name}, which is not in the repository")
            copy.parent.mkdir(parents=True, exist_ok=True)
            if origin.is_dir():
                shutil.copytree(origin, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(origin, copy)


def document_library(folder: Path) -> None:
    """Reference pages from the docstrings, under reference/, with links to the chapters."""
    pdoc.render.configure(docformat="google", show_source=False, template_directory=ROOT / "book" / "reference_theme")
    with warnings.catch_warnings():  # that a package's modules are named twice, by it and by us
        warnings.simplefilter("ignore")
        pdoc.pdoc(*documented_modules(ROOT / LIBRARY), output_directory=folder / "reference")
    link_back(folder)


if __name__ == "__main__":
    main()
