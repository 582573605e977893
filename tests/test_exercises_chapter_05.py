"""Exercises of chapter 05: right answers in other words pass, and each wrong one is told what is wrong."""

import numpy as np
import torch
import torch.nn.functional as F
from einops import einsum, reduce
from exercise_checks import assert_diagnosed, assert_passes
from torch import nn

# -- 05.1 feed-forward ------------------------------------------------------------------------------------------------


def test_feed_forward_with_linear_layers():
    assert_passes("05.1", lambda x, w1, b1, w2, b2: F.linear(F.relu(F.linear(x, w1.T, b1)), w2.T, b2))


def test_feed_forward_token_by_token():
    def answer(x, w1, b1, w2, b2):
        rows = [[F.relu(einsum(token, w1, "d, d h -> h") + b1) @ w2 + b2 for token in text] for text in x]
        return torch.stack([torch.stack(row) for row in rows])

    assert_passes("05.1", answer)


def test_feed_forward_mistakes():
    def no_bend(x, w1, b1, w2, b2):
        return F.linear(F.linear(x, w1.T, b1), w2.T, b2)

    def bend_last(x, w1, b1, w2, b2):
        return F.relu(no_bend(x, w1, b1, w2, b2))

    def bends(x, w1, b1, w2, b2):
        return F.relu(F.relu(x @ w1 + b1) @ w2 + b2)

    def late_bias(x, w1, b1, w2, b2):
        return (F.relu(x @ w1) + b1) @ w2 + b2

    assert_diagnosed("05.1", no_bend, "no bend")
    assert_diagnosed("05.1", bend_last, "comes last")
    assert_diagnosed("05.1", bends, "one ReLU too many")
    assert_diagnosed("05.1", late_bias, "after the ReLU")


# -- 05.2 LayerNorm ---------------------------------------------------------------------------------------------------


def test_layer_norm_of_pytorch():
    assert_passes("05.2", lambda x, scale, shift: F.layer_norm(x, x.shape[-1:], scale, shift))


def test_layer_norm_with_reduce():
    def answer(x, scale, shift):
        mean = reduce(x, "b t d -> b t 1", "mean")
        variance = reduce(x**2, "b t d -> b t 1", "mean") - mean**2
        return scale * (x - mean) * torch.rsqrt(variance + 1e-5) + shift

    assert_passes("05.2", answer)


def test_layer_norm_mistakes():
    def over_time(x, scale, shift):
        spread = x.std(dim=1, keepdim=True, correction=0)
        return (x - x.mean(1, keepdim=True)) / (spread**2 + 1e-5).sqrt() * scale + shift

    def root_mean_square(x, scale, shift):
        return F.rms_norm(x, x.shape[-1:], scale, eps=1e-5) + shift

    def bessel(x, scale, shift):
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) ** 2 + 1e-5).sqrt() * scale + shift

    def no_epsilon(x, scale, shift):
        return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True, correction=0) * scale + shift

    def no_root(x, scale, shift):
        return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-5) * scale + shift

    assert_diagnosed("05.2", over_time, "tokens of a text")
    assert_diagnosed("05.2", root_mean_square, "mean was not taken away")
    assert_diagnosed("05.2", bessel, "d - 1")
    assert_diagnosed("05.2", no_epsilon, "0 / 0")
    assert_diagnosed("05.2", no_root, "divided by their variance")


# -- 05.3 the block ---------------------------------------------------------------------------------------------------


def test_block_in_steps():
    def answer(x, attention, feed_forward, norm_1, norm_2):
        gathered = attention(norm_1(x))
        middle = torch.add(gathered, x)
        thought = feed_forward(norm_2(middle))
        return thought + middle

    assert_passes("05.3", answer)


