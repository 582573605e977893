"""From scene records to pictures, many at a time, on any device.

Every drawing is resampled to its box (bilinear, as `torch.nn.functional.grid_sample` does it) and laid over what is
already there: new = alpha * drawing + (1 - alpha) * old, with colours premultiplied by alpha (Porter & Duff, 1984).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from minigpt4v.datasets.scenes import GROUNDS, IMAGE_SIZE, Scene, World

NOISE_WIDTH = 7
"""Numbers of noise a drawing: turn, stretch, saturation, brightness, and the balance of red, green and blue."""

# how far the augmentation goes at most
_TURN = 0.15  # radians, about 9 degrees
_STRETCH = 0.1
_SATURATION = 0.35
_BRIGHTNESS = 0.12
_BALANCE = 0.06
_GROUND_SHADE = 0.04

_WINDOWS = (IMAGE_SIZE // 2, IMAGE_SIZE)  # drawings are resampled in windows of the smallest side that holds them
_OUTSIDE = -2.0  # in a tile that spans -1..1; beyond its corners, however it is turned and stretched


class Renderer:
    """Draws scenes of one world.

    With noise from `draw_noise` every picture is *augmented*: each drawing is turned and stretched a little, its
    colours and the shade of the ground are shifted, so that a model cannot lean on one style's exact look.
    """

    def __init__(self, world: World, device: str | torch.device = "cpu"):
        self.device = torch.device(device)
        self.styles = {style: i for i, style in enumerate(world.tiles)}
        tiles = torch.stack([torch.from_numpy(tiles) for tiles in world.tiles.values()]).to(self.device)
        tiles = rearrange(tiles.float() / 255, "style noun y x channel -> style noun channel y x")
        tiles = torch.cat([tiles[:, :, :3] * tiles[:, :, 3:], tiles[:, :, 3:]], dim=2)  # premultiplied
        self.nouns = tiles.shape[1]
        self.tiles = rearrange(tiles, "style noun channel y x -> (style noun) channel y x")

    def __call__(self, scenes: Sequence[Scene], noise: torch.Tensor | None = None) -> torch.Tensor:
        """Pictures [len(scenes), 3, 64, 64] of float32 in 0..1."""
        grounds = torch.tensor([GROUNDS[scene.ground] for scene in scenes], device=self.device) / 255
        if noise is not None:
            noise = noise.to(self.device)
            grounds = (grounds + _GROUND_SHADE * noise[:, 0, :3]).clamp(0, 1)
        canvas = repeat(grounds, "b c -> b c y x", y=IMAGE_SIZE, x=IMAGE_SIZE).contiguous()
        layers = [
            self._drawings(scenes, window, larger_than, noise)
            for larger_than, window in zip((0, *_WINDOWS), _WINDOWS, strict=False)
        ]
        for slot in range(max((len(scene.objects) for scene in scenes), default=0)):
            for layer in layers:
                layer.lay_over(canvas, slot)
        return canvas

    def _drawings(
        self, scenes: Sequence[Scene], window: int, larger_than: int, noise: torch.Tensor | None
    ) -> _Drawings:
        """All things of the scenes whose size asks for this window, resampled."""
        record = sorted(
            (slot, row, self.styles[t.style], t.noun, t.y, t.x, t.size, t.flipped)
            for row, scene in enumerate(scenes)
            for slot, t in enumerate(scene.objects)
            if larger_than < t.size <= window
        )
        table = torch.tensor(record, dtype=torch.int64, device=self.device).view(-1, 8)
        slot, row, style, noun, y, x, size, flipped = table.unbind(1)
        drawings = self.tiles.index_select(0, style * self.nouns + noun)  # [m, 4, 32, 32]
        top, left = y.clamp(max=IMAGE_SIZE - window), x.clamp(max=IMAGE_SIZE - window)  # a window stays in the picture
        down = _along(top - y, size, window)
        across = _along(left - x, size, window) * (1 - 2 * flipped[:, None])
        if noise is None:
            grid = _sampling_grid(across, down)
        else:
            mine = noise[row, 1 + slot]
            _shift_colours(drawings, mine[:, 2:])
            grid = _sampling_grid(across, down, angle=_TURN * mine[:, 0], stretch=1 + _STRETCH * mine[:, 1])
        drawings = F.grid_sample(drawings, grid, align_corners=False, padding_mode="zeros")
        return _Drawings([slot for slot, *_ in record], row, top, left, drawings)


class _Drawings(NamedTuple):
    """Resampled drawings of many pictures, ordered by the slot of the thing in its scene."""

    slots: list[int]
    row: torch.Tensor  # [m], number of the picture
    top: torch.Tensor  # [m], of the window
    left: torch.Tensor
    drawings: torch.Tensor  # [m, 4, window, window], premultiplied

    def lay_over(self, canvas: torch.Tensor, slot: int) -> None:
        """Lay the things of one slot, at most one a picture, over a canvas [b, 3, 64, 64], in place."""
        mine = slice(bisect_left(self.slots, slot), bisect_right(self.slots, slot))
        colour, alpha = self.drawings[mine].split((3, 1), dim=1)
        # all windows of the canvas, a view [b, 3, top, left, y, x]: to index it moves whole rows of pixels at a time
        windows = canvas.unfold(2, colour.shape[2], 1).unfold(3, colour.shape[3], 1)
        where = (self.row[mine], slice(None), self.top[mine], self.left[mine])
        windows[where] = windows[where].mul_(1 - alpha).add_(colour)


def draw_noise(count: int, seed: int, things: int = 4) -> torch.Tensor:
    """Noise for the augmentation of `count` pictures: uniform in -1..1, [count, 1 + things, NOISE_WIDTH].

    Drawn on the CPU, so that every device sees the same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 1 + things, NOISE_WIDTH, generator=generator) - 1


