"""Sort-of-CLEVR: a public benchmark, reproduced bit for bit, so that our numbers stand beside published ones.

Santoro et al. 2017, "A simple neural network module for relational reasoning". Six things of six colours, each a
rectangle or a circle, lie on a white picture of 75 x 75 pixels. A *non-relational* question is about one thing, a
*relational* one about a thing and all others; *ternary* ones (about two things and the rest) were added by the
reference generator, whose random streams this module follows: the same pictures, questions and answers as everywhere.

One answer of the reference is wrong. To find the closest thing it sets the distance of a thing to itself to 999, in
squared pixels, so a thing whose neighbours are all further than 31.6 pixels is its own neighbour. `labels="original"`
keeps the error, for comparison; `labels="fixed"` is what the picture shows.

Coordinates are pixels, x to the right and y down; things stand in the order of `COLOURS`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
from numpy.typing import NDArray

IMAGE_SIZE = 75
RADIUS = 5  # of a circle; a rectangle reaches as far to each side
COLOURS = {  # red, green, blue
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "orange": (255, 156, 0),
    "gray": (128, 128, 128),
    "yellow": (255, 255, 0),
}
GROUND = (255, 255, 255)
KINDS = ("non-relational", "relational", "ternary")
SUBTYPES = {
    "non-relational": ("shape", "left", "up"),
    "relational": ("closest", "furthest", "same shape"),
    "ternary": ("between", "on the line", "obtuse triangles"),
}
ANSWERS = ("yes", "no", "rectangle", "circle", "1", "2", "3", "4", "5", "6")
SPLITS = {"test": 200, "train": 9800}  # number of pictures, in the order in which the reference draws them
LABELS = ("original", "fixed")
QUESTIONS_PER_KIND = 10

_YES, _NO, _RECTANGLE, _CIRCLE, _ONE = range(5)
_ITSELF = 999  # the reference's distance, in squared pixels, of a thing to itself
_NEAR_THE_LINE = 12
_CLOSEST_ALLOWED = (2 * RADIUS) ** 2
_CIRCLE_ROWS = (1, 7, 9, 9, 9, 11, 9, 9, 9, 7, 1)  # widths of the rows of a circle, top to bottom

_WORDS = {
    ("non-relational", 0): "What shape is {}?",
    ("non-relational", 1): "Is {} on the left?",
    ("non-relational", 2): "Is {} at the top?",
    ("relational", 0): "What shape is closest to {}?",
    ("relational", 1): "What shape is furthest from {}?",
    ("relational", 2): "How many have the shape of {}?",
    ("ternary", 0): "How many others, plus one, are between {} and {}?",
    ("ternary", 1): "Is any on the line through {} and {}?",
    ("ternary", 2): "How many others, plus one, make an obtuse triangle with {} and {}?",
}


@dataclass(frozen=True, slots=True)
class Thing:
    """A rectangle or a circle around (x, y)."""

    x: int
    y: int
    rectangle: bool

    def squared_distance(self, other: Thing) -> int:
        """Between the centres, in squared pixels."""
        return (self.x - other.x) ** 2 + (self.y - other.y) ** 2


@dataclass(frozen=True, slots=True)
class Question:
    """One of three subtypes of a kind, about things of one colour or, if ternary, two: indices into `COLOURS`."""

    kind: str
    subtype: int
    colour: int
    second: int | None = None

    def __post_init__(self) -> None:
        if (self.kind, self.subtype) not in _WORDS:
            raise ValueError(f"no question of kind {self.kind!r}, subtype {self.subtype}: kinds are {', '.join(KINDS)}")
        if (self.kind == "ternary") != (self.second is not None):
            raise ValueError(
                f"a {self.kind} question cannot have {self.second} as its second colour: only ternary have one"
            )

    @property
    def colours(self) -> tuple[int, ...]:
        """The colours it mentions."""
        return (self.colour,) if self.second is None else (self.colour, self.second)

    def __str__(self) -> str:
        names = list(COLOURS)
        return _WORDS[self.kind, self.subtype].format(*(names[colour] for colour in self.colours))

    @property
    def code(self) -> NDArray[np.uint8]:
        """The question as the reference's 18 bits: colour, second colour, kind, subtype."""
        bits = np.zeros(18, np.uint8)
        bits[[self.colour, 12 + KINDS.index(self.kind), 15 + self.subtype]] = 1
        if self.second is not None:
            bits[6 + self.second] = 1
        return bits


@dataclass(frozen=True, slots=True)
class Picture:
    """Six things, and the thirty questions about them: ten of each kind, in the order of `KINDS`."""

    things: tuple[Thing, ...]
    questions: tuple[Question, ...]

    def asked(self, kind: str) -> tuple[Question, ...]:
        """The questions of one kind."""
        return tuple(question for question in self.questions if question.kind == kind)


@lru_cache(maxsize=4)
def load(split: str) -> tuple[Picture, ...]:
    """The benchmark's "test" (200) or "train" (9,800) pictures. Raises ValueError for another split."""
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose one of {', '.join(SPLITS)}")
    pictures = generate(sum(SPLITS.values()), seed=1)
    return pictures[: SPLITS["test"]] if split == "test" else pictures[SPLITS["test"] :]


