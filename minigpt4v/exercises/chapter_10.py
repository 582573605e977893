"""Exercises of chapter 10: the patch encoder."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "The patch encoder"


def size_of_a_sentence(height: int, width: int, patch_size: int, token_width: int) -> tuple[int, int]:
    """(number of tokens, numbers to learn in the linear layer that makes them of a colour picture)."""
    tokens = (height // patch_size) * (width // patch_size)
    inputs = 3 * patch_size**2
    return tokens, inputs * token_width + token_width  # weights and biases


def _grey_patches(height: int, width: int, patch_size: int, token_width: int) -> tuple[int, int]:
    return (height // patch_size) * (width // patch_size), (patch_size**2 + 1) * token_width


def _no_biases(height: int, width: int, patch_size: int, token_width: int) -> tuple[int, int]:
    return (height // patch_size) * (width // patch_size), 3 * patch_size**2 * token_width


def _tokens_of_a_square(height: int, width: int, patch_size: int, token_width: int) -> tuple[int, int]:  # noqa: ARG001
    return (width // patch_size) ** 2, (3 * patch_size**2 + 1) * token_width


def _a_layer_for_each_place(height: int, width: int, patch_size: int, token_width: int) -> tuple[int, int]:
    tokens = (height // patch_size) * (width // patch_size)
    return tokens, tokens * (3 * patch_size**2 + 1) * token_width


def picture_from_patches(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:
    """Patches [b, n, 3 * patch_size^2] as `patchify` cuts them -> pictures [b, 3, height, width]."""
    return rearrange(
        patches,
        "b (r q) (c p s) -> b c (r p) (q s)",
        r=height // patch_size,
        q=width // patch_size,
        p=patch_size,
        s=patch_size,
    )


def _rows_as_many_as_columns(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:  # noqa: ARG001
    rows = width // patch_size  # counted along the wrong side
    return rearrange(patches, "b (r q) (c p s) -> b c (r p) (q s)", r=rows, p=patch_size, s=patch_size, c=3)


def _colours_last(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:  # noqa: ARG001
    rows = height // patch_size
    return rearrange(patches, "b (r q) (p s c) -> b c (r p) (q s)", r=rows, p=patch_size, s=patch_size, c=3)


def _patches_turned(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:  # noqa: ARG001
    rows = height // patch_size
    return rearrange(patches, "b (r q) (c p s) -> b c (r s) (q p)", r=rows, p=patch_size, s=patch_size, c=3)


def _combed(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:  # noqa: ARG001
    rows = height // patch_size
    return rearrange(patches, "b (r q) (c p s) -> b c (p r) (s q)", r=rows, p=patch_size, s=patch_size, c=3)


def _column_by_column(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:  # noqa: ARG001
    rows = height // patch_size
    return rearrange(patches, "b (q r) (c p s) -> b c (r p) (q s)", r=rows, p=patch_size, s=patch_size, c=3)


def _in_one_row(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:  # noqa: ARG001
    return patches.reshape(len(patches), 3, height, width)


def kernel_of(weight: Tensor, patch_size: int) -> Tensor:
    """Weights [width, 3 * patch_size^2] of the layer on patches -> the kernel [width, 3, patch_size, patch_size]."""
    return rearrange(weight, "w (c p s) -> w c p s", p=patch_size, s=patch_size)


def _kernel_of_colours_last(weight: Tensor, patch_size: int) -> Tensor:
    return rearrange(weight, "w (p s c) -> w c p s", p=patch_size, s=patch_size)


def _turned_kernel(weight: Tensor, patch_size: int) -> Tensor:
    return rearrange(weight, "w (c p s) -> w c s p", p=patch_size, s=patch_size)


def _flipped_kernel(weight: Tensor, patch_size: int) -> Tensor:
    return kernel_of(weight, patch_size).flip(-1, -2)


def resize_positions(table: Tensor, rows: int, columns: int) -> Tensor:
    """Learned places [r, c, width] for another grid, [rows, columns, width], by bilinear interpolation."""
    picture = rearrange(table, "r c w -> 1 w r c")  # the width takes the place of the colours
    resized = F.interpolate(picture, size=(rows, columns), mode="bilinear", align_corners=False)
    return rearrange(resized, "1 w r c -> r c w")


def _interpolated_along_the_width(table: Tensor, rows: int, columns: int) -> Tensor:
    """The table is taken for a picture [1, r, c, w] as it stands."""
    resized = F.interpolate(table[None], size=(columns, table.shape[-1]), mode="bilinear", align_corners=False)
    return resized[0, :rows]


def _reshaped_on_the_way_in(table: Tensor, rows: int, columns: int) -> Tensor:
    picture = table.reshape(1, table.shape[2], table.shape[0], table.shape[1])
    resized = F.interpolate(picture, size=(rows, columns), mode="bilinear", align_corners=False)
    return rearrange(resized, "1 w r c -> r c w")


def _rows_and_columns_swapped(table: Tensor, rows: int, columns: int) -> Tensor:
    picture = rearrange(table, "r c w -> 1 w c r")
    resized = F.interpolate(picture, size=(rows, columns), mode="bilinear", align_corners=False)
    return rearrange(resized, "1 w r c -> r c w")


def _as_a_line(table: Tensor, rows: int, columns: int) -> Tensor:
    line = rearrange(table, "r c w -> 1 w (r c)")
    resized = F.interpolate(line, size=rows * columns, mode="linear", align_corners=False)
    return rearrange(resized, "1 w (r c) -> r c w", r=rows)


def _nearest(table: Tensor, rows: int, columns: int) -> Tensor:
    picture = rearrange(table, "r c w -> 1 w r c")
    return rearrange(F.interpolate(picture, size=(rows, columns), mode="nearest"), "1 w r c -> r c w")


def _corners_aligned(table: Tensor, rows: int, columns: int) -> Tensor:
    picture = rearrange(table, "r c w -> 1 w r c")
    resized = F.interpolate(picture, size=(rows, columns), mode="bilinear", align_corners=True)
    return rearrange(resized, "1 w r c -> r c w")


def _all_patches() -> list[tuple[Tensor, int, int, int]]:
    shapes = ((4, 8, 8), (2, 4, 8), (4, 12, 8))
    return [(torch.randn(2, (h // p) * (w // p), 3 * p * p), p, h, w) for p, h, w in shapes]


def _tables() -> list[tuple[Tensor, int, int]]:
    return [(torch.randn(4, 4, 6), 8, 8), (torch.randn(2, 4, 5), 3, 6), (torch.randn(3, 3, 4), 3, 3)]


EXERCISES = (
    Exercise(
        id="10.1",
        title="How long is the sentence?",
        difficulty=1,
        minutes=5,
        task="""
            Write `size_of_a_sentence(height, width, patch_size, token_width)`. A **colour** picture of `height` x
            `width` pixels is cut into patches, and a linear layer with biases makes each a token of `token_width`
            numbers. All four are whole numbers, and the patches fit. Give back a pair: the number of tokens, and the
            number of numbers to learn in that linear layer.
        """,
        hint="How many numbers are in one patch? The layer turns that many into `token_width`, for every patch alike.",
        help="Pictures need not be square. For 64 x 64 pixels, patches of 16 and width 96 the pair is (16, 73824).",
        solution=size_of_a_sentence,
        inputs=lambda: [(64, 64, 16, 96), (64, 64, 8, 64), (32, 96, 16, 10), (224, 224, 16, 768)],
        mistakes=(
            Mistake(
                _grey_patches,
                "The number of tokens is right, the layer too small: each pixel of a colour picture is more than one"
                " number.",
            ),
            Mistake(_no_biases, "The number of tokens is right, the weights too; the biases are not counted."),
            Mistake(
                _tokens_of_a_square,
                "Right for square pictures only: count the patches along both sides and multiply.",
            ),
            Mistake(
                _a_layer_for_each_place,
                "The number of tokens is right. But there is *one* layer, used for every patch, as one word embedding"
                " serves every place of a text: its size does not depend on how many patches there are.",
            ),
        ),
    ),
    Exercise(
        id="10.2",
        title="Predict: a shuffled picture",
        difficulty=2,
        minutes=4,
        task="""
            `name` is a trained `PatchEncoder` **whose table of positions is all zeros**, then the mean over its tokens,
            then a linear layer that scores the names. A picture is cut into patches, the patches are put back in random
            order, and `name` is asked about both pictures. What becomes of the scores?

            - `"a"`: they stay the same (but for rounding)
            - `"b"`: they change, because attention is computed between other neighbours
            - `"c"`: they change in the first block, and the mean over tokens makes up for part of it
        """,
        hint="What does a block do to shuffled tokens, if nothing tells it the order? And what does a mean do to them?",
        help="Section 3 shuffles the tokens of an encoder without positions, and compares.",
        solution="a",
        mistakes=(
            Mistake(
                "b",
                "Attention has no neighbours: every patch looks at every other, and only at what they hold. Where they"
                " stand comes in through the positions alone, and these are zero.",
            ),
            Mistake(
                "c",
                "No block changes anything but the order: each token comes out with its old vector, at its new place."
                " The mean has nothing to make up for.",
            ),
        ),
    ),
    Exercise(
        id="10.3",
        title="Put the picture together again",
        difficulty=2,
        minutes=8,
        task="""
            Write `picture_from_patches(patches, patch_size, height, width)`: the way back from `patchify`. `patches`
            `[b, n, 3 * patch_size**2]` are read row by row, and in each the colours come first, then the rows of its
            pixels, then the columns: `(c p s)`. Give back `[b, 3, height, width]`. Pictures need not be square. Use
            `rearrange`.
        """,
        hint="Write down the pattern of `patchify` (section 1) and swap its sides. Which lengths must einops be told?",
        help='`"b (r q) (c p s) -> b c (r p) (q s)"` has two brackets with unknown lengths: give as many of r, q, p, s'
        " as are needed. How many patches are there from top to bottom?",
        solution=picture_from_patches,
        inputs=_all_patches,
        mistakes=(
            Mistake(
                _rows_as_many_as_columns,
                "Right for square pictures only: the number of *rows* of patches comes from the height.",
            ),
            Mistake(
                _colours_last,
                "Every patch is in its place, its colours are mixed up: inside a patch all numbers of the first colour"
                " come first, `(c p s)`.",
            ),
            Mistake(
                _patches_turned,
                "Every patch is in its place, but mirrored along its diagonal: rows and columns inside a patch are"
                " swapped.",
            ),
            Mistake(
                _combed,
                "The picture is combed: the pixels of one patch lie far apart. In `(r p)` the name that runs fastest"
                " stands last; neighbours in a patch are to be neighbours in the picture.",
            ),
            Mistake(
                _column_by_column,
                "Each patch is whole, but laid down column by column: `(q r)` counts the rows fastest. `patchify` reads"
                " as we do, to the right first and then down.",
            ),
            Mistake(
                _in_one_row,
                "A reshape alone gives the right shape and keeps the order in memory: patch after patch. In a picture"
                " the first row of pixels runs through *all* patches of the first row.",
            ),
        ),
    ),
    Exercise(
        id="10.4",
        title="The same layer as a convolution",
        difficulty=3,
        minutes=6,
        task="""
            Write `kernel_of(weight, patch_size)`: `weight` `[width, 3 * patch_size**2]` belongs to the `nn.Linear` that
            reads the patches of `patchify`. Give back the kernel `[width, 3, patch_size, patch_size]` of an `nn.Conv2d`
            whose kernel size and stride are `patch_size`, so that both give the same numbers. Use `rearrange`.
        """,
        hint="The columns of `weight` stand in the order in which `patchify` lays out one patch.",
        help="`patchify` ends in `(c p s)`; a kernel is [outputs, inputs, height, width].",
        solution=kernel_of,
        inputs=lambda: [(torch.randn(width, 3 * p * p), p) for width, p in ((5, 4), (7, 2))],
        mistakes=(
            Mistake(
                _kernel_of_colours_last,
                "The columns are read as if the colours of each pixel stood together: in these patches the colours run"
                " *slowest*.",
            ),
            Mistake(_turned_kernel, "Rows and columns of the kernel are swapped: it would fit turned patches."),
            Mistake(
                _flipped_kernel,
                "The kernel is turned by half a turn, as mathematics defines a convolution. PyTorch's does not turn it"
                " (chapter 09).",
            ),
        ),
    ),
    Exercise(
        id="10.5",
        title="A larger picture for a trained encoder",
        difficulty=4,
        minutes=12,
        task="""
            An encoder was trained on a grid of r x c patches and shall read larger pictures. Its blocks fit, its table
            of places does not. Write `resize_positions(table, rows, columns)`: `table` `[r, c, width]` becomes
            `[rows, columns, width]` by bilinear interpolation *on the grid*, as Dosovitskiy et al. (2021) do. Use
            `rearrange` and `F.interpolate(..., mode="bilinear", align_corners=False)`, which takes pictures
            `[b, channels, height, width]`.
        """,
        hint="Each of the `width` numbers of a place is a little picture of r x c pixels of its own.",
        help="Bring the axes into the order [1, width, r, c], resize, and bring them back.",
        solution=resize_positions,
        inputs=_tables,
        mistakes=(
            Mistake(
                _interpolated_along_the_width,
                "The table went in as `[1, r, c, width]`, so numbers of *one* place were mixed with each other. The"
                " channels have to stand second.",
            ),
            Mistake(
                _reshaped_on_the_way_in,
                'A reshape made the shape [1, width, r, c] but moved no number (section 1): each "picture" now holds'
                " numbers of different channels. The axes themselves have to move.",
            ),
            Mistake(
                _rows_and_columns_swapped,
                "Rows and columns were swapped on the way in: the corner at the right top gets what belongs to the"
                " left bottom.",
            ),
            Mistake(
                _as_a_line,
                "The places were interpolated in one line: the end of a row is mixed with the start of the next, which"
                " is at the other edge.",
            ),
            Mistake(
                _nearest,
                "These are copies of the nearest old place: new places in between are to be mixtures"
                ' (mode="bilinear").',
            ),
            Mistake(
                _corners_aligned,
                "The corners of the old grid were laid on those of the new one. With align_corners=False, which is"
                " asked for, the *edges of the picture* stay where they are and the cells shrink.",
            ),
        ),
    ),
)
