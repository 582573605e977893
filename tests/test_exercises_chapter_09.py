"""Chapter 09's exercises: answers written in other ways pass, and wrong ones hear what is wrong with them."""

import math

import torch
import torch.nn.functional as F
from exercise_checks import assert_diagnosed, assert_passes


def test_how_far_is_one_step():
    assert_passes("09.1", 2**3)
    assert_diagnosed("09.1", 1, "every pixel")
    assert_diagnosed("09.1", 2, "first")
    assert_diagnosed("09.1", 4, "third")
    assert_diagnosed("09.1", 6, "do not add up")
    assert_diagnosed("09.1", 1 + 2 + 2 + 2, "do not add up")
    assert_diagnosed("09.1", 13, "receptive field")


def test_tokens_from_map():
    assert_passes("09.2", lambda features: features.flatten(2).transpose(1, 2))
    assert_passes("09.2", lambda features: features.permute(0, 2, 3, 1).flatten(1, 2))
    assert_diagnosed("09.2", lambda features: features.flatten(1).view(len(features), -1, features.shape[1]), "mixes")
    assert_diagnosed("09.2", lambda features: features.permute(0, 3, 2, 1).flatten(1, 2), "column by column")
    assert_diagnosed("09.2", lambda features: features.flatten(2), "each channel")


def affine(layers, place, sign=-1, extra=0):
    """Pixel = a * place + b, by composing the layers from the first on."""
    scale, first, side = 1, 0, 1
    for kernel, stride, padding in layers:
        first += sign * padding * scale
        side += (kernel - 1 + extra) * scale
        scale *= stride
    return scale * place + first, scale * place + first + side - 1


def test_seen_pixels():
    def measured(layers, place):
        """Which numbers of a wide row the gradient of one output reaches; padding only moves them."""
        x = torch.zeros(1, 1, 800, dtype=torch.float64, requires_grad=True)
        y = x
        for kernel, stride, _ in layers:
            y = F.conv1d(y, torch.ones(1, 1, kernel, dtype=torch.float64), stride=stride)
        whole = math.prod(stride for _, stride, _ in layers)
        offset = affine(layers, place)[0] - whole * place
        y[0, 0, place].backward()
        reached = x.grad[0, 0].nonzero().flatten()
        return int(reached[0]) + offset, int(reached[-1]) + offset

    assert_passes("09.3", affine)
    assert_passes("09.3", measured)
    assert_diagnosed("09.3", lambda layers, place: affine(layers[::-1], place), "last layer")
    assert_diagnosed("09.3", lambda layers, place: affine(layers, place, sign=0), "without padding")
    assert_diagnosed("09.3", lambda layers, place: affine(layers, place, sign=1), "wrong sign")
    assert_diagnosed("09.3", lambda layers, place: affine(layers, place, extra=1), "too far")
    assert_diagnosed("09.3", lambda layers, place: (affine(layers, place)[0], affine(layers, place)[1] + 1), "slice")

    def count(layers, place):
        first, last = affine(layers, place)
        return first, len(range(first, last + 1))

    def paddings_at_the_end(layers, place):
        padding = sum(layer[2] for layer in layers)
        return tuple(edge - padding for edge in affine(layers, place, sign=0))

    def one_window(layers, place):
        first = affine(layers, place)[0]
        return first, first + layers[0][0] - 1 if layers else first

    def padded_at_both_ends(layers, place):
        scale, last = 1, affine(layers, place)[1]
        for _, stride, padding in layers:
            last += 2 * padding * scale
            scale *= stride
        return affine(layers, place)[0], last

    assert_diagnosed("09.3", count, "how many")
    assert_diagnosed("09.3", paddings_at_the_end, "as wide as")
    assert_diagnosed("09.3", one_window, "too small")
    assert_diagnosed("09.3", padded_at_both_ends, "moves with it")


def by_pytorch(image, kernel, stride, padding):
    return F.conv2d(image[None, None], kernel[None, None], stride=stride, padding=padding)[0, 0]


def test_convolve():
    assert_passes("09.4", by_pytorch)
    assert_diagnosed("09.4", lambda x, k, s, p: by_pytorch(x, torch.rot90(k, 2), s, p), "flips")
    assert_diagnosed("09.4", lambda x, k, s, p: by_pytorch(x, k, s, 0), "zeros around")
    assert_diagnosed("09.4", lambda x, k, s, p: by_pytorch(x, k, 1, p), "not used")
    assert_diagnosed("09.4", lambda x, k, s, p: by_pytorch(x, k, s, p)[:-1, :-1], "one window more")

    def to_the_right(x, k, s, p):
        height, width = x.shape
        larger = torch.zeros(height + 2 * p, width + 2 * p)
        larger[:height, :width] = x
        return by_pytorch(larger, k, s, 0)

    def without_stride(x, k, s, p):
        rows, columns = ((side + 2 * p - len(k)) // s + 1 for side in x.shape)
        return by_pytorch(x, k, 1, p)[:rows, :columns]

    assert_diagnosed("09.4", to_the_right, "left and above")
    assert_diagnosed("09.4", without_stride, "row * stride")


def test_residual_block():
    assert_passes("09.5", lambda x, a, b, c: (c(x) + b(a(x).clamp(min=0))).clamp(min=0))
    assert_diagnosed("09.5", lambda x, a, b, c: x + b(a(x).relu()).relu(), "not used")
    assert_diagnosed("09.5", lambda x, a, b, c: c(x) + b(a(x).relu()).relu(), "only make")
    assert_diagnosed("09.5", lambda x, a, b, c: (c(x) + b(a(x).relu()).relu()).relu(), "too many")
    assert_diagnosed("09.5", lambda x, a, b, c: (x + b(a(x).relu())).clamp(min=0), "idle")
    assert_diagnosed("09.5", lambda x, a, b, c: (c(x) + b(a(x))).relu(), "bend")
    assert_diagnosed("09.5", lambda x, a, b, c: c(x) + b(a(x).relu()), "Nearly")
    assert_diagnosed("09.5", lambda x, a, b, c: (c(a(x).relu()) + b(a(x).relu())).relu(), "itself")