def _along(start: torch.Tensor, size: torch.Tensor, window: int) -> torch.Tensor:
    """Where in its tile (-1..1) each pixel of a window looks, along one axis: [m, window]; beyond is transparent.

    start: how far the window begins before (< 0) the box, in pixels; what lies before the box stays as it is.
    """
    steps = start[:, None] + torch.arange(window, device=size.device) + 0.5
    return (2 * steps / size[:, None] - 1).where(steps > 0, _OUTSIDE)


def _sampling_grid(
    across: torch.Tensor, down: torch.Tensor, angle: torch.Tensor | None = None, stretch: torch.Tensor | None = None
) -> torch.Tensor:
    """Where in its tile each pixel of a window looks, [m, window, window, 2], for both axes' [m, window]."""
    horizontal, vertical = across[:, None, :], down[:, :, None]
    if angle is not None and stretch is not None:
        cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
        horizontal, vertical = cos * horizontal - sin * vertical, sin * horizontal + cos * vertical
        horizontal *= stretch[:, None, None]
    grid = across.new_empty(len(across), across.shape[1], across.shape[1], 2)
    grid[..., 0], grid[..., 1] = horizontal, vertical  # several times as fast as torch.stack on a CPU
    return grid


def _shift_colours(drawings: torch.Tensor, noise: torch.Tensor) -> None:
    """Change saturation, brightness and colour balance of drawings [m, 4, y, x], premultiplied, each its own way."""
    noise = noise[:, :, None, None]
    colour, alpha = drawings.split((3, 1), dim=1)
    grey = colour.mean(1, keepdim=True)
    saturation, shift = 1 + _SATURATION * noise[:, :1], _BRIGHTNESS * noise[:, 1:2] + _BALANCE * noise[:, 2:]
    colour.sub_(grey).mul_(saturation).add_(grey).add_(shift * alpha).clamp_(min=0)
    torch.minimum(colour, alpha, out=colour)
