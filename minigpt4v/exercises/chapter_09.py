"""Exercises of chapter 09: convolutions."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Convolutions see edges"

Layer = Callable[[Tensor], Tensor]


def tokens_from_map(features: Tensor) -> Tensor:
    """A feature map [b, c, r, q] -> one token for each place, row by row, [b, r * q, c]."""
    return rearrange(features, "b c r q -> b (r q) c")


def _reshaped(features: Tensor) -> Tensor:
    b, c, r, q = features.shape
    return features.reshape(b, r * q, c)


def _by_columns(features: Tensor) -> Tensor:
    return rearrange(features, "b c r q -> b (q r) c")


def _channels_as_tokens(features: Tensor) -> Tensor:
    return rearrange(features, "b c r q -> b c (r q)")


def seen_pixels(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    """The first and the last pixel, along one axis, that number `place` of the last map depends on."""
    first, last = place, place
    for kernel, stride, padding in reversed(layers):
        first = first * stride - padding
        last = last * stride - padding + kernel - 1
    return first, last


def _from_the_first_layer(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    return seen_pixels(layers[::-1], place)


def _padding_forgotten(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    return seen_pixels([(kernel, stride, 0) for kernel, stride, _ in layers], place)


def _padding_on_the_wrong_side(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    return seen_pixels([(kernel, stride, -padding) for kernel, stride, padding in layers], place)


def _one_too_many(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    return seen_pixels([(kernel + 1, stride, padding) for kernel, stride, padding in layers], place)


def _last_not_included(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    first, last = seen_pixels(layers, place)
    return first, last + 1


def _side_for_last(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    first, last = seen_pixels(layers, place)
    return first, last - first + 1


def _one_number_of_each_map(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    first, last = place, place
    for kernel, stride, padding in reversed(layers):
        first = first * stride - padding
        last = first + kernel - 1
    return first, last


def _padding_in_pixels(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    first, last = _padding_forgotten(layers, place)
    padding = sum(padding for _, _, padding in layers)
    return first - padding, last - padding


def _padded_at_both_ends(layers: list[tuple[int, int, int]], place: int) -> tuple[int, int]:
    first, last = place, place
    for kernel, stride, padding in reversed(layers):
        first, last = first * stride - padding, last * stride + padding + kernel - 1
    return first, last


def convolve(image: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    """Slide a kernel [k, k] over an image [height, width] by `stride`, with `padding` zeros on every side."""
    padded = F.pad(image, (padding, padding, padding, padding))
    size = kernel.shape[0]
    rows = (padded.shape[0] - size) // stride + 1
    columns = (padded.shape[1] - size) // stride + 1
    result = torch.zeros(rows, columns)
    for row in range(rows):
        for column in range(columns):
            top, left = row * stride, column * stride
            window = padded[top : top + size, left : left + size]
            result[row, column] = (window * kernel).sum()
    return result


def _flipped(image: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(image, kernel.flip(0, 1), stride, padding)


def _stride_only_in_the_size(image: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    rows, columns = convolve(image, kernel, stride, padding).shape
    return convolve(image, kernel, 1, padding)[:rows, :columns]


def _padded_on_two_sides(image: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(F.pad(image, (0, 2 * padding, 0, 2 * padding)), kernel, stride, 0)


def _one_window_short(image: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:
    return convolve(image, kernel, stride, padding)[:-1, :-1]


def _stride_unused(image: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:  # noqa: ARG001 - the mistake
    return convolve(image, kernel, 1, padding)


def _not_padded(image: Tensor, kernel: Tensor, stride: int, padding: int) -> Tensor:  # noqa: ARG001 - the mistake
    return convolve(image, kernel, stride, 0)


def residual_block(x: Tensor, first: Layer, second: Layer, shortcut: Layer) -> Tensor:
    """ReLU of the shortcut plus two layers with a ReLU between; [b, c, r, q] -> what the layers make of it."""
    hidden = F.relu(first(x))
    return F.relu(shortcut(x) + second(hidden))


def _relu_before_the_sum(x: Tensor, first: Layer, second: Layer, shortcut: Layer) -> Tensor:
    return shortcut(x) + F.relu(second(F.relu(first(x))))


def _relu_also_before_the_sum(x: Tensor, first: Layer, second: Layer, shortcut: Layer) -> Tensor:
    return F.relu(shortcut(x) + F.relu(second(F.relu(first(x)))))


def _shortcut_unused(x: Tensor, first: Layer, second: Layer, shortcut: Layer) -> Tensor:  # noqa: ARG001 - the mistake
    return F.relu(x + second(F.relu(first(x))))


def _no_relu_between(x: Tensor, first: Layer, second: Layer, shortcut: Layer) -> Tensor:
    return F.relu(shortcut(x) + second(first(x)))


def _shortcut_from_the_middle(x: Tensor, first: Layer, second: Layer, shortcut: Layer) -> Tensor:
    hidden = F.relu(first(x))
    return F.relu(shortcut(hidden) + second(hidden))


def _as_given(x: Tensor, first: Layer, second: Layer, shortcut: Layer) -> Tensor:  # noqa: ARG001 - the mistake
    return x + F.relu(second(F.relu(first(x))))


def _no_last_relu(x: Tensor, first: Layer, second: Layer, shortcut: Layer) -> Tensor:
    return shortcut(x) + second(F.relu(first(x)))


def _maps() -> list[tuple[Tensor]]:
    return [(torch.randn(2, 3, 4, 5),), (torch.randn(1, 6, 3, 3),), (torch.randn(2, 4, 4, 4),)]


def _stacks() -> list[tuple[list[tuple[int, int, int]], int]]:
    return [
        ([(3, 1, 0), (3, 1, 0)], 4),
        ([(4, 4, 0), (3, 2, 1)], 3),
        ([(4, 4, 0), (3, 1, 1), (3, 2, 1), (3, 2, 1), (3, 1, 1)], 2),
        ([(5, 3, 2), (2, 2, 0), (1, 1, 0)], 0),
        ([], 7),
    ]


def _convolutions() -> list[tuple[Tensor, Tensor, int, int]]:
    settings = [(6, 7, 3, 1, 0), (6, 7, 3, 2, 1), (8, 8, 4, 4, 0), (7, 5, 2, 3, 2)]
    return [
        (torch.randn(height, width), torch.randn(size, size), stride, padding)
        for height, width, size, stride, padding in settings
    ]


def _blocks() -> list[tuple[Tensor, nn.Module, nn.Module, nn.Module]]:
    same_size = (nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Identity())
    smaller = (nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(4, 6, 1, stride=2))
    layers = [layer.requires_grad_(False) for layer in (*same_size, *smaller)]
    x = torch.randn(2, 4, 6, 6)
    return [(x, *layers[:3]), (x, *layers[3:])]  # type: ignore[list-item]


EXERCISES = (
    Exercise(
        id="09.1",
        title="How far is one step?",
        difficulty=2,
        minutes=4,
        task="""
            A network is a convolution of 3x3 with stride 1, one of 3x3 with stride 2, another of 3x3 with stride 2, one
            of 2x2 with stride 2, and then the mean over all places. The picture is a thing on an endless black ground,
            so that borders play no part. What is the smallest number of pixels, above 0, by which you must shift the
            thing to the right so that the result is *sure* to be the same, whatever the weights? Set `answer` to that
            number.
        """,
        hint="One pixel of shift at the input: by how much does the map behind the first stride 2 move?",
        help="A map moves by a whole number of cells only if the shift is a multiple of the product of all strides.",
        solution=8,
        mistakes=(
            Mistake(
                2,
                "After a shift by 2 the map behind the *first* stride 2 has moved by one cell. The next stride looks"
                " at every second of those cells.",
            ),
            Mistake(
                6,
                "Strides do not add up: behind three strides of 2, what is one cell of the last map in pixels? Do it"
                " layer by layer.",
            ),
            Mistake(
                1,
                "That would be so if every layer had stride 1. With a stride, the windows no longer begin at every"
                " pixel, and section 7 measured what that does.",
            ),
            Mistake(
                4,
                "Right for two strides of 2. There is a third one: the 2x2 layer.",
            ),
            Mistake(
                7,
                "Strides do not add up: a cell behind two strides of 2 is 2 cells of 2 pixels each. Go on from there.",
            ),
            Mistake(
                13,
                "That is the receptive field: how wide the window of a number in the last map is. How far apart are the"
                " windows of two neighbours?",
            ),
        ),
    ),
    Exercise(
        id="09.2",
        title="A map becomes a row of tokens",
        difficulty=2,
        minutes=5,
        task="""
            Write `tokens_from_map(features)`: `features` is a feature map `[b, c, r, q]`: pictures, channels, rows,
            columns. Give back `[b, r * q, c]`: one token for each place, all its channels together, in the order in
            which one reads: the first row from left to right, then the second row. Use `rearrange`.
        """,
        hint="A name for each axis, and brackets around those that become one. The last name in brackets runs fastest.",
        help="A shape proves nothing: the channels of one place must end up in one token. Check one by hand.",
        solution=tokens_from_map,
        inputs=_maps,
        mistakes=(
            Mistake(
                _reshaped,
                "The shape is right, but the numbers are not where they belong: cutting the memory anew mixes places"
                " and channels. Each token must hold all channels of *one* place, so axes have to move.",
            ),
            Mistake(
                _by_columns,
                "Every token is right, but their order is not: they come column by column. The name that stands last"
                " in the brackets runs fastest.",
            ),
            Mistake(
                _channels_as_tokens,
                "Here each channel has become a token. A token is a *place*, and its numbers are the channels: the"
                " result is `[b, r * q, c]`.",
            ),
        ),
    ),
    Exercise(
        id="09.3",
        title="Where does it look?",
        difficulty=3,
        minutes=10,
        task="""
            Write `seen_pixels(layers, place)` for one axis: `layers` is a list of `(kernel, stride, padding)`, the
            first layer first, and `place` the index (from 0) of a number in the last map. Give back a pair of ints
            `(first, last)`: the first and the last pixel that this number depends on. A pixel below 0 lies in the
            padding on the left; leave it as it is. No layers: `(place, place)`.
        """,
        hint="Section 4 walks back through the layers, from the last to the first. Take two numbers with you.",
        help="Window `place` of one layer begins at `place * stride` on the *padded* map. Where is that unpadded?",
        solution=seen_pixels,
        inputs=_stacks,
        mistakes=(
            Mistake(
                _from_the_first_layer,
                "Right where the layers are alike, wrong where they differ: `place` belongs to the *last* map, so begin"
                " with the last layer.",
            ),
            Mistake(
                _padding_forgotten,
                "Right without padding. With it, window 0 begins on the padded zeros, that is left of pixel 0.",
            ),
            Mistake(
                _padding_on_the_wrong_side,
                "Padding has the wrong sign: zeros on the left let the windows begin *earlier*, not later.",
            ),
            Mistake(
                _one_too_many,
                "The first pixel is right, the last one is too far: a window of 3 that begins at 5 ends at 7.",
            ),
            Mistake(
                _last_not_included,
                "Nearly: `last` is one behind the last pixel, as in a Python slice. The pixel itself is asked for.",
            ),
            Mistake(
                _side_for_last,
                "`first` is right. The other number is how many pixels there are; asked for is the place of the last.",
            ),
            Mistake(
                _one_number_of_each_map,
                "`last` is too small with several layers: the last pixel belongs to the window of the *last* number"
                " that is needed in the map above, not to that of the first one.",
            ),
            Mistake(
                _padding_in_pixels,
                "Right where no stride lies below the padding. Zeros around a later map are as wide as its cells: take"
                " the padding off in the layer it belongs to, before you walk on through the strides below it.",
            ),
            Mistake(
                _padded_at_both_ends,
                "`first` is right. Padding on the left moves the whole window to the left, so `last` moves with it.",
            ),
        ),
    ),
    Exercise(
        id="09.4",
        title="Convolve with stride and padding",
        difficulty=3,
        minutes=12,
        task="""
            Write `convolve(image, kernel, stride, padding)` with loops: `image` `[height, width]`, `kernel` `[k, k]`,
            both tensors. Put `padding` zeros on each of the four sides, slide the window by `stride` pixels, and give
            back the map as a tensor. The kernel is not flipped. You may use `F.pad`, slices and sums, but neither
            `F.conv2d` nor `F.unfold`.
        """,
        hint="How many windows fit is section 3. Where does window number 2 begin if the stride is 3?",
        help="`F.pad(image, (left, right, top, bottom))` pads. Do it first; then nothing else needs to know of it.",
        solution=convolve,
        inputs=_convolutions,
        mistakes=(
            Mistake(
                _flipped,
                "This flips the kernel, as convolutions in mathematics do. Here the upper left weight meets the upper"
                " left pixel of the window.",
            ),
            Mistake(
                _stride_only_in_the_size,
                "The map has the right shape, but its windows begin at neighbouring pixels: window number `row`"
                " begins at `row * stride`.",
            ),
            Mistake(
                _stride_unused,
                "The stride is not used: this gives a number for every window, but only every `stride`-th one is asked"
                " for, along both axes.",
            ),
            Mistake(
                _padded_on_two_sides,
                "The zeros are there, but all on the right and below: half of them belong on the left and above.",
            ),
            Mistake(
                _one_window_short,
                "A row and a column of windows are missing: between the first and the last window lie"
                " (size - k) / stride steps, and that makes one window more than steps.",
            ),
            Mistake(_not_padded, "Right without padding. The zeros around the picture are missing."),
        ),
    ),
    Exercise(
        id="09.5",
        title="Repair a residual block",
        difficulty=3,
        minutes=8,
        task="""
            This block is to compute what section 6 builds, and does not. It even breaks when `first` has a stride:
            ```python
            def residual_block(x, first, second, shortcut):
                hidden = F.relu(first(x))
                return x + F.relu(second(hidden))
            ```
            Repair it. `first`, `second` and `shortcut` are layers, to be called with a map `[b, c, r, q]`. `shortcut`
            brings `x` to the shape of the result; it is `nn.Identity()` where nothing needs to change.
        """,
        hint="Two things are wrong. Which road is shortcut on? And can the sum ever be smaller than x?",
        help="After a ReLU a correction can only add. In the block of He et al. (2016) the sum comes first.",
        solution=residual_block,
        inputs=_blocks,
        mistakes=(
            Mistake(
                _as_given,
                "The layer `shortcut` is not used yet: where the other road strides, `x` has another shape than the"
                " correction that is to be added. And look at where the last ReLU stands.",
            ),
            Mistake(
                _relu_before_the_sum,
                "The shapes fit now. But the correction goes through a ReLU before it is added, so it can only make"
                " numbers larger: add first.",
            ),
            Mistake(
                _relu_also_before_the_sum,
                "There is one ReLU too many: the correction must be free to make numbers smaller when it is added. The"
                " ReLU after the sum stays.",
            ),
            Mistake(
                _shortcut_unused,
                "The ReLUs are right now. The layer `shortcut` is still idle: where the other road strides, `x` has"
                " another shape than the correction.",
            ),
            Mistake(
                _no_relu_between,
                "Between the two layers the bend is gone, and two convolutions in a row are one convolution.",
            ),
            Mistake(
                _no_last_relu,
                "Nearly: the sum itself goes through a ReLU in this block.",
            ),
            Mistake(
                _shortcut_from_the_middle,
                "The shortcut begins behind the first layer: it is to carry `x` itself around *both* layers.",
            ),
        ),
    ),
)
