"""vision.py against strided convolutions and loops over pixels, and what each token can and cannot see."""

import dataclasses
import json
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st

from minigpt4v.attention import unit_scale
from minigpt4v.vision import ConvEncoder, PatchEncoder, VisionConfig, make_encoder, patchify

CONV = VisionConfig(width=24)
PATCH = VisionConfig(width=24, kind="patch")


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def sees(encoder: torch.nn.Module, token: int) -> torch.Tensor:
    """Which pixels [64, 64] the features of one token depend on."""
    images = torch.rand(1, 3, 64, 64, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(encoder.eval().double().features(images)[0, token].sum(), images)
    return gradient.abs().sum(dim=(0, 1)) > 0


# -- patches ----------------------------------------------------------------------------------------------------------


def test_patches_are_read_row_by_row():
    images = torch.rand(2, 3, 4, 6)
    patches = patchify(images, 2)
    assert patches.shape == (2, 6, 12)
    for row in range(2):
        for column in range(3):
            square = images[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
            close(patches[:, 3 * row + column], square.flatten(1), 0)


@given(
    batch=st.integers(1, 2),
    channels=st.integers(1, 3),
    rows=st.integers(1, 4),
    columns=st.integers(1, 4),
    patch_size=st.integers(1, 5),
)
def test_patches_hold_every_pixel_once(batch, channels, rows, columns, patch_size):
    images = torch.rand(batch, channels, rows * patch_size, columns * patch_size)
    patches = patchify(images, patch_size)
    assert patches.shape == (batch, rows * columns, channels * patch_size**2)
    back = rearrange(
        patches, "b (r q) (c p s) -> b c (r p) (q s)", r=rows, q=columns, p=patch_size, s=patch_size, c=channels
    )
    close(back, images, 0)


def test_a_linear_map_of_patches_is_a_strided_convolution():
    linear, images = torch.nn.Linear(3 * 8 * 8, 10), torch.rand(2, 3, 32, 24)
    kernel = rearrange(linear.weight, "o (c p s) -> o c p s", c=3, p=8, s=8)
    convolved = F.conv2d(images, kernel, linear.bias, stride=8)
    close(linear(patchify(images, 8)), rearrange(convolved, "b o r q -> b (r q) o"))


def test_a_picture_that_cannot_be_cut_is_named():
    with pytest.raises(ValueError, match="30 x 32 pixels cannot be cut into patches of 16 x 16"):
        patchify(torch.zeros(1, 3, 30, 32), 16)


# -- both encoders ----------------------------------------------------------------------------------------------------


@given(
    kind=st.sampled_from(["conv", "patch"]),
    channels=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    grid=st.integers(1, 3),
    batch=st.integers(1, 2),
    heads=st.integers(1, 3),
)
def test_shapes(kind, channels, grid, batch, heads):
    patch_size = 2 ** (len(channels) + 1)
    config = VisionConfig(
        width=4 * heads,
        image_size=grid * patch_size,
        kind=kind,
        patch_size=patch_size,
        channels=tuple(channels),
        layers=1,
        heads=heads,
    )
    encoder = make_encoder(config).eval()
    images = torch.rand(batch, 3, config.image_size, config.image_size)
    assert config.grid_size == grid
    assert encoder(images).shape == encoder.features(images).shape == (batch, config.tokens, 4 * heads)


@pytest.mark.parametrize(("config", "kind"), [(CONV, ConvEncoder), (PATCH, PatchEncoder)])
def test_make_encoder_makes_what_the_config_says(config, kind):
    assert type(make_encoder(config)) is kind


@pytest.mark.parametrize("config", [CONV, PATCH])
def test_pictures_do_not_see_each_other(config):
    encoder, images = make_encoder(config).eval(), torch.rand(3, 3, 64, 64)
    close(encoder(images)[1], encoder(images[1:2])[0])


@pytest.mark.parametrize("config", [CONV, PATCH])
def test_every_parameter_learns(config):
    encoder = make_encoder(config)
    if isinstance(encoder, PatchEncoder):  # zero output projections keep what feeds them silent in the first step
        for block in encoder.blocks:
            torch.nn.init.normal_(block.attention.output.weight)
            torch.nn.init.normal_(block.feed_forward.output.weight)
    (encoder(torch.rand(4, 3, 64, 64)) - torch.randn(24)).square().sum().backward()
    assert [name for name, parameter in encoder.named_parameters() if not parameter.grad.any()] == []


@pytest.mark.parametrize("config", [CONV, PATCH])
def test_a_blank_picture_is_no_accident(config):
    for brightness in (0.0, 0.5, 1.0):
        assert make_encoder(config).eval()(torch.full((1, 3, 64, 64), brightness)).isfinite().all()


@pytest.mark.parametrize("config", [CONV, PATCH])
def test_a_few_steps_tell_left_from_right(config):
    encoder, head = make_encoder(config), torch.nn.Linear(24, 2)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(25):
        images, right = torch.rand(16, 3, 64, 64) * 0.2, torch.randint(2, (16,))
        for image, side in zip(images, right, strict=True):
            image[:, 20:44, 8 + 32 * side : 24 + 32 * side] += 0.8
        loss = F.cross_entropy(head(encoder(images)[:, [4, 6]].mean(1)), right)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.3


@pytest.mark.parametrize("config", [CONV, PATCH])
def test_wrong_pictures_are_named(config):
    encoder = make_encoder(config)
    with pytest.raises(ValueError, match=r"64 x 64 pixels, got \[32, 64\]: resize"):
        encoder(torch.zeros(1, 3, 32, 64))
    with pytest.raises(ValueError, match=r"\[b, 3, height, width\], got \[1, 4, 64, 64\]"):
        encoder(torch.zeros(1, 4, 64, 64))
    with pytest.raises(ValueError, match=r"\[b, 3, height, width\], got \[3, 64, 64\]"):
        encoder(torch.zeros(3, 64, 64))
    with pytest.raises(TypeError, match=r"floating-point numbers in 0\.\.1, got torch\.uint8"):
        encoder(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


# -- convolutions -----------------------------------------------------------------------------------------------------


def receptive_field(encoder: ConvEncoder, cell: int, size: int) -> slice:
    """The pixels a cell of the grid sees along one axis, by going back through the convolutions."""
    convolutions = [layer for layer in encoder.convolutions if isinstance(layer, torch.nn.Conv2d)]
    sizes = [size]
    for convolution in convolutions:
        kernel, stride, padding = convolution.kernel_size[0], convolution.stride[0], convolution.padding[0]
        sizes.append((sizes[-1] + 2 * padding - kernel) // stride + 1)
    low = high = cell
    for convolution, inputs in zip(reversed(convolutions), reversed(sizes[:-1]), strict=True):
        kernel, stride, padding = convolution.kernel_size[0], convolution.stride[0], convolution.padding[0]
        low = max(low * stride - padding, 0)
        high = min(high * stride - padding + kernel - 1, inputs - 1)
    return slice(low, high + 1)


@pytest.mark.parametrize(("patch_size", "channels"), [(4, (8,)), (8, (8, 16)), (16, (8, 16, 32))])
def test_a_token_sees_its_own_cell_and_a_rim(patch_size, channels):
    encoder = make_encoder(dataclasses.replace(CONV, patch_size=patch_size, channels=channels))
    grid = 64 // patch_size
    for row, column in ((0, 2), (1, 2), (3, 0)):
        down, right = receptive_field(encoder, row, 64), receptive_field(encoder, column, 64)
        expected = torch.zeros(64, 64, dtype=torch.bool)
        expected[down, right] = True
        seen = sees(encoder, row * grid + column)
        assert torch.equal(seen, expected)
        cell = seen[row * patch_size : (row + 1) * patch_size, column * patch_size : (column + 1) * patch_size]
        assert cell.all()
        assert seen.sum() > cell.sum()


def test_a_norm_follows_every_convolution():
    encoder, images = make_encoder(CONV).eval(), torch.rand(2, 3, 64, 64)
    layers = list(encoder.convolutions)
    for layer, following in pairwise(layers):
        assert not isinstance(layer, torch.nn.Conv2d) or isinstance(following, torch.nn.BatchNorm2d)
    close(encoder.features(images), unit_scale(encoder.convolutions(2 * images - 1).flatten(2).mT))


def test_features_have_size_one_and_forward_adds_the_places():
    encoder, images = make_encoder(CONV), torch.rand(2, 3, 64, 64)
    features = encoder.features(images)
    close(features.square().mean(-1), torch.ones(2, 16), 1e-3)
    places = rearrange(encoder.positions.table, "r q w -> (r q) w")
    close(encoder(images) - features, places.expand(2, 16, 24))


def test_features_know_what_but_not_where():
    encoder, picture = make_encoder(CONV).eval().double(), torch.rand(1, 3, 8, 8)
    left, right = torch.zeros(2, 1, 3, 256, 256, dtype=torch.float64)
    left[:, :, 132:140, 100:108] = picture  # far from the border, in cell (8, 6) of 16 x 16
    right[:, :, 132:140, 116:124] = picture  # the same place in cell (8, 7)
    close(encoder.features(left)[:, 16 * 8 + 6], encoder.features(right)[:, 16 * 8 + 7])


def test_features_of_any_size_that_the_patches_fill():
    encoder = make_encoder(CONV).eval()
    assert encoder.features(torch.rand(2, 3, 32, 48)).shape == (2, 6, 24)
    with pytest.raises(ValueError, match=r"multiples of 16 pixels, got \[32, 40\]"):
        encoder.features(torch.rand(2, 3, 32, 40))


# -- patches with attention -------------------------------------------------------------------------------------------


def test_every_patch_sees_every_other():
    encoder = make_encoder(PATCH)
    for block in encoder.blocks:
        torch.nn.init.normal_(block.attention.output.weight)
    for token in (0, 15):
        assert sees(encoder, token).all()


def test_a_vision_transformer_is_its_equation():
    encoder, images = make_encoder(PATCH).eval(), torch.rand(2, 3, 64, 64)
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = F.linear(patchify(2 * images - 1, 16), encoder.patch_embedding.weight, encoder.patch_embedding.bias)
    x = x / x.square().mean(-1, keepdim=True).sqrt() + encoder.positions.table.flatten(0, 1)
    for block in encoder.blocks:
        x = block(x, torch.ones(16, 16, dtype=torch.bool))
    close(encoder(images), encoder.norm(x), 1e-4)
    close(encoder.features(images), encoder(images), 0)


# -- the config -------------------------------------------------------------------------------------------------------


def test_a_config_survives_json():
    for config in (CONV, PATCH):
        assert VisionConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 0}, "width must be a positive whole number, got 0"),
        ({"image_size": 60}, "image_size 60 is not a multiple of patch_size 16"),
        ({"kind": "cnn"}, "unknown kind 'cnn': choose one of conv, patch"),
        ({"patch_size": 8}, r"patch_size 8 does not fit 3 channel counts \(32, 64, 128\): 4 pixels need one, 8 two"),
        ({"channels": ()}, r"patch_size 16 does not fit 0 channel counts \(\)"),
        ({"channels": (8, 0, 8)}, r"channels must be positive whole numbers, got \(8, 0, 8\)"),
        ({"kind": "patch", "heads": 5}, "width 24 cannot be split among 5 heads"),
        ({"kind": "patch", "layers": 0}, "layers must be a positive whole number, got 0"),
    ],
)
def test_a_wrong_config_is_named(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        VisionConfig(**({"width": 24} | changes))
