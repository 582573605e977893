"""From scene records to pictures, many at a time, on any device.

Every drawing is resampled to its box (bilinear, as `torch.nn.functional.grid_sample` does it) and laid over what is
already there: new = alpha * drawing + (1 - alpha) * old, with colours premultiplied by alpha (Porter & Duff, 1984).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange, repeat

from minigpt4v.datasets.scenes import GROUNDS, IMAGE_SIZE, Scene, SceneObject, World

NOISE_WIDTH = 7
"""Numbers of noise a drawing: turn, stretch, saturation, brightness, and the balance of red, green and blue."""

# how far the augmentation goes at most
_TURN = 0.15  # radians, about 9 degrees
_STRETCH = 0.1
_SATURATION = 0.35
_BRIGHTNESS = 0.12
_BALANCE = 0.06
_GROUND_SHADE = 0.04

_WINDOWS = (32, IMAGE_SIZE)  # drawings are resampled in windows of the smallest side that holds them


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
        self.tiles = torch.cat([tiles[:, :, :3] * tiles[:, :, 3:], tiles[:, :, 3:]], dim=2)  # premultiplied

    def __call__(self, scenes: Sequence[Scene], noise: torch.Tensor | None = None) -> torch.Tensor:
        """Pictures [len(scenes), 3, 64, 64] of float32 in 0..1."""
        grounds = torch.tensor([GROUNDS[scene.ground] for scene in scenes], device=self.device) / 255
        if noise is not None:
            noise = noise.to(self.device)
            grounds = (grounds + _GROUND_SHADE * noise[:, 0, :3]).clamp(0, 1)
        # a margin on the right and below, so that every window fits; it is cut off at the end
        canvas = repeat(grounds, "b c -> b y x c", y=2 * IMAGE_SIZE, x=2 * IMAGE_SIZE).contiguous()
        for slot in range(max((len(scene.objects) for scene in scenes), default=0)):
            for low, window in zip((0, *_WINDOWS), _WINDOWS, strict=False):
                rows = [
                    i for i, s in enumerate(scenes) if len(s.objects) > slot and low < s.objects[slot].size <= window
                ]
                if rows:
                    things = [scenes[i].objects[slot] for i in rows]
                    self._draw(canvas, rows, things, window, None if noise is None else noise[rows, 1 + slot])
        return rearrange(canvas[:, :IMAGE_SIZE, :IMAGE_SIZE], "b y x c -> b c y x").contiguous()

    def _draw(
        self,
        canvas: torch.Tensor,
        rows: list[int],
        things: list[SceneObject],
        window: int,
        noise: torch.Tensor | None,
    ) -> None:
        """Lay one thing each over the rows of a canvas [b, 128, 128, 3], in place. noise: [things, NOISE_WIDTH]."""
        record = [(self.styles[t.style], t.noun, t.x, t.y, t.size, t.flipped) for t in things]
        style, noun, x, y, size, flipped = torch.tensor(record, device=self.device).unbind(1)
        drawings = self.tiles[style, noun]  # [m, 4, 32, 32]
        grid = _sampling_grid(size, flipped, window)
        if noise is not None:
            drawings = _shift_colours(drawings, noise[:, 2:])
            grid = _turn_and_stretch(grid, noise[:, :2])
        drawings = F.grid_sample(drawings, grid, align_corners=False, padding_mode="zeros")
        drawings = rearrange(drawings, "m c y x -> m y x c")
        row, steps = torch.tensor(rows, device=self.device), torch.arange(window, device=self.device)
        where = (row[:, None, None], (y[:, None] + steps)[:, :, None], (x[:, None] + steps)[:, None, :])
        canvas[where] = drawings[..., :3] + (1 - drawings[..., 3:]) * canvas[where]


def draw_noise(count: int, seed: int, things: int = 4) -> torch.Tensor:
    """Noise for the augmentation of `count` pictures: uniform in -1..1, [count, 1 + things, NOISE_WIDTH].

    Drawn on the CPU, so that every device sees the same numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    return 2 * torch.rand(count, 1 + things, NOISE_WIDTH, generator=generator) - 1


def _sampling_grid(size: torch.Tensor, flipped: torch.Tensor, window: int) -> torch.Tensor:
    """Where in its tile (-1..1) each pixel of a window looks, [m, window, window, 2]; beyond is transparent."""
    steps = torch.arange(window, device=size.device) + 0.5
    along = 2 * steps / size[:, None] - 1  # [m, window]
    sign = 1 - 2 * flipped[:, None].float()
    horizontal, vertical = (along * sign)[:, None, :], along[:, :, None]
    return torch.stack(torch.broadcast_tensors(horizontal, vertical), dim=-1)


def _turn_and_stretch(grid: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    angle, stretch = _TURN * noise[:, 0, None, None], 1 + _STRETCH * noise[:, 1, None, None]
    horizontal, vertical = grid.unbind(-1)
    turned = angle.cos() * horizontal - angle.sin() * vertical
    return torch.stack([turned * stretch, angle.sin() * horizontal + angle.cos() * vertical], dim=-1)


def _shift_colours(drawings: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
    """Drawings [m, 4, y, x], premultiplied, each with its own change of saturation, brightness and colour balance."""
    noise = noise[:, :, None, None]
    colour, alpha = drawings[:, :3], drawings[:, 3:]
    grey = colour.mean(1, keepdim=True)
    saturation, shift = 1 + _SATURATION * noise[:, :1], _BRIGHTNESS * noise[:, 1:2] + _BALANCE * noise[:, 2:]
    colour = grey + saturation * (colour - grey) + shift * alpha
    return torch.cat([torch.minimum(colour.clamp(min=0), alpha), alpha], dim=1)