def generate(count: int, seed: int) -> tuple[Picture, ...]:
    """Pictures from two random streams, Python's and NumPy's, drawn from in the reference's order.

    Seed 1 is the benchmark; others give fresh pictures of the same kind.
    """
    chance, numbers = random.Random(seed), np.random.RandomState(seed)
    return tuple(_random_picture(chance, numbers) for _ in range(count))


def _random_picture(chance: random.Random, numbers: np.random.RandomState) -> Picture:
    things: list[Thing] = []
    for _ in COLOURS:
        x, y = _random_centre(things, numbers)
        things.append(Thing(x, y, rectangle=chance.random() < 0.5))
    questions = [
        Question(kind, colour=chance.randint(0, 5), subtype=chance.randint(0, 2))
        for kind in KINDS[:2]
        for _ in range(QUESTIONS_PER_KIND)
    ]
    for _ in range(QUESTIONS_PER_KIND):
        first, second = numbers.permutation(5)[:2]  # yellow is never asked about
        questions.append(Question("ternary", chance.randint(0, 2), int(first), int(second)))
    return Picture(tuple(things), tuple(questions))


def _random_centre(things: Sequence[Thing], numbers: np.random.RandomState) -> tuple[int, int]:
    """A centre far enough from those of earlier things."""
    while True:
        x, y = numbers.randint(RADIUS, IMAGE_SIZE - RADIUS, 2).tolist()
        if all((x - thing.x) ** 2 + (y - thing.y) ** 2 >= _CLOSEST_ALLOWED for thing in things):
            return x, y


# -- pictures -------------------------------------------------------------------------------------------------------


def draw_indices(things: Sequence[Thing]) -> NDArray[np.uint8]:
    """Which colour each pixel has, [75, 75]: 0 for the ground, 1 + i for colour i. Later things lie over earlier."""
    canvas = np.zeros((IMAGE_SIZE, IMAGE_SIZE), np.uint8)
    for number, thing in enumerate(things, start=1):
        for step, circle_width in enumerate(_CIRCLE_ROWS, start=-RADIUS):
            reach = RADIUS if thing.rectangle else circle_width // 2
            canvas[thing.y + step, thing.x - reach : thing.x + reach + 1] = number
    return canvas


def palette() -> NDArray[np.uint8]:
    """The colours of the indices of `draw_indices`: uint8 [7, 3], red, green, blue."""
    return np.array([GROUND, *COLOURS.values()], np.uint8)


def draw(things: Sequence[Thing]) -> NDArray[np.uint8]:
    """The picture: uint8 [75, 75, 3], red, green, blue (the reference's arrays are blue, green, red)."""
    return palette()[draw_indices(things)]


# -- answers --------------------------------------------------------------------------------------------------------


def answer(things: Sequence[Thing], question: Question, labels: str = "original") -> int:
    """The right answer, an index into `ANSWERS`. Raises ValueError where `labels` is not one of `LABELS`."""
    if labels not in LABELS:
        raise ValueError(f"unknown labels {labels!r}: choose one of {', '.join(LABELS)}")
    thing = things[question.colour]
    match question.kind, SUBTYPES[question.kind][question.subtype]:
        case _, "shape":
            return _shape(thing)
        case _, "left":
            return _YES if thing.x < IMAGE_SIZE / 2 else _NO
        case _, "up":
            return _YES if thing.y < IMAGE_SIZE / 2 else _NO
        case _, "closest":
            itself = _ITSELF if labels == "original" else 2 * IMAGE_SIZE**2
            return _shape(min(things, key=lambda other: thing.squared_distance(other) or itself))
        case _, "furthest":
            return _shape(max(things, key=thing.squared_distance))
        case _, "same shape":
            return _ONE + sum(other.rectangle == thing.rectangle for other in things) - 1
        case _, subtype:
            return _ternary_answer(things, question, subtype)


def _shape(thing: Thing) -> int:
    return _RECTANGLE if thing.rectangle else _CIRCLE


def _ternary_answer(things: Sequence[Thing], question: Question, subtype: str) -> int:
    a, b = (things[colour] for colour in question.colours)
    others = [thing for thing in things if thing is not a and thing is not b]
    if subtype == "between":
        return _ONE + sum(_in_box(a, b, other) for other in others)
    if subtype == "obtuse triangles":
        return _ONE + sum(90 <= _largest_angle(a, b, other) < 180 for other in others)
    slope = (b.y - a.y) / (b.x - a.x + 1e-10)
    start = a.y - slope * a.x
    return _YES if any(abs(other.y - (slope * other.x + start)) <= _NEAR_THE_LINE for other in others) else _NO


def _in_box(a: Thing, b: Thing, other: Thing) -> bool:
    return min(a.x, b.x) <= other.x <= max(a.x, b.x) and min(a.y, b.y) <= other.y <= max(a.y, b.y)


def _largest_angle(a: Thing, b: Thing, c: Thing) -> float:
    """Of a triangle, in degrees, with the reference's rounding: 90 may come out as 89.99..., a flat triangle as NaN."""
    opposite = [sqrt(first.squared_distance(second)) for first, second in ((b, c), (c, a), (a, b))]
    angles = []
    for i, side in enumerate(opposite):
        left, right = opposite[:i] + opposite[i + 1 :]
        with np.errstate(invalid="ignore"):
            cosine = np.float64((left * left + right * right - side * side) / (2 * left * right))
            angles.append(np.rad2deg(np.arccos(cosine)))
    return float(max(angles))
