"""First words: questions and answers of a few words about EmojiScenes, no sentences yet (chapter 12).

    cat -> top left                  top left -> cat            things -> three     animals -> two
    to the left of cat -> dog        kind top left -> an animal        biggest -> car
    same top left bottom right -> yes

A sentence asks a beginner for everything at once: to read, to find, to see and to write. Here nothing is left but the
finding. Every word is written as inside a sentence, so it is learned for the sentences that come later: an English one
with the space in front of it. Chinese says the same words in the opposite order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from minigpt4v.datasets import phrasings
from minigpt4v.datasets.conversation import Turn
from minigpt4v.datasets.phrasings import LANGUAGES
from minigpt4v.datasets.questions import Conversation, _Asker
from minigpt4v.datasets.scenes import PLACES, Scene, World

_Item = TypeVar("_Item")
Word = tuple[str, str]
"""The same word in English and in Chinese."""

_NOTHING, _YES, _NO = ("nothing", "没有"), ("yes", "是"), ("no", "不是")
_THINGS, _SAME, _KIND, _COLOUR = ("things", "东西"), ("same", "同一类"), ("kind", "哪一类"), ("colour", "颜色")
_SIZES = {"biggest": ("biggest", "最大"), "smallest": ("smallest", "最小")}
_COUNTS, _PAIRS = 3, 12  # of the questions that are learned last, many


def first_words(
    world: World, scene: Scene, rng: random.Random, languages: Sequence[str] = LANGUAGES
) -> list[Conversation]:
    """What is where, what is beside it, how it looks and how big it is, each in a language chosen by chance.

    Their families are those of the sentences that ask the same.
    """
    teacher = _Teacher(world, scene, rng)
    exchanges = [*teacher.places(2), *teacher.neighbourhood(6), *teacher.looks(4), *teacher.sizes()]
    return [exchange.said_in(rng.choice(languages)) for exchange in exchanges]


def comparisons(
    world: World, scene: Scene, rng: random.Random, languages: Sequence[str] = LANGUAGES
) -> list[Conversation]:
    """How many there are of a kind and what is of one kind, with enough of `first_words` not to forget them."""
    teacher = _Teacher(world, scene, rng)
    known = [*teacher.places(1), *teacher.neighbourhood(2), *teacher.looks(2), *teacher.sizes()]
    exchanges = [*known, *teacher.kinds_counted(), *teacher.kinds_compared()]
    return [exchange.said_in(rng.choice(languages)) for exchange in exchanges]


def where_is_each(world: World, scene: Scene, languages: Sequence[str] = LANGUAGES) -> list[Conversation]:
    """For each thing that has a name: the name, answered with the place, in every language."""
    named = [thing for thing in scene.objects if thing.noun < world.trained]
    exchanges = [_Exchange("where", (_name(world, thing.noun),), _place(thing.place)) for thing in named]
    return [exchange.said_in(language) for exchange in exchanges for language in languages]


@dataclass(frozen=True)
class _Exchange:
    """A question and its answer in words of no language yet."""

    family: str
    question: tuple[Word, ...]  # in the English order
    answer: Word

    def said_in(self, language: str) -> Conversation:
        if language == "en":
            question, answer = "".join(f" {word}" for word, _ in self.question), f" {self.answer[0]}"
        else:
            question, answer = "".join(word for _, word in reversed(self.question)), self.answer[1]
        return (Turn(question, answer, self.family, language),)


def _name(world: World, noun: int) -> Word:
    return world.nouns[noun].en, world.nouns[noun].zh


def _place(place: str) -> Word:
    return place, phrasings.PLACE_ZH[place]


def _number(count: int) -> Word:
    return phrasings.NUMBER_EN[count], phrasings.NUMBER_ZH[count] if count else "没有"


class _Teacher(_Asker):
    """A scene and a source of chance, as for sentences; each method gives the questions of one sort."""

    def places(self, names: int) -> Iterator[_Exchange]:
        """How many things there are, what is where for some of them, and what is not there."""
        yield _Exchange("how_many", (_THINGS,), _number(len(self.things)))
        some = self.some(self.named, names)
        for thing in some[:1]:  # known from pointing: only not to be forgotten
            yield _Exchange("where", (_name(self.world, thing.noun),), _place(thing.place))
        for thing in some:
            yield _Exchange("what", (_place(thing.place),), _name(self.world, thing.noun))
        yield _Exchange("is_there", (_name(self.world, self.absent()),), _NOTHING)
        empty = [] if self.close_up else [place for place in PLACES[:4] if self.scene.at(place) is None]
        if empty:
            yield _Exchange("what", (_place(self.rng.choice(empty)),), _NOTHING)

    def neighbourhood(self, count: int) -> Iterator[_Exchange]:
        """What is beside what."""
        for (thing, direction), other in self.some(list(self.neighbours.items()), count):
            way = (phrasings.DIRECTION_EN[direction], phrasings.DIRECTION_ZH[direction])
            yield _Exchange("relation", (way, _name(self.world, thing.noun)), _name(self.world, other.noun))

    def looks(self, count: int) -> Iterator[_Exchange]:
        """The kind or the colour of some things."""
        for thing in self.some(self.things, count):
            category = self.world.nouns[thing.noun].category
            if self.several_kinds and self.rng.random() < 0.5:
                kind = (phrasings.CATEGORY_EN[category][0], phrasings.CATEGORY_ZH[category][0])
                yield _Exchange("category", (_KIND, _place(thing.place)), kind)
            elif thing.colour:
                colour = (thing.colour, phrasings.COLOUR_ZH[thing.colour])
                yield _Exchange("colour", (_COLOUR, _place(thing.place)), colour)

    def sizes(self) -> Iterator[_Exchange]:
        """The biggest and the smallest thing."""
        for thing, word in self.extremes():
            yield _Exchange("size", (_SIZES[word],), _name(self.world, thing.noun))

    def kinds_counted(self) -> Iterator[_Exchange]:
        """How many things there are of some kinds."""
        for _ in range(_COUNTS if self.several_kinds else 0):
            count, kind = self.counted_kind()
            word = (phrasings.CATEGORY_EN[kind][1], phrasings.CATEGORY_ZH[kind][0])
            yield _Exchange("how_many_category", (word,), _number(count))

    def kinds_compared(self) -> Iterator[_Exchange]:
        """Whether two things are of the same kind."""
        pairs = self.pairs_by_kind() if self.several_kinds else []
        for _ in range(_PAIRS if pairs else 0):
            same, (first, second) = self.balanced(pairs)
            yield _Exchange("same_category", (_SAME, _place(first.place), _place(second.place)), _YES if same else _NO)

    def some(self, items: Sequence[_Item], count: int) -> list[_Item]:
        """That many of the items, or all if there are no more."""
        return self.rng.sample(items, min(count, len(items)))
