"""Reads the questions of EmojiScenes back into meanings, for the auditor.

Nothing here is taken from `phrasings.py`: words and patterns are written down a second time, so that a slip in the one
is a disagreement with the other. A sentence that no pattern fits has no reading.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minigpt4v.datasets.emoji import Noun

IT = -1
"""The index of "it", where a noun's index is meant."""

# slot -> what may stand there -> what it means
_ENGLISH_WORDS: dict[str, dict[str, Any]] = {
    "place": {
        "at the top left": "top left",
        "at the top right": "top right",
        "at the bottom left": "bottom left",
        "at the bottom right": "bottom right",
        "in the middle": "middle",
    },
    "direction": {"to the left of": "left", "to the right of": "right", "above": "above", "below": "below"},
    "size": {"biggest": "biggest", "smallest": "smallest"},
    "number": {"is one thing": 1, "are two things": 2, "are three things": 3, "are four things": 4},
    "category": {
        "animals": "animal",
        "foods": "food",
        "vehicles": "vehicle",
        "everyday objects": "object",
        "natural things": "nature",
    },
    "ground": {"the ground": None},
    "its": {"its": IT},
}
_CHINESE_WORDS: dict[str, dict[str, Any]] = {
    "place": {
        "左上角": "top left",
        "右上角": "top right",
        "左下角": "bottom left",
        "右下角": "bottom right",
        "中间": "middle",
    },
    "direction": {"左边": "left", "右边": "right", "上面": "above", "下面": "below"},
    "size": {"最大": "biggest", "最小": "smallest"},
    "number": {"一个东西": 1, "两个东西": 2, "三个东西": 3, "四个东西": 4},
    # behind the measure word that counts them
    "category": {
        "只动物": "animal",
        "种食物": "food",
        "种交通工具": "vehicle",
        "件日用品": "object",
        "种自然景物": "nature",
    },
    "ground": {"背景": None},
}

# <name> is a name with "the", or "it"; <one> a name with its article or with 一 and its measure word; <bare> a name
# alone; <claim> is read by patterns of its own. The first letter of an English sentence is made small before.
_ENGLISH_QUESTIONS = {
    "what": (r"(what is|what do you see|which thing is) <place>\?", r"name the thing <place>\."),
    "what_single": (r"(what is this|what do you see|which thing is this)\?", r"name this thing\."),
    "where": (r"(and )?where (is|do you see|can I find) <name>\?", r"tell me where <name> is\."),
    "is_there": (r"is there <one>( in the picture)?\?", r"(do|can) you see <one>\?"),
    "how_many": (r"how many things (are there|do you see|are in the picture)\?", r"count the things\."),
    "how_many_category": (
        r"how many <category> (are there|do you see|are in the picture)\?",
        r"count the <category>\.",
    ),
    "category": (
        r"what (kind|sort) of thing is <place>\?",
        r"what kind of thing do you see <place>\?",
        r"which group does the thing <place> belong to\?",
    ),
    "colour": (
        r"(and )?(what|which) colour is (the thing <place>|<ground>|<name>)\?",
        r"what is the colour of (the thing <place>|<ground>|<name>)\?",
        r"tell me the colour of (the thing <place>|<ground>|<name>)\.",
        r"what is <its> colour\?",
    ),
    "relation": (
        r"(and )?(what is|what do you see|which thing is) <direction> <name>\?",
        r"name the thing <direction> <name>\.",
    ),
    "size": (r"(what|which) is the <size> thing\?", r"which thing is the <size>\?", r"name the <size> thing\."),
    "same_category": (
        r"are the things <place> and <place2> (of the same kind|the same sort of thing)\?",
        r"do the things <place> and <place2> belong to the same group\?",
        r"is the thing <place> of the same kind as the thing <place2>\?",
    ),
    "true_or_false": (
        r"true or false: <claim>\.",
        r"true or false\? <capital_claim>\.",
        r"<claim>\. (True or false|Is that true or false)\?",
    ),
    "caption": (r"what (is in the picture|does the picture show)\?", r"(describe the picture|write a caption)\."),
}
_CHINESE_QUESTIONS = {
    "what": (r"<place>(的东西)?是什么？", r"<place>有什么？", r"你在<place>看到了什么？"),
    "what_single": (r"(这是|你看到了|图里是)什么？", r"请说出这个东西。"),
    "where": (r"(请问|那)?<name>在(哪里|哪儿|什么地方)？",),
    "is_there": (r"(图里)?有<bare>吗？", r"你看到<bare>了吗？", r"图里有没有<bare>？"),
    "how_many": (r"(有|图里有|一共有|你看到了)几个东西？",),
    "how_many_category": (r"(有|图里有|一共有|你看到了)几<category>？",),
    "category": (r"<place>[是有]哪一类东西？", r"<place>的东西(是|属于)哪一类？"),
    "colour": (
        r"那?(<place>的东西|<ground>|<name>)是(什么|哪种)颜色？",
        r"(<place>的东西|<ground>|<name>)的颜色是什么？",
        r"请说出(<place>的东西|<ground>|<name>)的颜色。",
    ),
    "relation": (
        r"那?<name>的<direction>[是有]什么？",
        r"你在<name>的<direction>看到了什么？",
        r"<name><direction>的东西是什么？",
    ),
    "size": (r"<size>的(东西)?是什么？", r"(哪个|什么)东西<size>？"),
    "same_category": (r"<place>(的东西)?和<place2>的东西(是|属于)同一类吗？",),
    "true_or_false": (r"(判断对错|对还是错)：<claim>。", r"<claim>，(这句话)?对还是错？"),
    "caption": (r"描述这张图。", r"(图里有|这张图画了)什么？", r"请给这张图写一句说明。"),
}
_ENGLISH_CLAIMS = {
    "place": ("<name> is <place>",),
    "presence": ("there is <one>",),
    "count": ("there <number>",),
    "relation": ("<name> is <direction> <name2>",),
}
_CHINESE_CLAIMS = {
    "place": ("<name>在<place>",),
    "presence": ("图里有<one>",),
    "count": ("图里有<number>",),
    "relation": ("<name>在<name2>的<direction>",),
}


