"""From words to a scene: "a cat at the top left, a dog at the bottom right, on a blue ground".

The grammar is that of the captions, in English and Chinese, with the freedom people expect: the place may come first,
last or not at all, "upper left" is "top left", and the ground may stand anywhere.

    a cat at the top left and a dog at the bottom right, on a blue ground
    左上角有一只猫，右下角有一只狗，蓝色背景
"""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from minigpt4v.datasets.phrasings import COLOUR_ZH, PLACE_ZH, a, at, one_zh, sentence
from minigpt4v.datasets.scenes import (
    GROUNDS,
    PLACES,
    SIZES,
    Scene,
    SceneObject,
    World,
    box_in_quarter,
    close_up_box,
    load_world,
)

MAX_CHARACTERS = 500
_QUARTERS = PLACES[:4]
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_SEPARATORS = re.compile(r"[,，、;；.。!！\n]|\band\b|\bwith\b|还有|以及|和(?!服)")  # 和 is "and", 和服 a kimono

# -- the ground -----------------------------------------------------------------------------------------------------
_GROUND_WORDS = {**{ground: ground for ground in GROUNDS}, "gray": "grey"}
_GROUND_WORDS |= {
    form: ground for ground in GROUNDS for form in (COLOUR_ZH[ground], COLOUR_ZH[ground].removesuffix("色"))
}
_GROUND = re.compile(
    r"(?:\b(?:on|against|with|in front of)\s+)?(?:\b(?:an?|the)\s+)?\b([a-z]+)\s+(?:back)?ground\b"  # on a blue ground
    r"|(?:在)?([\u4e00-\u9fff]色?)的?(?:背景|底色?)(?:上|里|中)?"  # 在蓝色的背景上
)
_GROUND_IS = re.compile(
    r"\b(?:the\s+)?(?:back)?ground\s*(?:is|:|=)\s*([a-z]+)|背景(?:颜色)?(?:是|为|：|:)([\u4e00-\u9fff]色?)的?"
)

# -- places ---------------------------------------------------------------------------------------------------------
_PLACE_EN = r"(?:top|upper|bottom|lower)[ -](?:left|right)|middle|cent(?:er|re)"
_PLACE_REST = r"(?:[ -](?:hand )?(?:corner|side|quarter))?(?: of the (?:picture|image|scene))?"
_EN_PLACE_FIRST = re.compile(rf"(?:(?:at|in|on) )?(?:the )?({_PLACE_EN}){_PLACE_REST}(?: there)?(?: is)?:? (.+)")
_EN_PLACE_LAST = re.compile(r"(.+?)(?: is)? (?:at|in|on) (?:the )?(.+)")
_EN_PLACE = re.compile(rf"({_PLACE_EN}){_PLACE_REST}")
_EN_OPENING = re.compile(r"^(?:there (?:is|are) |show |draw )?(?:an?|the|one|some) |^there (?:is|are) |^(?:show|draw) ")
_ZH_PLACE = re.compile(r"在?图?的?(?:(左|右)(上|下)(?:角|方|边)?|(正?中间|正?中央|正中|中心))(?:里|处)?")
_ZH_OPENING = re.compile(r"^(?:[图画][里中上])?(?:有|是|：|:)?")


@dataclass(frozen=True)
class Description:
    """What somebody wants to see: indices into `World.nouns` with places, None where the words leave it open."""

    things: tuple[tuple[int, str | None], ...]
    ground: str | None = None


