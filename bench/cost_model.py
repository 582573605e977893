"""What larger models would cost, by arithmetic alone: `python -m bench.cost_model` prints the table of docs/scaling.md.

The formulas are those of docs/scaling.md; tests hold them against real models and PyTorch's counter of operations.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

TOKENS_PER_PARAMETER = 20  # Hoffmann et al. 2022
BYTES_PER_PARAMETER = 16  # float32: weight, gradient, and two moments of AdamW


@dataclass(frozen=True)
class Size:
    """A model, and the rows it reads: padded length, tokens that are no padding, tokens of answers."""

    width: int
    layers: int
    heads: int
    channels: tuple[int, ...]
    vocabulary: int = 1225
    grid: int = 4  # tokens along a side of a picture
    length: int = 235
    real: int = 164
    answers: int = 47

    @property
    def convolutions(self) -> list[tuple[int, int]]:
        """Weights of each convolution, and how many places it is applied at."""
        side = 4 * self.grid
        first, *inner = self.channels
        found = [(3 * first * 4 * 4, side**2), (9 * first * inner[0], side**2)]
        for inputs, outputs in pairwise((*inner, self.width)):
            found.append((9 * inputs * inputs, side**2))
            side //= 2
            found.append((9 * inputs * outputs, side**2))
        return found

    @property
    def matrices(self) -> int:
        """Weights of the blocks' matrices: 4 d^2 of attention and 8 d^2 of the feed-forward network in each."""
        return 12 * self.layers * self.width**2

    @property
    def parameters(self) -> int:
        norms = self.layers * (2 * self.width + self.heads) + self.width
        batch_norms = 2 * (sum(self.channels) + sum(self.channels[1:]))
        encoder = sum(weights for weights, _ in self.convolutions) + batch_norms + self.grid**2 * self.width
        return self.matrices + norms + 2 * self.vocabulary * self.width + encoder

    @property
    def operations(self) -> dict[str, int]:
        """Floating point operations of forward and backward pass for one picture and its questions."""
        return {
            "encoder": 6 * sum(weights * places for weights, places in self.convolutions),
            "matrices": 6 * self.matrices * self.length,
            "attention": 12 * self.layers * self.width * self.length**2,
            "head": 6 * self.vocabulary * self.width * self.answers,
        }


SIZES = {
    "1x": Size(96, 3, 6, (32, 64, 128)),
    "10x": Size(256, 9, 8, (64, 128, 256)),
    "1,000x": Size(2048, 18, 32, (256, 512, 1024)),
}


def row(name: str, size: Size) -> str:
    """A line of the table, in Markdown."""
    tokens = TOKENS_PER_PARAMETER * size.parameters
    pictures = tokens / size.real
    each = sum(size.operations.values())
    values = (
        f"{size.width} / {size.layers} / {size.heads}",
        f"{size.parameters:,}",
        f"{tokens:.2g}",
        f"{pictures:.2g}",
        f"{each:.2g}",
        f"{each * pictures:.2g}",
        f"{BYTES_PER_PARAMETER * size.parameters / 1e9:.2g} GB",
    )
    return f"| {name} | " + " | ".join(values) + " |"


def main() -> None:
    print("| | width / layers / heads | parameters | tokens | pictures | FLOP a picture | FLOP in all | states |")
    print("|---|---|---|---|---|---|---|---|")
    for name, size in SIZES.items():
        print(row(name, size))
        print("  ", {part: f"{count:.3g}" for part, count in size.operations.items()})


if __name__ == "__main__":
    main()
