"""EmojiScenes: one to four emoji drawings on a coloured ground, as plain records.

A scene is a record; its picture (`rendering.py`), its questions (`questions.py`) and the check of every answer
(`auditor.py`) are all derived from the record. Positions and sizes are pixels of a 64x64 picture, y pointing down.
Most scenes place each thing inside one quarter of the picture; some show a single thing in the middle, close up.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import combinations, permutations

import numpy as np

from minigpt4v.datasets.colours import dominant_colour
from minigpt4v.datasets.emoji import (
    HELD_OUT_STYLE,
    STYLES,
    TILE_SIZE,
    WORLDS,
    Noun,
    held_out_nouns,
    load_atlas,
    load_nouns,
)
from minigpt4v.datasets.names import may_be_called

IMAGE_SIZE = 64
PLACES = ("top left", "top right", "bottom left", "bottom right", "middle")
GROUNDS = {
    "white": (255, 255, 255),
    "grey": (165, 165, 170),
    "black": (28, 28, 32),
    "yellow": (252, 236, 140),
    "green": (176, 224, 160),
    "blue": (170, 205, 250),
    "pink": (255, 196, 208),
    "purple": (196, 170, 236),
}
SPLITS = ("train", "seen", "style", "pairs", "concepts")
"""train; fresh scenes like it; a drawing style, pairs of names, and concepts that training scenes never show."""

_QUARTER = IMAGE_SIZE // 2
SIZES = range(18, 31)  # of a thing in its quarter
_SMALL, _BIG = range(18, 23), range(28, 31)  # where one thing is clearly smaller or bigger than the others, ...
_ODD_ONE_SHARE = 0.5  # ... as in half of the scenes
_CLOSE_UP_SIZES = range(28, 61)
_CLOSE_UP_SHARE = 0.5  # of the scenes with one thing
_PAIRS_HELD_OUT = 10  # one pair of names in ten
_SEEN = 64  # alpha, of 255, from which a pixel counts as drawn
_STANDS_OUT = 40  # a pixel differs from the ground by more than this of 255 in red, green or blue ...
_STANDS_OUT_SHARE = 0.2  # ... and at least so many of a drawing's pixels do


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One drawing: `noun` is an index into `World.nouns`, (x, y) the top-left corner and `size` the side of its box."""

    noun: int
    style: str
    x: int
    y: int
    size: int
    flipped: bool = False
    colour: str | None = None

    def __post_init__(self) -> None:
        if min(self.x, self.y) < 0 or self.size < 1 or max(self.x, self.y) + self.size > IMAGE_SIZE:
            raise ValueError(
                f"a box of side {self.size} at x={self.x}, y={self.y} leaves the picture: it must lie within "
                f"{IMAGE_SIZE}x{IMAGE_SIZE} pixels"
            )

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box, (x, y) in pixels."""
        return self.x + self.size / 2, self.y + self.size / 2

    @property
    def place(self) -> str:
        """The place word for the centre: "middle" within 8 pixels of the picture's centre, else the quarter."""
        x, y = self.centre
        half = IMAGE_SIZE / 2
        if abs(x - half) < 8 and abs(y - half) < 8:
            return "middle"
        return ("top" if y < half else "bottom") + (" left" if x < half else " right")


