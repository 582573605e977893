"""Reads the sentences of EmojiScenes back into meanings, for the auditor.

Nothing here is taken from `phrasings.py`: words and patterns are written down a second time, so that a slip in the one
is a disagreement with the other. A sentence that no pattern fits has no reading.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minigpt4v.datasets.emoji import Noun

IT = -1
"""The noun index of "it"."""

# slot -> the words that may fill it -> what they mean
ENGLISH: dict[str, dict[str, str]] = {
    "place": {
        "at the top left": "top left",
        "at the top right": "top right",
        "at the bottom left": "bottom left",
        "at the bottom right": "bottom right",
        "in the middle": "middle",
    },
    "direction": {"to the left of": "left", "to the right of": "right", "above": "above", "below": "below"},
    "size": {"biggest": "biggest", "smallest": "smallest"},
    "number": {"there is one thing": "1", "there are two things": "2", "there are three things": "3"}
    | {"there are four things": "4"},
    "category": {
        "animals": "animal",
        "foods": "food",
        "vehicles": "vehicle",
        "everyday objects": "object",
        "natural things": "nature",
    },
}
CHINESE: dict[str, dict[str, str]] = {
    "place": {"左上角": "top left", "右上角": "top right", "左下角": "bottom left", "右下角": "bottom right", "中间": "middle"},
    "direction": {"左边": "left", "右边": "right", "上面": "above", "下面": "below"},
    "size": {"最大": "biggest", "最小": "smallest"},
    "number": {"图里有一个东西": "1", "图里有两个东西": "2", "图里有三个东西": "3", "图里有四个东西": "4"},
    # with the measure word that counts them
    "category": {
        "只动物": "animal",
        "种食物": "food",
        "种交通工具": "vehicle",
        "件日用品": "object",
        "种自然景物": "nature",
    },
}
LEXICON = {"en": ENGLISH, "zh": CHINESE}

# <slot> stands for a word of that slot; <a> is a name with its article, <one> a name behind 一 and its measure word;
# <name> may be "it" or 它; <claim> is read on its own. English sentences are matched with a small first letter.
_ENGLISH_QUESTIONS = {
    "what": (r"(?:what is|what do you see|which thing is) <place>\?", r"name the thing <place>\."),
    "what_alone": (r"(?:what is this|what do you see|which thing is this)\?", r"name this thing\."),
    "where": (r"(?:and )?where (?:is|do you see|can I find) <name>\?", r"tell me where <name> is\."),
    "is_there": (r"(?:is there|do you see|can you see) <a>(?: in the picture)?\?",),
    "how_many": (r"how many things (?:are there|do you see|are in the picture)\?", r"count the things\."),
    "how_many_category": (
        r"how many <category> (?:are there|do you see|are in the picture)\?",
        r"count the <category>\.",
    ),
    "category": (
        r"what (?:kind|sort) of thing (?:is|do you see) <place>\?",
        r"which group does the thing <place> belong to\?",
        r"(?:and )?what (?:kind|sort) of thing is <name>\?",
    ),
    "colour": (
        r"(?:and )?(?:what|which) colour is (?:the thing <place>|<ground>|<name>)\?",
        r"what is the colour of (?:the thing <place>|<ground>|<name>)\?",
        r"tell me the colour of (?:the thing <place>|<ground>|<name>)\.",
        r"what is <its> colour\?",
    ),
    "relation": (
        r"(?:and )?(?:what is|what do you see|which thing is) <direction> <name>\?",
        r"name the thing <direction> <name>\.",
    ),
    "size": (r"(?:what|which) is the <size> thing\?", r"which thing is the <size>\?", r"name the <size> thing\."),
    "same_category": (
        r"are the things <place> and <place2> (?:of the same kind|the same sort of thing)\?",
        r"do the things <place> and <place2> belong to the same group\?",
        r"is the thing <place> of the same kind as the thing <place2>\?",
    ),
    "true_or_false": (
        r"true or false: <claim>\.",
        r"true or false\? <Claim>\.",
        r"<claim>\. (?:True or false|Is that true or false)\?",
    ),
    "caption": (r"(?:what is in the picture|what does the picture show)\?", r"(?:describe the picture|write a caption)\."),
}
_CHINESE_QUESTIONS = {
    "what": (r"<place>(?:的东西)?是什么？", r"<place>有什么？", r"你在<place>看到了什么？"),
    "what_alone": (r"(?:这是|你看到了|图里是)什么？", r"请说出这个东西。"),
    "where": (r"(?:请问|那)?<name>在(?:哪里|哪儿|什么地方)？",),
    "is_there": (r"(?:图里)?有<bare>吗？", r"你看到<bare>了吗？", r"图里有没有<bare>？"),
    "how_many": (r"(?:(?:图里|一共)?有|你看到了)几个东西？",),
    "how_many_category": (r"(?:(?:图里|一共)?有|你看到了)几<category>？",),
    "category": (
        r"<place>(?:是|有)哪一类东西？",
        r"<place>的东西(?:是|属于)哪一类？",
        r"那?<name>(?:是哪一类东西|属于哪一类)？",
    ),
    "colour": (
        r"那?(?:<place>的东西|<ground>|<name>)是(?:什么|哪种)颜色？",
        r"(?:<place>的东西|<ground>|<name>)的颜色是什么？",
        r"请说出(?:<place>的东西|<ground>|<name>)的颜色。",
    ),
    "relation": (
        r"那?<name>的<direction>[是有]什么？",
        r"你在<name>的<direction>看到了什么？",
        r"<name><direction>的东西是什么？",
    ),
    "size": (r"<size>的(?:东西)?是什么？", r"(?:哪个|什么)东西<size>？"),
    "same_category": (r"<place>(?:的东西)?和<place2>的东西(?:是|属于)同一类吗？",),
    "true_or_false": (r"(?:判断对错|对还是错)：<claim>。", r"<claim>，(?:这句话)?对还是错？"),
    "caption": (r"描述这张图。", r"(?:图里有|这张图画了)什么？", r"请给这张图写一句说明。"),
}
_ENGLISH_CLAIMS = {"place": ("<name> <place>",), "presence": ("there is <a>",), "count": ("<number>",)}
_ENGLISH_CLAIMS = {
    "claim_place": (r"<name> is <place>",),
    "claim_presence": (r"there is <a>",),
    "claim_count": (r"<number>",),
    "claim_relation": (r"<name> is <direction> <name2>",),
}
_CHINESE_CLAIMS = {
    "claim_place": (r"<name>在<place>",),
    "claim_presence": (r"图里有<one>",),
    "claim_count": (r"<number>",),
    "claim_relation": (r"<name>在<name2>的<direction>",),
}


@dataclass(frozen=True)
class Reading:
    """What a sentence asks or claims. `parts`: slot -> a noun's index (`IT` for "it"), or a word of the lexicon.

    `faults` are slips of grammar that leave the meaning clear.
    """

    kind: str
    parts: dict[str, int | str]
    claim: Reading | None = None
    faults: tuple[str, ...] = ()


class Reader:
    """Reads questions and claims that name any of `nouns`, in one language."""

    def __init__(self, nouns: Sequence[Noun], language: str):
        self.nouns, self.language = nouns, language
        self.names = {getattr(noun, language): i for i, noun in enumerate(nouns)}
        english = language == "en"
        self._questions = self._compile(_ENGLISH_QUESTIONS if english else _CHINESE_QUESTIONS)
        self._claims = self._compile(_ENGLISH_CLAIMS if english else _CHINESE_CLAIMS)

    def question(self, text: str) -> list[Reading]:
        """Every reading of a question: none if it is unknown, several if it is ambiguous."""
        return list(self._read(text, self._questions))

    def _compile(self, patterns: dict[str, tuple[str, ...]]) -> list[tuple[str, re.Pattern[str]]]:
        return [(kind, re.compile(self._fill(form))) for kind, forms in patterns.items() for form in forms]

    def _fill(self, form: str) -> str:
        """A pattern with every <slot> as a named group."""
        english = self.language == "en"
        names = r"(?:the (?P<\1>.+?)|(?P<it>it))" if english else r"(?:(?P<\1>.+?))"
        form = re.sub(r"<(name2?)>", lambda m: names.replace(r"\1", m[1]).replace("<it>", f"<it_{m[1]}>"), form)
        form = form.replace("<a>", r"(?P<article>an?) (?P<bare>.+?)").replace("<bare>", r"(?P<bare>.+?)")
        return form

    def _read(self, text: str, patterns: list[tuple[str, re.Pattern[str]]]) -> Iterator[Reading]:
        raise NotImplementedError
