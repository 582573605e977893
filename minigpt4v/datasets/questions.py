"""Questions and answers about EmojiScenes, made from the record of a scene.

Each family has one function that looks at the record, lists what can be asked without ambiguity, and picks one with
answers as balanced as the scene allows. What cannot be asked of a scene (the biggest of two things of one size) gives
None. The answers are checked by `auditor.py`, which knows nothing of this file.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from itertools import combinations
from typing import TypeVar

from minigpt4v.datasets import phrasings
from minigpt4v.datasets.conversation import Turn
from minigpt4v.datasets.phrasings import FAMILIES, FOLLOW_UPS, LANGUAGES, QUESTIONS, sentence
from minigpt4v.datasets.scenes import PLACES, Scene, SceneObject, World

_CLEARLY_APART = 16  # pixels between centres from which "left of" is beyond doubt; half a quarter's side
_CLEARLY_BIGGER = 5  # pixels between the longer sides of what is seen of two things
_NOTHING_SHARE = 0.1  # of the "what is ...?" questions that could be answered "Nothing."
_DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "above": (0, -1), "below": (0, 1)}
_OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}
_QUARTERS = PLACES[:4]

Conversation = tuple[Turn, ...]
_Answer = TypeVar("_Answer", bound=Hashable)
_Item = TypeVar("_Item")


def neighbour(scene: Scene, thing: SceneObject, direction: str) -> SceneObject | None:
    """The nearest thing in that direction in the same row (or column), or None."""
    return _nearest(_surroundings(scene.objects)[thing, direction])


_Surroundings = dict[tuple[SceneObject, str], list[tuple[float, float, SceneObject]]]


def _surroundings(things: Sequence[SceneObject]) -> _Surroundings:
    """What clearly lies in each direction of each thing: how far along, how far beside (pixels between centres), what.

    All at once, because most questions of a scene need some of it.
    """
    centres = [(*thing.centre, thing) for thing in things]
    return {
        (thing, direction): [
            (along, abs(dy * (x - from_x) + dx * (y - from_y)), other)
            for x, y, other in centres
            if (along := dx * (x - from_x) + dy * (y - from_y)) > _CLEARLY_APART
        ]
        for from_x, from_y, thing in centres
        for direction, (dx, dy) in _DIRECTIONS.items()
    }


def _nearest(found: list[tuple[float, float, SceneObject]]) -> SceneObject | None:
    """The nearest of these that is in line."""
    in_line = [place for place in found if place[1] < _CLEARLY_APART]
    return min(in_line, key=lambda place: place[0] + place[1])[2] if in_line else None


@lru_cache
def _odds_of_one_category(world: World) -> float:
    """How many times as often two to four nouns of a world are all of one category as all of different ones.

    "Of the same kind?" can only be "yes" for the former and only "no" for the latter; the odds make up for it.
    """
    counts = Counter(noun.category for noun in world.nouns).values()
    alike = different = 0.0
    for size in (2, 3, 4):
        choices = math.comb(sum(counts), size)
        alike += sum(math.comb(count, size) for count in counts) / choices
        different += sum(map(math.prod, combinations(counts, size))) / choices
    return alike / different


@dataclass
class _Asker:
    """A scene and a source of chance; one method a family, each giving a turn or None in the language of the moment."""

    world: World
    scene: Scene
    rng: random.Random
    language: str = "en"

    def __post_init__(self) -> None:
        self.things = self.scene.objects
        self.named = [thing for thing in self.things if thing.noun < self.world.trained]
        self.several_kinds = len(self.world.categories) > 1  # else "what kind of thing?" tells nothing
        self.close_up = any(thing.place == "middle" for thing in self.things)

    @cached_property
    def surroundings(self) -> _Surroundings:
        """Those of the named things."""
        return {where: found for where, found in _surroundings(self.things).items() if where[0] in self.named}

    @cached_property
    def neighbours(self) -> dict[tuple[SceneObject, str], SceneObject]:
        """The neighbours of named things that can be named too."""
        nearest = {where: _nearest(found) for where, found in self.surroundings.items()}
        return {where: other for where, other in nearest.items() if other in self.named}

    def ask(self, family: str, language: str) -> Conversation | None:
        """One conversation of a family; raises ValueError for an unknown family or language."""
        if family not in FAMILIES:
            raise ValueError(f"unknown question family {family!r}: choose one of {', '.join(FAMILIES)}")
        if language not in LANGUAGES:
            raise ValueError(f"unknown language {language!r}: choose one of {', '.join(LANGUAGES)}")
        self.language = language
        made = getattr(self, family)()
        return (made,) if isinstance(made, Turn) else made

    # -- words --------------------------------------------------------------------------------------------------

    def name(self, noun: int) -> str:
        return getattr(self.world.nouns[noun], self.language)

    def the(self, noun: int) -> str:
        return f"the {self.name(noun)}" if self.language == "en" else self.name(noun)

    def one(self, noun: int) -> str:
        return (
            phrasings.a(self.world.nouns[noun]) if self.language == "en" else phrasings.one_zh(self.world.nouns[noun])
        )

    def place(self, place: str) -> str:
        """Where: "at the top left", 左上角."""
        return phrasings.at(place) if self.language == "en" else phrasings.PLACE_ZH[place]

    def direction(self, direction: str) -> str:
        return (phrasings.DIRECTION_EN if self.language == "en" else phrasings.DIRECTION_ZH)[direction]

    def nothing(self) -> str:
        return "Nothing." if self.language == "en" else "什么都没有。"

    def yes(self, truth: bool) -> str:
        return ("Yes." if truth else "No.") if self.language == "en" else ("是。" if truth else "不是。")

    def turn(self, family: str, answer: str, kind: str | None = None, **slots: str) -> Turn:
        """A turn with one of the phrasings of `kind`, which is the family unless said otherwise."""
        phrases = FOLLOW_UPS if family == "dialogue" else QUESTIONS
        template = self.rng.choice(phrases[kind or family][self.language])
        return Turn(template.format(**slots), answer, family, self.language)

    def balanced(self, options: Sequence[tuple[_Answer, _Item]]) -> tuple[_Answer, _Item]:
        """One of the (answer, item) options: first an answer, each as likely as the others, then an item with it."""
        answer = self.rng.choice(list(dict.fromkeys(answer for answer, _ in options)))
        return self.rng.choice([option for option in options if option[0] == answer])

    def naming_slots(self, noun: int) -> dict[str, str]:
        english = self.language == "en"
        return {"name": self.name(noun), "the": self.the(noun)} | ({"a": self.one(noun)} if english else {})

    def place_slots(self, place: str, suffix: str = "") -> dict[str, str]:
        return {("at" if self.language == "en" else "place") + suffix: self.place(place)}

    # -- families -----------------------------------------------------------------------------------------------

    def what(self) -> Turn | None:
        if len(self.things) == 1 and self.named and self.rng.random() < 0.5:
            return self.turn("what", sentence(self.one(self.things[0].noun), self.language), kind="what_single")
        empty = [] if self.close_up else [place for place in _QUARTERS if self.scene.at(place) is None]
        if empty and (not self.named or self.rng.random() < _NOTHING_SHARE):
            return self.turn("what", self.nothing(), **self.place_slots(self.rng.choice(empty)))
        return self.what_about(self.rng.choice(self.named)) if self.named else None

    def what_about(self, thing: SceneObject) -> Turn:
        return self.turn("what", sentence(self.one(thing.noun), self.language), **self.place_slots(thing.place))

    def where(self) -> Turn | None:
        return self.where_is(self.rng.choice(self.named)) if self.named else None

    def where_is(self, thing: SceneObject) -> Turn:
        return self.turn("where", self.where_answer(thing), **self.naming_slots(thing.noun))

    def where_answer(self, thing: SceneObject) -> str:
        return sentence(("在" if self.language == "zh" else "") + self.place(thing.place), self.language)

    def absent(self) -> int:
        """A noun that nobody could say the picture shows."""
        present = {thing.noun for thing in self.things}
        present = present.union(*(self.world.confusable(noun) for noun in present))
        return self.rng.choice([noun for noun in range(self.world.trained) if noun not in present])

    def is_there(self) -> Turn | None:
        if not self.named:
            return None
        truth = self.rng.random() < 0.5
        noun = self.rng.choice(self.named).noun if truth else self.absent()
        answer = ("有。" if truth else "没有。") if self.language == "zh" else self.yes(truth)
        return self.turn("is_there", answer, **self.naming_slots(noun))

    def how_many(self) -> Turn:
        return self.turn("how_many", self.number(len(self.things), "个"))

    def number(self, count: int, measure: str) -> str:
        if self.language == "en":
            return sentence(phrasings.NUMBER_EN[count], "en")
        return sentence(phrasings.NUMBER_ZH[count] + measure, "zh") if count else "没有。"

    def how_many_category(self) -> Turn | None:
        if not self.several_kinds:
            return None
        count, category = self.counted_kind()
        word, measure = phrasings.CATEGORY_ZH[category]
        slots = {"many": phrasings.CATEGORY_EN[category][1], "category": word, "measure": measure}
        return self.turn("how_many_category", self.number(count, measure), **slots)

    def counted_kind(self) -> tuple[int, str]:
        """How many things there are of a category, and which that is."""
        kinds = [self.world.nouns[thing.noun].category for thing in self.things]
        return self.balanced([(kinds.count(category), category) for category in self.world.categories])

    def category_answer(self, thing: SceneObject) -> str:
        category = self.world.nouns[thing.noun].category
        words = phrasings.CATEGORY_EN if self.language == "en" else phrasings.CATEGORY_ZH
        return sentence(words[category][0], self.language)

    def category(self) -> Turn | None:
        if not self.several_kinds:
            return None
        _, thing = self.balanced([(self.world.nouns[thing.noun].category, thing) for thing in self.things])
        return self.turn("category", self.category_answer(thing), **self.place_slots(thing.place))

    def colour_answer(self, colour: str) -> str:
        return sentence(colour if self.language == "en" else phrasings.COLOUR_ZH[colour], self.language)

    def colour(self) -> Turn:
        coloured = [(thing.colour, thing) for thing in self.things if thing.colour]
        if not coloured or self.rng.random() < 0.25:
            subject, colour = ("the ground" if self.language == "en" else "背景"), self.scene.ground
        else:
            colour, thing = self.balanced(coloured)
            by_place = thing not in self.named or self.rng.random() < 0.5
            subject = self.thing_at(thing.place) if by_place else self.the(thing.noun)
        return self.turn("colour", self.colour_answer(colour), subject=subject)

    def thing_at(self, place: str) -> str:
        return f"the thing {self.place(place)}" if self.language == "en" else f"{self.place(place)}的东西"

    def relation(self) -> Turn | None:
        something = list(self.neighbours)
        if not something or self.close_up:
            return None
        nothing = [where for where, found in self.surroundings.items() if not found]
        thing, direction = self.rng.choice(nothing if nothing and self.rng.random() < _NOTHING_SHARE else something)
        slots = self.naming_slots(thing.noun) | {"direction": self.direction(direction)}
        return self.turn("relation", self.relation_answer(thing, direction), **slots)

    def relation_answer(self, thing: SceneObject, direction: str) -> str:
        other = self.neighbours.get((thing, direction))
        return sentence(self.one(other.noun), self.language) if other else self.nothing()

    def size(self) -> Turn | None:
        extremes = self.extremes()
        return self.size_of(*self.rng.choice(extremes)) if extremes else None

    def extremes(self) -> list[tuple[SceneObject, str]]:
        """The clearly biggest and the clearly smallest thing, where there are such."""
        if len(self.things) < 2:
            return []
        ordered = sorted(self.things, key=self.world.drawn_size)
        sizes = [self.world.drawn_size(thing) for thing in ordered]
        found = []
        if sizes[-1] - sizes[-2] >= _CLEARLY_BIGGER:
            found.append((ordered[-1], "biggest" if self.language == "en" else "最大"))
        if sizes[1] - sizes[0] >= _CLEARLY_BIGGER:
            found.append((ordered[0], "smallest" if self.language == "en" else "最小"))
        return [(thing, word) for thing, word in found if thing in self.named]

    def size_of(self, thing: SceneObject, word: str) -> Turn:
        return self.turn("size", sentence(self.the(thing.noun), self.language), size=word)

    def same_category(self) -> Turn | None:
        if not self.several_kinds:
            return None
        pairs = self.pairs_by_kind()
        if not pairs:
            return None
        same, (first, second) = self.balanced(pairs)
        slots = self.place_slots(first.place) | self.place_slots(second.place, "2")
        return self.turn("same_category", self.yes(same), **slots)

    def pairs_by_kind(self) -> list[tuple[bool, tuple[SceneObject, SceneObject]]]:
        """All pairs of things, each with whether they are of one category; none where it is better not to ask."""
        kind = {thing: self.world.nouns[thing.noun].category for thing in self.things}
        pairs = [(kind[a] == kind[b], (a, b)) for a, b in combinations(self.things, 2)]
        only_no = not any(same for same, _ in pairs)
        if only_no and (not pairs or self.rng.random() >= _odds_of_one_category(self.world)):
            return []  # else "no" would be right far more often than "yes"
        return pairs

    def true_or_false(self) -> Turn | None:
        truth = self.rng.random() < 0.5
        claims = [self.claim_count] + ([self.claim_place, self.claim_presence] if self.named else [])
        if self.neighbours:
            claims.append(self.claim_relation)
        claim = self.rng.choice(claims)(truth)
        answer = ("True." if truth else "False.") if self.language == "en" else ("对。" if truth else "错。")
        return self.turn("true_or_false", answer, claim=claim, Claim=claim[0].upper() + claim[1:])

    def claim_place(self, truth: bool) -> str:
        thing = self.rng.choice(self.named)
        noun, place = thing.noun, thing.place
        if not truth and (place == "middle" or self.rng.random() < 0.5):
            noun = self.absent()
        elif not truth:
            place = self.rng.choice([quarter for quarter in _QUARTERS if quarter != place])
        return self.the(noun) + (" is " if self.language == "en" else "在") + self.place(place)

    def claim_presence(self, truth: bool) -> str:
        noun = self.rng.choice(self.named).noun if truth else self.absent()
        return f"there is {self.one(noun)}" if self.language == "en" else f"图里有{self.one(noun)}"

    def claim_count(self, truth: bool) -> str:
        count = len(self.things)
        if not truth:
            count = self.rng.choice([number for number in (1, 2, 3, 4) if number != count])
        if self.language == "zh":
            return f"图里有{phrasings.NUMBER_ZH[count]}个东西"
        return "there is one thing" if count == 1 else f"there are {phrasings.NUMBER_EN[count]} things"

    def claim_relation(self, truth: bool) -> str:
        (second, direction), first = self.rng.choice(list(self.neighbours.items()))
        direction = direction if truth else _OPPOSITE[direction]
        if self.language == "en":
            return f"{self.the(first.noun)} is {self.direction(direction)} {self.the(second.noun)}"
        return f"{self.name(first.noun)}在{self.name(second.noun)}的{self.direction(direction)}"

    def caption(self) -> Turn | None:
        if len(self.named) < len(self.things):
            return None
        ordered = sorted(self.things, key=lambda thing: PLACES.index(thing.place))
        if self.language == "zh":
            return self.turn("caption", "，".join(f"{self.place(t.place)}有{self.one(t.noun)}" for t in ordered) + "。")
        parts = [f"{self.one(thing.noun)} {self.place(thing.place)}" for thing in ordered]
        text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
        return self.turn("caption", sentence(text, "en"))

    # -- dialogues ----------------------------------------------------------------------------------------------

    def dialogue(self) -> Conversation | None:
        """A first turn about one thing, then one or two that call it "it"."""
        if not self.named:
            return None
        openings: list[tuple[Callable[[SceneObject], Turn], SceneObject]]
        openings = [(about, thing) for about in (self.what_about, self.where_is) for thing in self.named]
        openings += [(partial(self.size_of, word=word), thing) for thing, word in self.extremes()]
        opening, thing = self.rng.choice(openings)
        first = opening(thing)
        follow_ups = self.follow_ups(thing, first.family == "size")
        if not follow_ups:
            return None
        chosen = self.rng.sample(follow_ups, min(len(follow_ups), self.rng.randint(1, 2)))
        chosen.sort(key=lambda option: option[0])  # once another thing is named, "it" could mean that one
        return (first, *(make() for _, make in chosen))

    def follow_ups(self, thing: SceneObject, place_unknown: bool) -> list[tuple[bool, Callable[[], Turn]]]:
        """What can be asked about "it": whether the answer names another thing, and a function that asks."""

        def make(kind: str, answer: str, **slots: str) -> tuple[bool, Callable[[], Turn]]:
            return kind == "relation", partial(self.turn, "dialogue", answer, kind, **slots)

        found = []  # not its category: whoever has read its name needs no picture to tell that
        if thing.colour:
            found.append(make("colour", self.colour_answer(thing.colour)))
        if place_unknown:
            found.append(make("where", self.where_answer(thing)))
        directions = [direction for other, direction in self.neighbours if other == thing]
        if directions:
            direction = self.rng.choice(directions)
            answer = self.relation_answer(thing, direction)
            found.append(make("relation", answer, direction=self.direction(direction)))
        return found


def ask(world: World, scene: Scene, family: str, language: str, rng: random.Random) -> Conversation | None:
    """One conversation of a family about a scene, or None where the scene does not allow it.

    All families but "dialogue" give a single turn. Raises ValueError for an unknown family or language.
    """
    return _Asker(world, scene, rng).ask(family, language)


def ask_all(
    world: World,
    scene: Scene,
    rng: random.Random,
    families: Sequence[str] = FAMILIES,
    languages: Sequence[str] = LANGUAGES,
) -> list[Conversation]:
    """One conversation of every family that the scene allows, each in a language chosen by chance."""
    asker = _Asker(world, scene, rng)
    made = [asker.ask(family, rng.choice(languages)) for family in families]
    return [conversation for conversation in made if conversation]


def conversations_about(
    world: World, scenes: Sequence[Scene], seed: str, *, start: int = 0, **chosen: Sequence[str]
) -> list[list[Conversation]]:
    """One conversation of every family about each scene; `chosen` families and languages as in `ask_all`.

    start: the number of the first scene.
    """
    return [ask_all(world, scene, random.Random(f"{seed}/{i}"), **chosen) for i, scene in enumerate(scenes, start)]