def test_block_mistakes():
    def post(x, attention, feed_forward, norm_1, norm_2):
        middle = norm_1(attention(x) + x)
        return norm_2(feed_forward(middle) + middle)

    def norm_on_the_line(x, attention, feed_forward, norm_1, norm_2):
        for norm, layer in ((norm_1, attention), (norm_2, feed_forward)):
            x = norm(x)
            x = layer(x) + x
        return x

    def both_read_x(x, attention, feed_forward, norm_1, norm_2):
        return sum((layer(norm(x)) for layer, norm in ((attention, norm_1), (feed_forward, norm_2))), x)

    def one_shortcut(x, attention, feed_forward, norm_1, norm_2):
        return feed_forward(norm_2(x + attention(norm_1(x))))

    def none(x, attention, feed_forward, norm_1, norm_2):
        return nn.Sequential(norm_1, attention, norm_2, feed_forward)(x)

    def untouched(x, attention, feed_forward, norm_1, norm_2):
        x = norm_1(x + attention(x))
        return norm_2(x) + feed_forward(x)

    assert_diagnosed("05.3", post, "post-norm")
    assert_diagnosed("05.3", norm_on_the_line, "on the shortcut")
    assert_diagnosed("05.3", both_read_x, "same x")
    assert_diagnosed("05.3", one_shortcut, "second shortcut")
    assert_diagnosed("05.3", none, "no shortcut at all")
    assert_diagnosed("05.3", untouched, "handed in")


# -- 05.4 dropout -----------------------------------------------------------------------------------------------------


def test_dropout_by_multiplying():
    assert_passes("05.4", lambda x, kept, share, training: x * kept * (1 / (1 - share)) if training else x.clone())


def test_dropout_keeps_the_average():
    from minigpt4v.exercises.catalogue import find

    kept = torch.rand(200_000, generator=torch.Generator().manual_seed(1)) < 0.7
    mean = find("05.4").solution(torch.full((200_000,), 2.0), kept, 0.3, True).mean()
    np.testing.assert_allclose(mean, 2.0, rtol=0.01)


def test_dropout_mistakes():
    def no_scale(x, kept, _, training):
        return x.masked_fill(~kept, 0.0) if training else x

    def wrong_share(x, kept, share, training):
        return x.masked_fill(~kept, 0.0) / share if training else x

    def never_off(x, kept, share, _):
        return x.masked_fill(~kept, 0.0) / (1 - share)

    def first_form(x, kept, share, training):
        return torch.where(kept, x, 0.0) if training else (1 - share) * x

    def inverse_mask(x, kept, share, training):
        return x.masked_fill(kept, 0.0) / (1 - share) if training else x

    assert_diagnosed("05.4", no_scale, "not scaled")
    assert_diagnosed("05.4", wrong_share, "share that was kept")
    assert_diagnosed("05.4", never_off, "goes on dropping")
    assert_diagnosed("05.4", first_form, "form of 2014")
    assert_diagnosed("05.4", inverse_mask, "drops what was to be kept")


# -- 05.5 parameters --------------------------------------------------------------------------------------------------


def test_parameters_as_pytorch_counts_them():
    block = nn.TransformerEncoderLayer(128, 4, 512)
    assert_passes("05.5", sum(parameter.numel() for parameter in block.parameters()))


def test_parameters_mistakes():
    def count(*layers):
        return sum(parameter.numel() for layer in layers for parameter in layer.parameters())

    square, up, down, norm = nn.Linear(128, 128), nn.Linear(128, 512), nn.Linear(512, 128), nn.LayerNorm(128)
    assert_diagnosed("05.5", 4 * 128 * 128 + 2 * 128 * 512, "matrices alone")
    assert_diagnosed("05.5", count(*[square] * 4, up, down), "two norms are missing")
    assert_diagnosed("05.5", count(*[square] * 4, up, down, norm), "256 are missing")
    assert_diagnosed("05.5", count(*[square] * 3, up, down, norm, norm), "behind the heads")
    assert_diagnosed("05.5", count(up, down), "feed-forward layer alone")
    assert_diagnosed("05.5", count(*[square] * 13, up, down, norm, norm), "Heads share the width")
    bare = [nn.Linear(128, 128, bias=False)] * 4 + [nn.Linear(128, 512, bias=False), nn.Linear(512, 128, bias=False)]
    assert_diagnosed("05.5", count(*bare, norm, norm), "biases of the six")
