"""Every sentence of EmojiScenes, in English and Chinese: words, question phrasings and answer forms.

A phrasing is a `str.format` template. Its slots are filled by `questions.py` with phrases made here:

    {name}   cat        猫          {a}    a cat        {the}  the cat
    {place}  top left   左上角      {at}   at the top left / in the middle
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from minigpt4v.datasets.emoji import Noun
from minigpt4v.datasets.scenes import PLACES

LANGUAGES = ("en", "zh")

PLACE_ZH = {
    "top left": "左上角",
    "top right": "右上角",
    "bottom left": "左下角",
    "bottom right": "右下角",
    "middle": "中间",
}
COLOUR_ZH = {
    "red": "红色",
    "orange": "橙色",
    "yellow": "黄色",
    "green": "绿色",
    "blue": "蓝色",
    "purple": "紫色",
    "pink": "粉色",
    "brown": "棕色",
    "black": "黑色",
    "grey": "灰色",
    "white": "白色",
}
DIRECTION_EN = {"left": "to the left of", "right": "to the right of", "above": "above", "below": "below"}
DIRECTION_ZH = {"left": "左边", "right": "右边", "above": "上面", "below": "下面"}
# category -> (one, many) in English; (word, measure word) in Chinese
CATEGORY_EN = {
    "animal": ("an animal", "animals"),
    "food": ("food", "foods"),
    "vehicle": ("a vehicle", "vehicles"),
    "object": ("an everyday object", "everyday objects"),
    "nature": ("a natural thing", "natural things"),
}
CATEGORY_ZH = {
    "animal": ("动物", "只"),
    "food": ("食物", "种"),
    "vehicle": ("交通工具", "种"),
    "object": ("日用品", "件"),
    "nature": ("自然景物", "种"),
}
NUMBER_EN = ("none", "one", "two", "three", "four")
NUMBER_ZH = ("零", "一", "两", "三", "四")


def a(noun: Noun) -> str:
    """The noun with its indefinite article: "an apple"."""
    return f"{noun.article} {noun.en}"


def at(place: str) -> str:
    """The place with its preposition: "at the top left", "in the middle"."""
    return f"in the {place}" if place == "middle" else f"at the {place}"


def one_zh(noun: Noun) -> str:
    """One of them, with the measure word: 一只猫."""
    return f"一{noun.measure}{noun.zh}"


def sentence(text: str, language: str) -> str:
    """A capital at the front and a full stop at the end, as the language has them."""
    return text[0].upper() + text[1:] + "." if language == "en" else text + "。"


# family -> language -> phrasings. The auditor reads these sentences back with patterns of its own.
QUESTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "what": {
        "en": ("What is {at}?", "What do you see {at}?", "Which thing is {at}?", "Name the thing {at}."),
        "zh": ("{place}是什么？", "{place}有什么？", "你在{place}看到了什么？", "{place}的东西是什么？"),
    },
    "what_single": {
        "en": ("What is this?", "What do you see?", "Which thing is this?", "Name this thing."),
        "zh": ("这是什么？", "你看到了什么？", "图里是什么？", "请说出这个东西。"),
    },
    "where": {
        "en": ("Where is {the}?", "Where do you see {the}?", "Where can I find {the}?", "Tell me where {the} is."),
        "zh": ("{name}在哪里？", "{name}在什么地方？", "{name}在哪儿？", "请问{name}在哪里？"),
    },
    "is_there": {
        "en": ("Is there {a}?", "Do you see {a}?", "Can you see {a}?", "Is there {a} in the picture?"),
        "zh": ("有{name}吗？", "图里有{name}吗？", "你看到{name}了吗？", "图里有没有{name}？"),
    },
    "how_many": {
        "en": (
            "How many things are there?",
            "How many things do you see?",
            "How many things are in the picture?",
            "Count the things.",
        ),
        "zh": ("有几个东西？", "图里有几个东西？", "一共有几个东西？", "你看到了几个东西？"),
    },
    "how_many_category": {
        "en": (
            "How many {many} are there?",
            "How many {many} do you see?",
            "How many {many} are in the picture?",
            "Count the {many}.",
        ),
        "zh": (
            "有几{measure}{category}？",
            "图里有几{measure}{category}？",
            "一共有几{measure}{category}？",
            "你看到了几{measure}{category}？",
        ),
    },
    "category": {
        "en": (
            "What kind of thing is {at}?",
            "What sort of thing is {at}?",
            "What kind of thing do you see {at}?",
            "Which group does the thing {at} belong to?",
        ),
        "zh": (
            "{place}是哪一类东西？",
            "{place}的东西是哪一类？",
            "{place}的东西属于哪一类？",
            "{place}有哪一类东西？",
        ),
    },
    "colour": {
        "en": (
            "What colour is {subject}?",
            "Which colour is {subject}?",
            "What is the colour of {subject}?",
            "Tell me the colour of {subject}.",
        ),
        "zh": ("{subject}是什么颜色？", "{subject}是哪种颜色？", "{subject}的颜色是什么？", "请说出{subject}的颜色。"),
    },
    "relation": {
        "en": (
            "What is {direction} {the}?",
            "What do you see {direction} {the}?",
            "Which thing is {direction} {the}?",
            "Name the thing {direction} {the}.",
        ),
        "zh": (
            "{name}的{direction}是什么？",
            "{name}的{direction}有什么？",
            "你在{name}的{direction}看到了什么？",
            "{name}{direction}的东西是什么？",
        ),
    },
    "size": {
        "en": (
            "What is the {size} thing?",
            "Which thing is the {size}?",
            "Which is the {size} thing?",
            "Name the {size} thing.",
        ),
        "zh": ("{size}的东西是什么？", "{size}的是什么？", "哪个东西{size}？", "什么东西{size}？"),
    },
    "same_category": {
        "en": (
            "Are the things {at} and {at2} of the same kind?",
            "Do the things {at} and {at2} belong to the same group?",
            "Is the thing {at} of the same kind as the thing {at2}?",
            "Are the things {at} and {at2} the same sort of thing?",
        ),
        "zh": (
            "{place}和{place2}的东西是同一类吗？",
            "{place}的东西和{place2}的东西是同一类吗？",
            "{place}和{place2}的东西属于同一类吗？",
            "{place}的东西和{place2}的东西属于同一类吗？",
        ),
    },
    "true_or_false": {
        "en": (
            "True or false: {claim}.",
            "True or false? {Claim}.",
            "{Claim}. True or false?",
            "{Claim}. Is that true or false?",
        ),
        "zh": ("判断对错：{claim}。", "对还是错：{claim}。", "{claim}，对还是错？", "{claim}，这句话对还是错？"),
    },
    "caption": {
        "en": ("Describe the picture.", "What is in the picture?", "What does the picture show?", "Write a caption."),
        "zh": ("描述这张图。", "图里有什么？", "这张图画了什么？", "请给这张图写一句说明。"),
    },
}

# second turns of a dialogue: "it" is what the first turn was about
FOLLOW_UPS: dict[str, dict[str, tuple[str, ...]]] = {
    "where": {
        "en": ("And where is it?", "Where is it?", "And where do you see it?", "And where can I find it?"),
        "zh": ("它在哪里？", "那它在哪里？", "它在什么地方？", "那它在哪儿？"),
    },
    "colour": {
        "en": ("And what colour is it?", "What colour is it?", "And which colour is it?", "What is its colour?"),
        "zh": ("它是什么颜色？", "那它是什么颜色？", "它的颜色是什么？", "那它是哪种颜色？"),
    },
    "relation": {
        "en": (
            "And what is {direction} it?",
            "What is {direction} it?",
            "And what do you see {direction} it?",
            "And which thing is {direction} it?",
        ),
        "zh": (
            "它的{direction}是什么？",
            "那它的{direction}是什么？",
            "它的{direction}有什么？",
            "那它的{direction}有什么？",
        ),
    },
}

FAMILIES = (
    "what",
    "where",
    "is_there",
    "how_many",
    "how_many_category",
    "category",
    "colour",
    "relation",
    "size",
    "same_category",
    "true_or_false",
    "caption",
    "dialogue",
)

_SLOT = re.compile(r"\{\w+\}")

# Chinese is written without spaces; these words (and the names) are what the tokenizer learns as wholes.
_WORDS_ZH = re.findall(
    r"\w+",
    """
    什么 东西 哪里 哪儿 地方 哪个 哪种 哪一类 同一类 属于 颜色 背景 最大 最小 看到 图里 有没有 没有 一共
    请问 请说出 请给 描述 这张图 画了 这是 这个 一句 说明 判断 对错 还是 这句话 都 不是 左边 右边 上面 下面
    """,
)


def vocabulary_texts(nouns: Sequence[Noun]) -> list[str]:
    """Everything the tokenizer should learn to write in few tokens: the words of all phrasings, and every name.

    Each entry is a text of its own, so that no token joins a Chinese name with the words beside it.
    """
    words_zh = [*_WORDS_ZH, *PLACE_ZH.values(), *COLOUR_ZH.values()]
    words_zh += [f"一{noun.measure}" for noun in nouns]
    words_zh += [f"{number}{measure}" for number in NUMBER_ZH[1:] for _, measure in (*CATEGORY_ZH.values(), ("", "个"))]
    words_zh += [word for word, _ in CATEGORY_ZH.values()]
    texts = [f" {word}" for word in (*COLOUR_ZH, *NUMBER_EN, "biggest", "smallest", "nothing", "yes", "no")]
    texts += [sentence(word, "en") for word in (*COLOUR_ZH, *NUMBER_EN, "nothing", "yes", "no", "true", "false")]
    texts += [at(place) for place in PLACES] + [sentence(at(place), "en") for place in PLACES]
    texts += [f" {phrase}" for phrase in DIRECTION_EN.values()] + ["A", "An", "The", " a", " an", " and", " the"]
    texts += [f" {phrase}" for forms in CATEGORY_EN.values() for phrase in forms]
    texts += [sentence(one, "en") for one, _ in CATEGORY_EN.values()]
    split_zh = re.compile("|".join(sorted(words_zh, key=len, reverse=True)) + "|.")
    for phrases in (*QUESTIONS.values(), *FOLLOW_UPS.values()):
        texts += [part for template in phrases["en"] for part in _SLOT.split(template)]
        texts += [
            word for template in phrases["zh"] for part in _SLOT.split(template) for word in split_zh.findall(part)
        ]
    return texts + words_zh + [f" {noun.en}" for noun in nouns] + [noun.zh for noun in nouns]
