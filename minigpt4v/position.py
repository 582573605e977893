"""Positions: attention sees a set of tokens, so order has to be written into them (chapter 06).

Three ways: add fixed waves (`SinusoidalPositions`), add learned vectors (`LearnedPositions`), or turn queries and keys
(`RotaryEmbedding`). The two-dimensional forms place the patches of a picture.
"""

import torch
from einops import rearrange, repeat
from torch import Tensor, nn


def wave_frequencies(width: int, base: float = 10_000.0, device: torch.device | str | None = None) -> Tensor:
    """Frequencies base^(-2i / width) for i = 0 .. width/2 - 1, in radians per position: from 1 down to about 1/base.

    Returns:
        [width / 2], float32.

    Raises:
        ValueError: the width is odd.
    """
    if width < 2 or width % 2:
        raise ValueError(f"positions need an even width (pairs of sine and cosine), got {width}")
    return base ** -(torch.arange(0, width, 2, dtype=torch.float32, device=device) / width)


def sinusoidal_positions(length: int, width: int, base: float = 10_000.0) -> Tensor:
    """Every position as a set of waves: sines in the even channels, cosines in the odd ones.

    Vaswani et al. 2017, "Attention Is All You Need", section 3.5.

    Returns:
        [length, width].

    Raises:
        ValueError: the width is odd.
    """
    angles = torch.arange(length)[:, None] * wave_frequencies(width, base)  # [length, width / 2]
    return rearrange([angles.sin(), angles.cos()], "two t i -> t (i two)")


def sinusoidal_positions_2d(rows: int, columns: int, width: int, base: float = 10_000.0) -> Tensor:
    """Waves for a grid: the first half of the channels tells the row, the second half the column.

    Returns:
        [rows * columns, width], row by row as one reads.

    Raises:
        ValueError: the width is not a multiple of 4.
    """
    if width % 4:
        raise ValueError(f"positions on a grid need a width that is a multiple of 4, got {width}")
    vertical = repeat(sinusoidal_positions(rows, width // 2, base), "r w -> (r c) w", c=columns)
    horizontal = repeat(sinusoidal_positions(columns, width // 2, base), "c w -> (r c) w", r=rows)
    return torch.cat([vertical, horizontal], dim=-1)


class SinusoidalPositions(nn.Module):
    """`sinusoidal_positions` as a layer: nothing to learn, nothing to store in a checkpoint."""

    table: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("table", sinusoidal_positions(length, width), persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Positions [t] or [b, t] below `length` -> vectors [..., width]."""
        check_indices(positions, len(self.table), "position")
        return self.table[positions]


class LearnedPositions(nn.Module):
    """One learned vector per position (Gehring et al. 2017; Radford et al. 2018, the first GPT)."""

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(length, width)

    def forward(self, positions: Tensor) -> Tensor:
        """Positions [t] or [b, t] below `length` -> vectors [..., width]."""
        check_indices(positions, self.table.num_embeddings, "position")
        return self.table(positions)


class LearnedPositions2d(nn.Module):
    """One learned vector per cell of a grid, added to the token that stands there.

    They start at half the size of tokens with a root mean square of 1: seen at once, and not louder than the content.
    """

    def __init__(self, rows: int, columns: int, width: int) -> None:
        super().__init__()
        self.table = nn.Parameter(0.5 * torch.randn(rows, columns, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [b, rows * columns, width], row by row, without and with their places.

        Raises:
            ValueError: the tokens do not fill the grid.
        """
        rows, columns, width = self.table.shape
        if tuple(tokens.shape[-2:]) != (rows * columns, width):
            raise ValueError(
                f"a grid of {rows} x {columns} places needs tokens [b, {rows * columns}, {width}],"
                f" got {list(tokens.shape)}"
            )
        return tokens + rearrange(self.table, "r c w -> (r c) w")


class RotaryEmbedding(nn.Module):
    """Turn queries and keys by an angle that grows with the position, so that their product sees only the distance.

    Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding", equation 15.

    Args:
        head_width: width of one head, even.
        base: the slowest pair turns by about 1 / base radians per position.
    """

    def __init__(self, head_width: int, base: float = 10_000.0) -> None:
        super().__init__()
        wave_frequencies(head_width)  # refuses an odd width now, not at the first call
        self.head_width = head_width
        self.base = base

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        """Turn x [b, h, t, head_width] by positions [t] or [b, t].

        Raises:
            ValueError: the width is not the one given at the start, or there is not one position per token.
        """
        if x.shape[-1] != self.head_width:
            raise ValueError(f"the rotary embedding was built for heads of width {self.head_width}, got {x.shape[-1]}")
        if positions.shape not in ((x.shape[2],), (x.shape[0], x.shape[2])):
            raise ValueError(
                f"{x.shape[0]} x {x.shape[2]} tokens need positions [t] or [b, t], got {list(positions.shape)}"
            )
        frequencies = wave_frequencies(self.head_width, self.base, x.device)
        angles = positions[..., None] * frequencies  # [t, d/2] or [b, t, d/2]
        if angles.ndim == 3:
            angles = rearrange(angles, "b t i -> b 1 t i")
        return apply_rotary(x, angles)


def apply_rotary(x: Tensor, angles: Tensor) -> Tensor:
    """Turn each pair of channels (i, i + d/2) in its plane by its angle.

    The paper pairs neighbours (2i, 2i + 1); pairing the two halves, as Llama does, is the same up to a fixed order of
    the channels, and needs no interleaving.

    Args:
        x: [..., t, d].
        angles: radians, broadcasts to [..., t, d / 2].

    Returns:
        [..., t, d]: same lengths, new directions.

    Raises:
        ValueError: there is not one angle per pair.
    """
    if 2 * angles.shape[-1] != x.shape[-1]:
        raise ValueError(f"width {x.shape[-1]} needs {x.shape[-1] // 2} angles per token, got {angles.shape[-1]}")
    first, second = x.chunk(2, dim=-1)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def check_indices(indices: Tensor, count: int, name: str) -> None:
    """Refuse indices that are not whole numbers in 0 .. count - 1.

    Values are looked at on the CPU only: a GPU would have to finish all queued work to answer. While a graph is
    exported there are none.
    """
    if indices.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"a {name} must be a whole number, got {indices.dtype}: use indices.long()")
    if indices.device.type == "cpu" and not torch.compiler.is_exporting() and indices.numel():
        low, high = indices.aminmax()
        if low < 0 or high >= count:
            wrong = int(low) if low < 0 else int(high)
            raise ValueError(f"{name} {wrong} is outside 0..{count - 1}")