@dataclass(frozen=True)
class Reading:
    """What a question asks, or a claim says.

    `parts` maps each slot of its pattern to what stands there: a noun's index (or `IT`), a place, a direction, a
    number, a category, "biggest" or "smallest", or another reading.
    """

    kind: str
    parts: dict[str, Any]


def article(name: str) -> str:
    """The indefinite article before an English name, by its first sound."""
    return "an" if re.match(r"(?!uni|eu|one)[aeiou]|hour|honest", name) else "a"


class Reader:
    """Reads questions in one language that name any of `nouns`."""

    def __init__(self, nouns: Sequence[Noun], language: str):
        self.english = language == "en"
        self.words = _ENGLISH_WORDS if self.english else _CHINESE_WORDS
        names = [noun.en if self.english else noun.zh for noun in nouns]
        self.bare = {name: i for i, name in enumerate(names)}
        if self.english:
            self.named = {f"the {name}": i for i, name in enumerate(names)} | {"it": IT}
            self.one = {f"{article(name)} {name}": i for i, name in enumerate(names)}
        else:
            self.named = self.bare | {"它": IT}
            self.one = {f"一{noun.measure}{noun.zh}": i for i, noun in enumerate(nouns)}
        self._questions = self._compile(_ENGLISH_QUESTIONS if self.english else _CHINESE_QUESTIONS)
        self._claims = self._compile(_ENGLISH_CLAIMS if self.english else _CHINESE_CLAIMS)

    def question(self, text: str) -> list[Reading]:
        """Every reading of a question: none where it is unknown or ill-formed, several where it is ambiguous."""
        if self.english:
            text = _small_first_letter(text)
        return self._read(text, self._questions)

    def _compile(self, patterns: Mapping[str, Sequence[str]]) -> list[tuple[str, re.Pattern[str]]]:
        return [
            (kind, re.compile(re.sub("<([a-z_]+2?)>", self._slot, pattern)))
            for kind, alternatives in patterns.items()
            for pattern in alternatives
        ]

    def _slot(self, slot: re.Match[str]) -> str:
        """The named group that stands for a <slot>: one of its words, or anything at all that is looked at later."""
        words = self.words.get(slot[1].rstrip("2"))
        return f"(?P<{slot[1]}>{'|'.join(words) if words else '.+?'})"

    def _read(self, text: str, patterns: list[tuple[str, re.Pattern[str]]]) -> list[Reading]:
        readings: list[Reading] = []
        for kind, pattern in patterns:
            match = pattern.fullmatch(text)
            if match:
                readings += self._readings(kind, {slot: word for slot, word in match.groupdict().items() if word})
        return readings

    def _readings(self, kind: str, found: dict[str, str]) -> list[Reading]:
        """The reading of a pattern's slots, or none where a slot holds what cannot stand there."""
        parts: dict[str, Any] = {}
        for slot, words in found.items():
            meanings = self._meanings(slot.rstrip("2"), words)
            if len(meanings) != 1:
                return []
            parts["name" if slot in ("one", "bare", "its") else slot.removeprefix("capital_")] = meanings[0]
        return [Reading(kind, parts)]

    def _meanings(self, slot: str, words: str) -> list[Any]:
        if slot == "capital_claim":
            return self._read(_small_first_letter(words), self._claims)
        if slot == "claim":
            return self._read(words, self._claims)
        lexicon = {"name": self.named, "one": self.one, "bare": self.bare}.get(slot) or self.words[slot]
        return [lexicon[words]] if words in lexicon else []


def _small_first_letter(text: str) -> str:
    """A sentence with a small first letter; one that has a small first letter already becomes unreadable."""
    return text[:1].lower() + text[1:] if text[:1].isupper() else "?" + text
