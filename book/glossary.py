"""The glossary: its page, and the link that each term gets where it first comes up in a chapter.

The terms stand in `glossary.toml`. Standard library only, like the preprocessor that uses this.
"""

from __future__ import annotations

import html
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).with_name("glossary.toml")
PAGE = "glossary.html"
# what no link may be put into: headings, links, HTML with the text of formulas, table rules
_KEPT = r"^#.*$|!?\[[^\]]*\]\([^)]*\)|<a\b.*?</a>|<span class=\"math.*?</span>|<summary>.*?</summary>|<[^>]+>"


@dataclass(frozen=True)
class Term:
    """One entry; `say`: the other ways in which a text says it; `chapter`: the notebook that builds it."""

    en: str
    zh: str
    means: str
    chapter: str
    say: tuple[str, ...] = ()

    @property
    def anchor(self) -> str:
        """Its place on the glossary's page."""
        return re.sub(r"[^a-z]+", "-", self.en.lower())


def load_terms() -> list[Term]:
    """All terms in the order of the alphabet."""
    entries = tomllib.loads(FILE.read_text(encoding="utf-8"))["term"]
    terms = [Term(**entry | {"say": tuple(entry.get("say", ()))}) for entry in entries]
    return sorted(terms, key=lambda term: term.en.lower())


def glossary_list(terms: list[Term]) -> str:
    """All terms as an HTML list of definitions, which a phone can show too."""
    entries = "".join(
        f'<dt id="{term.anchor}">{html.escape(term.en)} <span lang="zh">{html.escape(term.zh)}</span></dt>'
        f'<dd>{html.escape(term.means)} <a href="{term.chapter}.html">Chapter {term.chapter[:2]}</a></dd>'
        for term in terms
    )
    return f'<dl class="glossary">{entries}</dl>'


class FirstUses:
    """Links the terms of one page, each where it comes up first."""

    def __init__(self, terms: list[Term]):
        self._waiting = {said.lower(): term for term in terms for said in (term.en, *term.say)}

    def link(self, text: str) -> str:
        """The text, Markdown without code, with a link for each term that has not been met before."""
        if not self._waiting:
            return text
        longest_first = sorted(self._waiting, key=len, reverse=True)
        words = "|".join(map(re.escape, longest_first))
        pattern = re.compile(rf"(?P<kept>{_KEPT})|(?<![\w-])(?P<said>{words})(?![\w-])", re.MULTILINE | re.IGNORECASE)
        return pattern.sub(self._linked, text)

    def _linked(self, found: re.Match[str]) -> str:
        said = found["said"]
        if said is None or said.lower() not in self._waiting:
            return found[0]
        term = self._waiting[said.lower()]
        self._waiting = {word: other for word, other in self._waiting.items() if other is not term}
        meaning = html.escape(f"{term.zh}: {term.means}", quote=True)
        return f'<a class="term" href="{PAGE}#{term.anchor}" title="{meaning}">{said}</a>'
