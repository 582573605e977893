"""A second opinion on every question and answer: reads the words, looks at the scene, and judges.

It takes nothing from `questions.py` or `phrasings.py`: questions are read back by `reading.py`, scenes are measured by
`looking.py`, and the one right answer is written here in words of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from minigpt4v.datasets.conversation import Turn
from minigpt4v.datasets.emoji import Noun
from minigpt4v.datasets.looking import (
    FOCAL_COLOURS,
    REGIONS,
    audit_scene,
    beside,
    box,
    fits,
    gap,
    overlap,
    places,
    seen_side,
)
from minigpt4v.datasets.reading import IT, Reader, Reading, article
from minigpt4v.datasets.scenes import Scene, SceneObject, World

_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_CLEARLY_BIGGER = 1.1  # times the longer side that is seen

_PLACES_ZH = dict(zip(REGIONS, ("左上角", "右上角", "左下角", "右下角", "中间"), strict=True))
_COLOURS_ZH = dict(zip(FOCAL_COLOURS, "红橙黄绿蓝紫粉棕黑灰白", strict=True))
_KINDS_EN = {
    "animal": "an animal",
    "food": "food",
    "vehicle": "a vehicle",
    "object": "an everyday object",
    "nature": "a natural thing",
}
# with the measure word that counts them
_KINDS_ZH = {
    "animal": ("动物", "只"),
    "food": ("食物", "种"),
    "vehicle": ("交通工具", "种"),
    "object": ("日用品", "件"),
    "nature": ("自然景物", "种"),
}


class Doubt(ValueError):
    """A question that has no single right answer; the message says why."""


def audit(world: World, scene: Scene, conversation: Sequence[Turn]) -> list[str]:
    """Every fault of a scene and of a conversation about it, each as a sentence; an empty list if all is right.

    An answer is right only letter by letter: article, measure word, capital and full stop count.
    """
    if not conversation:
        return [*audit_scene(world, scene), "the conversation is empty"]
    auditor = _Auditor(world, scene)
    faults = [fault for number, turn in enumerate(conversation) for fault in auditor.faults(turn, number)]
    return audit_scene(world, scene) + faults


@lru_cache
def _reader(nouns: tuple[Noun, ...], language: str) -> Reader:
    return Reader(nouns, language)


class _Auditor:
    """Answers questions about one scene; the method of each kind gives the right answer, or raises Doubt."""

    def __init__(self, world: World, scene: Scene):
        self.world, self.scene, self.things = world, scene, scene.objects
        self.focus: SceneObject | None = None  # what "it" means
        self.english = True

    def faults(self, turn: Turn, number: int) -> Iterator[str]:
        """The faults of turn `number` of a conversation."""
        where = f"turn {number + 1}, {turn.question!r} {turn.answer!r}: "
        self.english = turn.language == "en"
        # no question may name a held-out concept, so the reader does not know their names
        reader = _reader(self.world.nouns[: self.world.trained], "en" if self.english else "zh")
        readings = reader.question(turn.question)
        if len(readings) != 1:
            yield where + ("the question can be read in several ways" if readings else "the question cannot be read")
            return
        family = "dialogue" if number else readings[0].kind.removesuffix("_single")
        if turn.family != family:
            yield where + f"the family should be {family!r}, not {turn.family!r}"
        try:
            answer = self.answer(readings[0])
        except Doubt as doubt:
            yield where + str(doubt)
            return
        if turn.answer != answer:
            yield where + f"the answer should be {answer!r}"

    def answer(self, reading: Reading) -> str:
        """The right answer, as a sentence."""
        words: str = getattr(self, reading.kind)(**reading.parts)
        return words[0].upper() + words[1:] + "." if self.english else words + "。"

    # -- words --------------------------------------------------------------------------------------------------

    def one(self, thing: SceneObject) -> str:
        noun = self.nameable(thing)
        return f"{article(noun.en)} {noun.en}" if self.english else f"一{noun.measure}{noun.zh}"

    def nameable(self, thing: SceneObject) -> Noun:
        noun = self.world.nouns[thing.noun]
        if thing.noun >= self.world.trained:
            raise Doubt(f"the {noun.en} is a held-out concept and must not be named")
        return noun

    def place_words(self, place: str) -> str:
        if self.english:
            return ("in the " if place == "middle" else "at the ") + place
        return _PLACES_ZH[place]

    def yes(self, truth: bool) -> str:
        return ("yes" if truth else "no") if self.english else ("是" if truth else "不是")

    def nothing(self) -> str:
        return "nothing" if self.english else "什么都没有"

    def count(self, number: int, measure: str) -> str:
        if self.english:
            return ("none", "one", "two", "three", "four")[number]
        return ("零", "一", "两", "三", "四")[number] + measure if number else "没有"

    # -- things -------------------------------------------------------------------------------------------------

    def at(self, place: str) -> SceneObject | None:
        """The thing at a place, or None if the place is empty."""
        here = [thing for thing in self.things if place in places(thing)]
        touching = [thing for thing in self.things if overlap(box(thing), REGIONS[place])]
        if len(here) > 1 or touching != here:
            raise Doubt(f"it is not clear what is {place}")
        return here[0] if here else None

    def place(self, thing: SceneObject) -> str:
        """The place of a thing."""
        found = places(thing)
        if len(found) != 1:
            raise Doubt(f"the {self.world.nouns[thing.noun].en} is in no clear place")
        return found[0]

    def mentioned(self, noun: int) -> SceneObject | None:
        """The thing that a name or "it" means, or None if the picture does not show it."""
        if noun == IT:
            if self.focus is None:
                raise Doubt('"it" could be nothing or several things')
            return self.focus
        name = self.world.nouns[noun]
        if any(fits(name, self.world.nouns[thing.noun]) for thing in self.things):
            raise Doubt(f"{name.en!r} could be said of another thing")
        found = [thing for thing in self.things if thing.noun == noun]
        if len(found) > 1:
            raise Doubt(f"there are several things called {name.en!r}")
        return found[0] if found else None

    def subject(self, name: int | None = None, place: str | None = None) -> SceneObject:
        """The thing that a question is about; it becomes the meaning of "it"."""
        thing = self.mentioned(name) if name is not None else self.at(str(place))
        if thing is None:
            raise Doubt("the question is about a thing that is not there")
        self.focus = thing
        return thing

    # -- kinds of questions -----------------------------------------------------------------------------------------

    def what(self, place: str) -> str:
        self.focus = self.at(place)
        return self.one(self.focus) if self.focus else self.nothing()

    def what_single(self) -> str:
        if len(self.things) != 1:
            raise Doubt("there is not just one thing")
        self.focus = self.things[0]
        return self.one(self.focus)

    def where(self, name: int) -> str:
        words = self.place_words(self.place(self.subject(name)))
        return words if self.english else "在" + words

    def is_there(self, name: int) -> str:
        self.focus = self.mentioned(name)
        if self.english:
            return self.yes(self.focus is not None)
        return "有" if self.focus else "没有"

    def how_many(self) -> str:
        return self.count(len(self.things), "个")

    def how_many_category(self, category: str) -> str:
        kinds = [self.world.nouns[thing.noun].category for thing in self.things]
        return self.count(kinds.count(category), _KINDS_ZH[category][1])

    def category(self, place: str) -> str:
        kind = self.world.nouns[self.subject(place=place).noun].category
        if kind not in _KINDS_EN:
            raise Doubt(f"there is no word for the kind {kind!r}")
        return _KINDS_EN[kind] if self.english else _KINDS_ZH[kind][0]

    def colour(self, **about: Any) -> str:
        colour = self.scene.ground if "ground" in about else self.subject(**about).colour
        if colour is None:
            raise Doubt("the thing has no clear colour")
        return colour if self.english else _COLOURS_ZH[colour] + "色"

    def relation(self, direction: str, name: int) -> str:
        thing = self.subject(name)
        there = [other for other in self.things if gap(other, thing, direction) >= 0]
        in_line = sorted(
            (other for other in there if beside(other, thing, direction)), key=lambda t: gap(t, thing, direction)
        )
        if not in_line and there:
            raise Doubt("something lies there, but only diagonally")
        if len(in_line) > 1 and gap(in_line[0], thing, direction) == gap(in_line[1], thing, direction):
            raise Doubt("two things are equally near")
        if not in_line:
            return self.nothing()
        self.focus = None  # "it" could now be the one or the other
        return self.one(in_line[0])

    def size(self, size: str) -> str:
        order = sorted(self.things, key=lambda thing: seen_side(self.world, thing), reverse=size == "biggest")
        sides = sorted(seen_side(self.world, thing) for thing in order[:2])
        if len(sides) < 2 or sides[1] < _CLEARLY_BIGGER * sides[0]:
            raise Doubt("no thing is clearly the " + size)
        self.focus = order[0]
        noun = self.nameable(order[0])
        return f"the {noun.en}" if self.english else noun.zh

    def same_category(self, place: str, place2: str) -> str:
        a, b = (self.world.nouns[self.subject(place=where).noun].category for where in (place, place2))
        if place == place2:
            raise Doubt("a thing is compared with itself")
        return self.yes(a == b)

    def true_or_false(self, claim: Reading) -> str:
        truth = getattr(self, "claim_" + claim.kind)(**claim.parts)
        return ("true" if truth else "false") if self.english else ("对" if truth else "错")

    def caption(self) -> str:
        if not self.things:
            raise Doubt("there is nothing to describe")
        ordered = sorted(self.things, key=lambda thing: list(REGIONS).index(self.place(thing)))
        shown = [(self.one(thing), self.place_words(self.place(thing))) for thing in ordered]
        if not self.english:
            return "，".join(f"{where}有{what}" for what, where in shown)
        *most, last = (f"{what} {where}" for what, where in shown)
        return f"{', '.join(most)} and {last}" if most else last

    # -- kinds of claims --------------------------------------------------------------------------------------------

    def claim_place(self, name: int, place: str) -> bool:
        thing = self.mentioned(name)
        return thing is not None and self.at(place) is thing

    def claim_presence(self, name: int) -> bool:
        return self.mentioned(name) is not None

    def claim_count(self, number: int) -> bool:
        return len(self.things) == number

    def claim_relation(self, name: int, direction: str, name2: int) -> bool:
        first, second = self.subject(name), self.subject(name2)
        if beside(first, second, direction) or beside(first, second, _OPPOSITE[direction]):
            return beside(first, second, direction)
        raise Doubt("the two things are not in line")