@dataclass(frozen=True, slots=True)
class Scene:
    """A ground colour (a key of `GROUNDS`) and the things on it, later ones drawn over earlier ones."""

    ground: str
    objects: tuple[SceneObject, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.ground not in GROUNDS:
            raise ValueError(f"unknown ground colour {self.ground!r}: choose one of {', '.join(GROUNDS)}")

    def at(self, place: str) -> SceneObject | None:
        """The thing at a place, or None."""
        return next((thing for thing in self.objects if thing.place == place), None)


class World:
    """The nouns that scenes are made of, the drawings in every style, and what training never shows.

    `nouns` lists the training nouns first; from index `trained` on come the held-out concepts. Training scenes are
    drawn in `styles`, those of the split "style" in `held_out_style`. `draw` gives a style's tiles, uint8 RGBA
    [len(nouns), 32, 32, 4], when they are first needed.
    """

    def __init__(
        self,
        name: str,
        nouns: Sequence[Noun],
        held_out: Sequence[Noun],
        styles: Sequence[str],
        held_out_style: str,
        draw: Callable[[str], np.ndarray],
    ):
        self.name = name
        self.nouns: tuple[Noun, ...] = (*nouns, *held_out)
        self.trained = len(nouns)
        self.styles = tuple(styles)
        self.held_out_style = held_out_style
        self.categories = tuple(dict.fromkeys(noun.category for noun in self.nouns))
        self._draw = draw

    @cached_property
    def tiles(self) -> dict[str, np.ndarray]:
        """style -> uint8 RGBA tiles [len(nouns), 32, 32, 4]."""
        return {style: self._draw(style) for style in (*self.styles, self.held_out_style)}

    @cached_property
    def _colours(self) -> dict[tuple[str, int], str | None]:
        return {
            (style, i): dominant_colour(tile) for style, tiles in self.tiles.items() for i, tile in enumerate(tiles)
        }

    def colour(self, style: str, noun: int) -> str | None:
        """The one colour word that fits this drawing, or None."""
        return self._colours[style, noun]

    @cached_property
    def _grounds(self) -> dict[tuple[str, int], frozenset[str]]:
        return {
            (style, i): frozenset(ground for ground in GROUNDS if _stands_out(tile, ground)) - {self.colour(style, i)}
            for style, tiles in self.tiles.items()
            for i, tile in enumerate(tiles)
        }

    @cached_property
    def _drawn_shares(self) -> dict[tuple[str, int], float]:
        return {(style, i): _drawn_share(tile) for style, tiles in self.tiles.items() for i, tile in enumerate(tiles)}

    def drawn_size(self, thing: SceneObject) -> float:
        """The longer side, in pixels, of what is seen of a thing: a comet's tail fades long before its box ends."""
        return thing.size * self._drawn_shares[thing.style, thing.noun]

    def grounds(self, style: str, noun: int) -> frozenset[str]:
        """The grounds on which this drawing can be seen: a yellow moon on a yellow one would be no fair question."""
        return self._grounds[style, noun]

    @cached_property
    def _confusable(self) -> tuple[frozenset[int], ...]:
        partners: list[set[int]] = [set() for _ in self.nouns]
        for a, b in permutations(range(len(self.nouns)), 2):
            if may_be_called(self.nouns[a], self.nouns[b]):
                partners[a].add(b)
                partners[b].add(a)
        return tuple(map(frozenset, partners))

    def confusable(self, noun: int) -> frozenset[int]:
        """The nouns of which one might be said of the other's drawing, as "bird" of an owl's.

        They never share a scene, and no question about the one is asked of a scene with the other.
        """
        return self._confusable[noun]

    @cached_property
    def _held_out_partners(self) -> tuple[frozenset[int], ...]:
        """For each noun the nouns that never share a training scene with it."""
        partners: list[set[int]] = [set() for _ in self.nouns]
        for a, b in combinations(range(self.trained), 2):
            if _is_held_out(self.nouns[a].id, self.nouns[b].id):
                partners[a].add(b)
                partners[b].add(a)
        return tuple(map(frozenset, partners))

    def is_held_out_pair(self, a: int, b: int) -> bool:
        """Whether training scenes never show these two nouns together."""
        return b in self._held_out_partners[a]

    def has_held_out_pair(self, scene: Scene) -> bool:
        """Whether the scene shows two nouns that no training scene shows together."""
        return any(self.is_held_out_pair(a.noun, b.noun) for a, b in combinations(scene.objects, 2))


@lru_cache
def load_world(name: str = "core64", held_out_style: str = HELD_OUT_STYLE) -> World:
    """A world of emoji: "core16" (16 nouns, for seconds of training), "core64" (64), or "all" (every usable noun).

    Settings are chosen by leaving out one of `STYLES` here, never by looking at Twemoji.

    Raises:
        ValueError: the name or the style is unknown.
    """
    if name not in ("core16", *WORLDS):
        raise ValueError(f"unknown world {name!r}: choose one of core16, {', '.join(WORLDS)}")
    if held_out_style not in (*STYLES, HELD_OUT_STYLE):
        raise ValueError(f"unknown style {held_out_style!r}: choose one of {', '.join((*STYLES, HELD_OUT_STYLE))}")
    source = "all" if name == "all" else "core64"
    nouns, held_out = load_nouns(source), held_out_nouns(source)
    if name == "core16":
        nouns = _spread_over_categories(nouns, 16)
    tiles = [noun.tile for noun in (*nouns, *held_out)]
    styles = [style for style in STYLES if style != held_out_style]
    return World(name, nouns, held_out, styles, held_out_style, draw=lambda style: load_atlas(style)[tiles])


def _stands_out(tile: np.ndarray, ground: str) -> bool:
    """Whether enough of a drawing's opaque pixels differ from a ground. tile: uint8 RGBA [height, width, 4]."""
    opaque = tile[tile[..., 3] > 127][:, :3].astype(int)
    difference = abs(opaque - GROUNDS[ground]).max(axis=1)
    return bool((difference > _STANDS_OUT).mean() >= _STANDS_OUT_SHARE)


def _drawn_share(tile: np.ndarray) -> float:
    """The part of a tile's side that its drawing takes, the longer way."""
    seen = tile[..., 3] > _SEEN
    return max(1 + np.ptp(np.flatnonzero(seen.any(axis))) for axis in (0, 1)) / TILE_SIZE


def _is_held_out(first_id: str, second_id: str) -> bool:
    """A tenth of all pairs, the same in every world: decided by a hash of the two ids."""
    digest = hashlib.sha256("+".join(sorted((first_id, second_id))).encode()).digest()
    return digest[0] % _PAIRS_HELD_OUT == 0


def _spread_over_categories(nouns: tuple[Noun, ...], count: int) -> tuple[Noun, ...]:
    """The first nouns of each category in turn."""
    queues: dict[str, list[Noun]] = {}
    for noun in nouns:
        queues.setdefault(noun.category, []).append(noun)
    rounds = [queue[i] for i in range(max(map(len, queues.values()))) for queue in queues.values() if i < len(queue)]
    return tuple(rounds[:count])


def random_scene(world: World, rng: random.Random, split: str = "train") -> Scene:
    """One scene of a split: one to four things with different names, each in a quarter of its own or alone close up."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    count = rng.randint(2 if split == "pairs" else 1, 4)
    nouns = _choose_nouns(world, count, rng, split)
    styles = (world.held_out_style,) if split == "style" else world.styles
    if count == 1 and rng.random() < _CLOSE_UP_SHARE:
        boxes = [close_up_box(rng)]
    else:
        sizes = _choose_sizes(count, rng)
        boxes = [box_in_quarter(*chosen, rng) for chosen in zip(rng.sample(range(4), count), sizes, strict=True)]
    things = []
    for noun, (x, y, size) in zip(nouns, boxes, strict=True):
        style = rng.choice(styles)
        things.append(SceneObject(noun, style, x, y, size, rng.random() < 0.5, world.colour(style, noun)))
    visible = frozenset.intersection(*(world.grounds(thing.style, thing.noun) for thing in things))
    return Scene(rng.choice([ground for ground in GROUNDS if ground in visible]), tuple(things))


def _choose_nouns(world: World, count: int, rng: random.Random, split: str) -> list[int]:
    """Nouns for one scene, none of which could be said of another's drawing."""
    while True:
        chosen = _draw_nouns(world, count, rng, split)
        if not any(b in world.confusable(a) for a, b in combinations(chosen, 2)):
            return chosen


def _draw_nouns(world: World, count: int, rng: random.Random, split: str) -> list[int]:
    if split == "concepts":
        return rng.sample(range(world.trained, len(world.nouns)), count)
    if split == "pairs":
        first = rng.choice([a for a in range(world.trained) if world._held_out_partners[a]])
        pair = [first, rng.choice(sorted(world._held_out_partners[first]))]
        nouns = pair + rng.sample([k for k in range(world.trained) if k not in pair], count - 2)
        rng.shuffle(nouns)
        return nouns
    chosen: list[int] = []
    while len(chosen) < count:
        noun = rng.randrange(world.trained)
        if noun not in chosen and not any(world.is_held_out_pair(noun, other) for other in chosen):
            chosen.append(noun)
    return chosen


def _choose_sizes(count: int, rng: random.Random) -> list[int]:
    """Any sizes, or one small thing among big ones, or one big thing among small ones."""
    if rng.random() >= _ODD_ONE_SHARE:
        return rng.choices(SIZES, k=count)
    one, others = rng.sample((_SMALL, _BIG), 2)
    odd = rng.randrange(count)
    return [rng.choice(one if i == odd else others) for i in range(count)]


def box_in_quarter(quarter: int, size: int, rng: random.Random) -> tuple[int, int, int]:
    """A box (x, y, size) of that size somewhere in a quarter of the picture; quarters are numbered as in `PLACES`."""
    free = _QUARTER - size
    return quarter % 2 * _QUARTER + rng.randint(0, free), quarter // 2 * _QUARTER + rng.randint(0, free), size


def close_up_box(rng: random.Random) -> tuple[int, int, int]:
    """A big box (x, y, size) near the middle of the picture."""
    size = rng.choice(_CLOSE_UP_SIZES)
    slack = min(3, (IMAGE_SIZE - size) // 2)
    start = (IMAGE_SIZE - size) // 2
    return start + rng.randint(-slack, slack), start + rng.randint(-slack, slack), size


def scenes_of(world: World, split: str, seed: int | str, count: int, *, start: int = 0) -> list[Scene]:
    """`count` scenes from number `start` on, which depend only on world, split, seed and their number.

    Every split draws from streams of its own, so no seed of one split repeats scenes of another.
    """
    numbers = range(start, start + count)
    return [random_scene(world, random.Random(f"{world.name}/{split}/{seed}/{i}"), split) for i in numbers]
