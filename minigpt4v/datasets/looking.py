"""Looks at the record and the pixels of a scene, for the auditor.

Where a thing is follows from its whole box, not from its centre; colours are measured in CIELAB, not by hue; and names
that fit more than one thing are found in the keywords of the Unicode CLDR. Nothing is taken from `colours.py` or
`names.py`, so that an error would have to be made twice, in two ways, to stay unseen.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from minigpt4v.datasets.emoji import Noun, load_emoji
from minigpt4v.datasets.scenes import GROUNDS, IMAGE_SIZE, Scene, SceneObject, World

Box = tuple[int, int, int, int]
"""Left, top, right and bottom edge in pixels."""

_HALF = IMAGE_SIZE // 2
REGIONS: dict[str, Box] = {
    "top left": (0, 0, _HALF, _HALF),
    "top right": (_HALF, 0, IMAGE_SIZE, _HALF),
    "bottom left": (0, _HALF, _HALF, IMAGE_SIZE),
    "bottom right": (_HALF, _HALF, IMAGE_SIZE, IMAGE_SIZE),
    "middle": (24, 24, 40, 40),
}
_SEEN = 64  # alpha from which a pixel counts as part of a drawing
_VISIBLE_DIFFERENCE = 12  # in CIELAB, between a pixel and the ground
_VISIBLE_SHARE = 0.2  # of a drawing's opaque pixels

# What people call by each word, as points in RGB; a pixel takes the word of the nearest point in CIELAB.
FOCAL_COLOURS = {
    "red": ((220, 30, 30), (235, 70, 85), (180, 20, 35)),
    "orange": ((250, 140, 10), (240, 110, 20), (255, 165, 50)),
    "yellow": ((255, 215, 50), (250, 235, 130), (255, 190, 20)),
    "green": ((60, 160, 60), (130, 195, 70), (30, 110, 50), (0, 210, 110), (180, 225, 160)),
    "blue": ((40, 120, 220), (90, 175, 240), (20, 70, 130), (170, 205, 250), (65, 135, 180)),
    "purple": ((140, 80, 190), (110, 50, 140), (200, 170, 240), (160, 110, 210)),
    "pink": ((255, 150, 180), (235, 80, 150), (255, 195, 210), (210, 80, 130)),
    "brown": ((130, 80, 50), (90, 60, 45), (160, 110, 70), (110, 40, 20)),
    "black": ((20, 20, 20), (50, 50, 55)),
    "grey": ((128, 128, 128), (165, 165, 170), (100, 105, 110), (185, 190, 195)),
    "white": ((255, 255, 255), (230, 232, 238)),
}
_TO_LAB = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")

# (thing, keyword) where the CLDR's keyword only comes to mind with the thing: a sunflower is not called a sun.
_ASSOCIATIONS = {("sunflower", "sun"), ("octopus", "fish"), ("paintbrush", "painting"), ("pencil", "paintbrush")} | {
    (accessory, "dress") for accessory in ("purse", "handbag", "high heel", "boot")
}


def audit_scene(world: World, scene: Scene) -> list[str]:
    """What makes a scene unfit for questions: hidden, invisible or unplaced things, and names that fit two of them."""
    faults = []
    for thing in scene.objects:
        name = world.nouns[thing.noun].en
        if len(places(thing)) != 1:
            faults.append(f"the {name} is in no clear place of the picture: its box is {box(thing)}")
        seen, visible = look(world, thing.style, thing.noun)
        if thing.colour is not None and thing.colour != seen:
            faults.append(f"the record calls the {name} {thing.colour}, but its pixels look {seen}")
        if scene.ground not in visible:
            faults.append(f"the {name} can hardly be seen on a {scene.ground} ground")
    for a, b in combinations(scene.objects, 2):
        names = world.nouns[a.noun], world.nouns[b.noun]
        if overlap(box(a), box(b)):
            faults.append(f"the {names[0].en} and the {names[1].en} hide each other")
        if a.noun == b.noun or fits(*names) or fits(*reversed(names)):
            faults.append(f"one name fits both the {names[0].en} and the {names[1].en}")
    return faults


# -- boxes ------------------------------------------------------------------------------------------------------------


def box(thing: SceneObject) -> Box:
    """The edges of a thing's box."""
    return thing.x, thing.y, thing.x + thing.size, thing.y + thing.size


