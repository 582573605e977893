"""Eyes: a picture becomes a short row of tokens as wide as the words (chapters 09 and 10).

Letters in shape comments: b pictures, c colour channels, r x q the grid of tokens, p x s the pixels of one patch.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn

from minigpt4v.attention import check_heads, unit_scale
from minigpt4v.block import (
    LEAST_TENSORS,
    BlockConfig,
    TransformerBlock,
    check_choice,
    check_counts,
    initialise,
    make_norm,
)
from minigpt4v.position import LearnedPositions2d
from minigpt4v.weights import Size

KINDS = ("conv", "patch")


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The size and the make of an encoder.

    Attributes:
        width: width of the tokens, that of the text model.
        image_size: height and width of the pictures, in pixels.
        kind: "conv" (`ConvEncoder`) or "patch" (`PatchEncoder`).
        patch_size: one token stands for patch_size x patch_size pixels.
        channels: conv only: widths inside, one for a patch size of 4, two for 8, three for 16.
        layers: patch only: number of transformer blocks.
        heads: patch only: attention heads.
    """

    width: int
    image_size: int = 64
    kind: str = "conv"
    patch_size: int = 16
    channels: tuple[int, ...] = (32, 64, 128)
    layers: int = 2
    heads: int = 4

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))  # JSON has no tuples
        check_counts(self, "width", "image_size", "patch_size", "layers", "heads")
        check_choice(self, "kind", KINDS)
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        if not all(type(count) is int and count > 0 for count in self.channels):
            raise ValueError(f"channels must be positive whole numbers, got {self.channels}")
        if self.kind == "patch":
            check_heads(self.width, self.heads)
        elif not self.channels or self.patch_size != 2 ** (len(self.channels) + 1):
            raise ValueError(
                f"patch_size {self.patch_size} does not fit {len(self.channels)} channel counts {self.channels}:"
                " 4 pixels need one, 8 two, 16 three"
            )

    @property
    def grid_size(self) -> int:
        """Number of tokens along one side of a picture."""
        return self.image_size // self.patch_size

    @property
    def tokens(self) -> int:
        """Number of tokens a picture becomes."""
        return self.grid_size**2

    @property
    def least_size(self) -> Size:
        """What an encoder of this config has at least: its places, and its matrices or kernels."""
        places = self.tokens * self.width
        if self.kind == "conv":
            kernels = sum(9 * inputs * outputs for inputs, outputs in pairwise((*self.channels, self.width)))
            return Size(len(self.channels) + 1, places + kernels)
        blocks = self.layers * BlockConfig(width=self.width, heads=self.heads).least_numbers
        return Size(LEAST_TENSORS * self.layers + 1, places + 3 * self.patch_size**2 * self.width + blocks)


class ConvEncoder(nn.Module):
    """Convolutions that end in a coarse grid, one token per cell, then a learned position for each.

    Early convolutions see better than one big linear patch (Xiao et al. 2021, "Early Convolutions Help Transformers See
    Better").
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        widths = (*config.channels, config.width)
        layers: list[nn.Module] = [  # a norm follows every convolution, so none needs a bias
            nn.Conv2d(3, widths[0], kernel_size=4, stride=4, bias=False),  # a quarter of the size
            nn.BatchNorm2d(widths[0]),
            nn.GELU(),
            nn.Conv2d(widths[0], widths[1], kernel_size=3, padding=1, bias=False),  # look around
        ]
        for inputs, outputs in pairwise(widths[1:]):
            layers += [
                nn.BatchNorm2d(inputs),
                nn.GELU(),
                nn.Conv2d(inputs, inputs, kernel_size=3, padding=1, bias=False),  # look around
                nn.BatchNorm2d(inputs),
                nn.GELU(),
                nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1, bias=False),  # half the size
            ]
        self.convolutions = nn.Sequential(*layers)
        self.positions = LearnedPositions2d(config.grid_size, config.grid_size, config.width)

    def features(self, images: Tensor) -> Tensor:
        """What is seen, without where: pictures [b, 3, height, width] in 0..1 -> tokens [b, n, width] of size 1.

        Any height and width that are multiples of the patch size.

        Raises:
            ValueError, TypeError: as in `forward`.
        """
        check_images(images, self.config.patch_size)
        grid = self.convolutions(2 * images - 1)
        return unit_scale(rearrange(grid, "b w r q -> b (r q) w"))

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [b, 3, image_size, image_size] in 0..1 -> tokens [b, tokens, width], row by row.

        Raises:
            ValueError: the pictures have another shape.
            TypeError: they are not floating-point numbers.
        """
        check_image_size(images, self.config.image_size)
        return self.positions(self.features(images))


class PatchEncoder(nn.Module):
    """A vision transformer: patches, one linear map, positions, blocks in which every patch sees every other.

    Dosovitskiy et al. 2021, "An Image is Worth 16x16 Words".
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embedding = nn.Linear(3 * config.patch_size**2, config.width)
        self.positions = LearnedPositions2d(config.grid_size, config.grid_size, config.width)
        block = BlockConfig(width=config.width, heads=config.heads)
        self.blocks = nn.ModuleList(TransformerBlock(block) for _ in range(config.layers))
        self.norm = make_norm(block.norm, config.width)
        initialise(self)

    def features(self, images: Tensor) -> Tensor:
        """The same as `forward`: here content and place are mixed from the start."""
        return self(images)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures [b, 3, image_size, image_size] in 0..1 -> tokens [b, tokens, width], row by row.

        Raises:
            ValueError: the pictures have another shape.
            TypeError: they are not floating-point numbers.
        """
        check_images(images, self.config.patch_size)
        check_image_size(images, self.config.image_size)
        patches = patchify(2 * images - 1, self.config.patch_size)
        x = self.positions(unit_scale(self.patch_embedding(patches)))
        everybody = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
        for block in self.blocks:
            x = block(x, everybody)
        return self.norm(x)


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut pictures [b, c, height, width] into patches [b, n, c * patch_size^2], row by row as one reads.

    Raises:
        ValueError: height or width is not a multiple of the patch size.
    """
    height, width = images.shape[-2:]
    if height % patch_size or width % patch_size:
        raise ValueError(f"{height} x {width} pixels cannot be cut into patches of {patch_size} x {patch_size}: resize")
    return rearrange(images, "b c (r p) (q s) -> b (r q) (c p s)", p=patch_size, s=patch_size)


def make_encoder(config: VisionConfig) -> ConvEncoder | PatchEncoder:
    """The encoder a config asks for."""
    return ConvEncoder(config) if config.kind == "conv" else PatchEncoder(config)


def check_images(images: Tensor, patch_size: int) -> None:
    """Refuse what is not a batch of colour pictures in 0..1 with sides that are multiples of the patch size."""
    if not images.is_floating_point():
        raise TypeError(f"pictures must be floating-point numbers in 0..1, got {images.dtype}: images.float() / 255")
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"pictures must be [b, 3, height, width], got {list(images.shape)}")
    if images.shape[2] % patch_size or images.shape[3] % patch_size:
        raise ValueError(f"height and width must be multiples of {patch_size} pixels, got {list(images.shape[2:])}")


def check_image_size(images: Tensor, image_size: int) -> None:
    """Refuse pictures of another size than the encoder has positions for."""
    if tuple(images.shape[-2:]) != (image_size, image_size):
        raise ValueError(f"pictures must be {image_size} x {image_size} pixels, got {list(images.shape[-2:])}: resize")