def parse_description(text: str, world: World) -> Description:
    """Read a description in English or Chinese.

    Raises ValueError where a thing, place or colour is unknown, something is named twice, two things are in one place,
    or the description is empty or too long.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the description has {len(text)} characters: use at most {MAX_CHARACTERS}")
    words = " ".join(text.lower().split())
    ground, words = _take_ground(words)
    clauses = [" ".join(clause.split()) for clause in _SEPARATORS.split(words)]
    things = tuple(_read_clause(clause, world) for clause in clauses if clause)
    _check_together(things, world)
    return Description(things, ground)


def _take_ground(words: str) -> tuple[str | None, str]:
    """The ground colour, if one is named, and the words without it."""
    for pattern in (_GROUND_IS, _GROUND):
        found = pattern.search(words)
        if found:
            colour = found[1] or found[2]
            if colour not in _GROUND_WORDS:
                raise ValueError(f"unknown ground colour {colour!r}: choose one of {', '.join(GROUNDS)}")
            return _GROUND_WORDS[colour], words[: found.start()] + " " + words[found.end() :]
    return None, words


def _read_clause(clause: str, world: World) -> tuple[int, str | None]:
    """One thing and its place, from "a cat at the top left" or 左上角有一只猫."""
    if _CHINESE.search(clause):
        return _read_chinese(clause.replace(" ", ""), world)
    place = None
    if found := _EN_PLACE_FIRST.fullmatch(clause):
        place, clause = found[1], found[2]
    elif found := _EN_PLACE_LAST.fullmatch(clause):
        clause, place = found[1], found[2]
        if not (matched := _EN_PLACE.fullmatch(place)):
            raise ValueError(f"unknown place {place!r}: choose one of {', '.join(PLACES)}")
        place = matched[1]
    return _find_noun(_EN_OPENING.sub("", clause), "en", world), place and _place_from_english(place)


def _place_from_english(words: str) -> str:
    if words.startswith(("middle", "cent")):
        return "middle"
    return ("top" if words.startswith(("top", "upper")) else "bottom") + (
        " left" if words.endswith("left") else " right"
    )


def _read_chinese(clause: str, world: World) -> tuple[int, str | None]:
    place = None
    if found := _ZH_PLACE.search(clause):
        place = (
            "middle"
            if found[3]
            else {"上": "top", "下": "bottom"}[found[2]] + {"左": " left", "右": " right"}[found[1]]
        )
        clause = clause[: found.start()] + clause[found.end() :]
    clause = _ZH_OPENING.sub("", clause)
    known = {noun.zh for noun in world.nouns}
    if clause not in known and clause.startswith("一"):
        clause = clause[2:]  # 一只
    return _find_noun(clause, "zh", world), place


def _find_noun(name: str, language: str, world: World) -> int:
    names = [getattr(noun, language).lower() for noun in world.nouns]
    if name in names:
        return names.index(name)
    shown = repr(name[:40])
    if world.name != "all" and name in [getattr(noun, language).lower() for noun in load_world("all").nouns]:
        raise ValueError(
            f"the world {world.name!r} has no {shown}, but the world 'all' has: use that one (--world all)"
        )
    close = difflib.get_close_matches(name[:40], names, n=3, cutoff=0.5)
    fix = f"did you mean {' or '.join(map(repr, close))}?" if close else f"draw things such as {', '.join(names[:6])}"
    raise ValueError(f"unknown thing {shown}: {fix}")


def _check_together(things: tuple[tuple[int, str | None], ...], world: World) -> None:
    if not things:
        raise ValueError("the description names no thing: write, for example, 'a cat at the top left, a dog'")
    if len(things) > len(_QUARTERS):
        raise ValueError(f"the description names {len(things)} things: a scene has room for {len(_QUARTERS)}")
    nouns, places = [noun for noun, _ in things], [place for _, place in things if place]
    for noun in nouns:
        if nouns.count(noun) > 1:
            raise ValueError(f"{world.nouns[noun].en!r} is named twice: a scene shows each thing once")
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"two things are {at(place)}: give each a place of its own")
    if "middle" in places and len(things) > 1:
        raise ValueError("a thing in the middle stands alone, close up: use the four corners for several things")


def draw_from(description: Description, world: World, rng: random.Random, style: str | None = None) -> Scene:
    """A scene that fits a description; what the description leaves open is chosen by chance.

    style: of all drawings; None chooses one of the training styles for each.
    """
    free = list(_QUARTERS if len(description.things) > 1 else PLACES)
    free = [place for place in free if place not in [taken for _, taken in description.things]]
    rng.shuffle(free)
    things = []
    for noun, place in description.things:
        place = place or free.pop()
        x, y, size = (
            close_up_box(rng) if place == "middle" else box_in_quarter(_QUARTERS.index(place), rng.choice(SIZES), rng)
        )
        drawn = style or rng.choice(world.styles)
        things.append(SceneObject(noun, drawn, x, y, size, rng.random() < 0.5, world.colour(drawn, noun)))
    return Scene(description.ground or fair_ground(things, world, rng), tuple(things))


def fair_ground(things: Sequence[SceneObject], world: World, rng: random.Random) -> str:
    """A ground on which every thing can be seen; any ground where there is none."""
    visible = frozenset(GROUNDS).intersection(*(world.grounds(thing.style, thing.noun) for thing in things))
    return rng.choice([ground for ground in GROUNDS if ground in visible] or list(GROUNDS))


def caption_of(world: World, scene: Scene, language: str) -> str:
    """The scene in words, as `questions.py` captions it, but also where it shows held-out concepts."""
    ordered = sorted(scene.objects, key=lambda thing: PLACES.index(thing.place))
    named = [(world.nouns[thing.noun], thing.place) for thing in ordered]
    if language == "zh":
        return sentence("，".join(f"{PLACE_ZH[place]}有{one_zh(noun)}" for noun, place in named), "zh")
    parts = [f"{a(noun)} {at(place)}" for noun, place in named]
    return sentence(" and ".join(filter(None, (", ".join(parts[:-1]), parts[-1]))), "en")


def in_style(scene: Scene, world: World, style: str, rng: random.Random) -> Scene:
    """The same things with every drawing in another style, on a ground on which all of them can be seen."""
    things = tuple(replace(thing, style=style, colour=world.colour(style, thing.noun)) for thing in scene.objects)
    seen = all(scene.ground in world.grounds(style, thing.noun) for thing in things)
    return Scene(scene.ground if seen else fair_ground(things, world, rng), things)