def overlap(a: Box, b: Box) -> bool:
    """Whether two boxes share a pixel."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def places(thing: SceneObject) -> list[str]:
    """The quarter that holds the whole box; or the middle, if the box covers it and stays in the picture."""
    edges = box(thing)
    found = [place for place, region in REGIONS.items() if place != "middle" and _inside(edges, region)]
    in_middle = _inside(REGIONS["middle"], edges) and _inside(edges, (0, 0, IMAGE_SIZE, IMAGE_SIZE))
    return found + ["middle"] * in_middle


def gap(other: SceneObject, thing: SceneObject, direction: str) -> int:
    """Pixels between the facing edges, if `other` lies in that direction of `thing`; negative if it does not."""
    a, b = box(other), box(thing)
    return {"left": b[0] - a[2], "right": a[0] - b[2], "above": b[1] - a[3], "below": a[1] - b[3]}[direction]


def beside(other: SceneObject, thing: SceneObject, direction: str) -> bool:
    """Whether `other` lies wholly in that direction and shares rows (or columns), so that it is not diagonal."""
    a, b = box(other), box(thing)
    low, high = (1, 3) if direction in ("left", "right") else (0, 2)
    return gap(other, thing, direction) >= 0 and a[low] < b[high] and b[low] < a[high]


def _inside(inner: Box, outer: Box) -> bool:
    return inner[0] >= outer[0] and inner[1] >= outer[1] and inner[2] <= outer[2] and inner[3] <= outer[3]


# -- pixels -----------------------------------------------------------------------------------------------------------


def _lab(rgb: Any) -> np.ndarray:
    """CIELAB coordinates [n, 3], up to an offset, of colours [n, 3] in 0..255, by Little CMS."""
    picture = Image.new("LAB", (len(rgb), 1))
    _TO_LAB.apply(Image.fromarray(np.asarray(rgb, dtype=np.uint8)[None]), picture)
    channels = [np.asarray(channel, dtype=float)[0] for channel in picture.split()]
    return np.stack(channels, axis=-1) * (100 / 255, 1, 1)


@lru_cache
def _focal_points() -> tuple[np.ndarray, np.ndarray]:
    """The word of each focal colour, and its CIELAB coordinates."""
    words = [word for word, points in FOCAL_COLOURS.items() for _ in points]
    return np.array(words), _lab([point for points in FOCAL_COLOURS.values() for point in points])


@lru_cache
def _ground_points() -> np.ndarray:
    return _lab(list(GROUNDS.values()))


@lru_cache(maxsize=10_000)
def look(world: World, style: str, noun: int) -> tuple[str, frozenset[str]]:
    """The colour word that most pixels of a drawing suggest, and the grounds on which it can be seen."""
    tile = world.tiles[style][noun]
    pixels = _lab(tile[tile[..., 3] > 127][:, :3])[:, None]
    words, points = _focal_points()
    votes = list(words[np.linalg.norm(pixels - points, axis=-1).argmin(axis=1)])
    differs = np.linalg.norm(pixels - _ground_points(), axis=-1) > _VISIBLE_DIFFERENCE
    visible = differs.mean(axis=0) >= _VISIBLE_SHARE
    return max(FOCAL_COLOURS, key=votes.count), frozenset(g for g, seen in zip(GROUNDS, visible, strict=True) if seen)


@lru_cache(maxsize=10_000)
def _seen_share(world: World, style: str, noun: int) -> float:
    rows, columns = np.nonzero(world.tiles[style][noun][..., 3] > _SEEN)
    return float(1 + max(np.ptp(rows), np.ptp(columns))) / world.tiles[style].shape[1]


def seen_side(world: World, thing: SceneObject) -> float:
    """The longer side, in pixels, of what is drawn inside the box."""
    return thing.size * _seen_share(world, thing.style, thing.noun)


# -- names ------------------------------------------------------------------------------------------------------------


@lru_cache
def _keywords() -> dict[str, frozenset[str]]:
    """Emoji id -> what the Unicode CLDR says that people search it by, in English and Chinese."""
    return {emoji["id"]: frozenset(emoji["en_keywords"] + emoji["zh_keywords"]) for emoji in load_emoji()}


@lru_cache(maxsize=200_000)
def fits(name: Noun, thing: Noun) -> bool:
    """Whether a name could be said of another thing: it is a word of that one's name, or a keyword of it."""
    if name.id == thing.id or (thing.en, name.en) in _ASSOCIATIONS:
        return False
    keywords = _keywords().get(thing.id, frozenset())
    called_so = name.category == thing.category and (name.en in keywords or name.zh in keywords)
    return called_so or name.en in thing.en.split()
