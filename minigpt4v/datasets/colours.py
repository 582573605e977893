"""Names for colours: from the pixels of a drawing to one of eleven words, or to no word at all.

The eleven basic colour terms of English (Berlin & Kay, "Basic Color Terms", 1969) all have a plain Chinese word.
Two styles draw the same thing in different colours - a heart may be red here and pink there - so a colour question
is answered from the pixels that are drawn, never from the name of the thing.
"""

from __future__ import annotations

import numpy as np

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "grey", "white")

# Hue intervals in degrees, the least saturation and the least value. What lies between them belongs to no name: a pixel
# that people would argue about (coral, crimson, tan, indigo, the green of a pear) does not vote.
_HUES = {
    "red": (((0, 9), (346, 360)), 0.65, 0.4),
    "orange": (((20, 40),), 0.7, 0.8),
    "yellow": (((45, 60),), 0.4, 0.7),
    "green": (((80, 165),), 0.4, 0.4),
    "blue": (((190, 225),), 0.4, 0.4),
    "purple": (((262, 300),), 0.4, 0.4),
}


def hsv(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue in degrees, saturation and value in 0..1 of an array of colours [..., 3] in 0..1 (Smith, 1978)."""
    value, low = rgb.max(-1), rgb.min(-1)
    chroma = value - low
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    safe = np.where(chroma == 0, 1, chroma)
    hue = np.where(
        value == red,
        (green - blue) / safe % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    saturation = chroma / np.where(value == 0, 1, value)
    return hue * 60, saturation, value


def name_pixels(rgb: np.ndarray) -> np.ndarray:
    """The index into `COLOURS` of each colour [..., 3] in 0..1, or -1 where no name is clear. Shape [...]."""
    hue, saturation, value = hsv(np.asarray(rgb, dtype=np.float64))
    names = np.full(hue.shape, -1)
    for colour, (intervals, least_saturation, least_value) in _HUES.items():
        vivid = (saturation > least_saturation) & (value > least_value)
        for low, high in intervals:
            names[vivid & (hue >= low) & (hue <= high)] = COLOURS.index(colour)
    names[(saturation > 0.4) & (value > 0.2) & (value < 0.68) & (hue >= 8) & (hue <= 42)] = COLOURS.index("brown")
    pale_red = (saturation > 0.2) & (saturation < 0.55) & (value > 0.8) & ((hue >= 310) | (hue <= 8))
    strong_pink = (saturation > 0.4) & (value > 0.7) & (hue >= 310) & (hue < np.where(saturation > 0.8, 335, 346))
    names[pale_red | strong_pink] = COLOURS.index("pink")
    names[(value < 0.25)] = COLOURS.index("black")
    plain = saturation < 0.15
    names[plain & (value >= 0.4) & (value < 0.8)] = COLOURS.index("grey")
    names[plain & (value > 0.9)] = COLOURS.index("white")
    return names


def dominant_colour(tile: np.ndarray, share: float = 0.5) -> str | None:
    """The colour word that fits at least `share` of a drawing's opaque pixels, or None where no word does.

    tile: uint8 RGBA [height, width, 4].
    """
    opaque = tile[tile[..., 3] > 127][:, :3] / 255
    if not len(opaque):
        return None
    names = name_pixels(opaque)
    counts = np.bincount(names[names >= 0], minlength=len(COLOURS))
    best = int(counts.argmax())
    return COLOURS[best] if counts[best] >= share * len(opaque) else None
