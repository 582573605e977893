"""Exercises of chapter 05: feed-forward, residual, norm: a block."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Feed-forward, residual, norm: a block"

Layer = Callable[[Tensor], Tensor]  # from [b, t, d] to [b, t, d]


# -- 05.1 -------------------------------------------------------------------------------------------------------------


def feed_forward(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """ReLU(x W1 + b1) W2 + b2 for tokens [b, t, d]."""
    hidden = (x @ w1 + b1).clamp(min=0)  # [b, t, hidden]
    return hidden @ w2 + b2


def _without_relu(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    return (x @ w1 + b1) @ w2 + b2


def _relu_at_the_end(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    return ((x @ w1 + b1) @ w2 + b2).clamp(min=0)


def _relu_twice(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    return ((x @ w1 + b1).clamp(min=0) @ w2 + b2).clamp(min=0)


def _relu_before_the_bias(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    return ((x @ w1).clamp(min=0) + b1) @ w2 + b2


def _without_second_bias(x: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:  # noqa: ARG001
    return (x @ w1 + b1).clamp(min=0) @ w2


def _feed_forward_inputs() -> list[tuple[Tensor, ...]]:
    generator = torch.Generator().manual_seed(51)
    shapes = ((2, 3, 4), (4, 6), (6,), (6, 4), (4,))
    ordinary = tuple(torch.randn(shape, generator=generator) for shape in shapes)
    one_token = (torch.zeros(1, 1, 2), torch.eye(2), torch.tensor([1.0, -1.0]), torch.eye(2), torch.tensor([-3.0, 0.5]))
    return [ordinary, one_token]


# -- 05.2 -------------------------------------------------------------------------------------------------------------


def layer_norm(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Every token of [b, t, d] to mean 0 and variance 1 over its own d numbers; then scale and shift [d]."""
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)  # [b, t, 1]
    return centred / (variance + 1e-5).sqrt() * scale + shift


def _over_tokens(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    centred = x - x.mean(dim=1, keepdim=True)
    return centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt() * scale + shift


def _mean_kept(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * scale + shift


def _sample_variance(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return (x - x.mean(dim=-1, keepdim=True)) / (x.var(dim=-1, keepdim=True) + 1e-5).sqrt() * scale + shift


def _without_epsilon(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / centred.square().mean(dim=-1, keepdim=True).sqrt() * scale + shift


def _divided_by_variance(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5) * scale + shift


def _without_scale_and_shift(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:  # noqa: ARG001
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def _layer_norm_inputs() -> list[tuple[Tensor, Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(52)
    ordinary = 3 + 2 * torch.randn(2, 3, 4, generator=generator)
    scale, shift = torch.tensor([1.0, 2.0, 0.5, -1.0]), torch.tensor([0.0, 1.0, -1.0, 0.25])
    constant = torch.tensor([[[2.0, 2.0, 2.0, 2.0], [1.0, 2.0, 3.0, 6.0]]])  # the first token has variance 0
    return [(ordinary, scale, shift), (constant, scale, shift)]


# -- 05.3 -------------------------------------------------------------------------------------------------------------


def pre_norm_block(x: Tensor, attention: Layer, feed_forward: Layer, norm_1: Layer, norm_2: Layer) -> Tensor:
    """x + attention(norm(x)), then the same with the feed-forward layer."""
    x = x + attention(norm_1(x))
    return x + feed_forward(norm_2(x))


def _post_norm(x: Tensor, attention: Layer, feed_forward: Layer, norm_1: Layer, norm_2: Layer) -> Tensor:
    x = norm_1(x + attention(x))
    return norm_2(x + feed_forward(x))


def _normed_shortcut(x: Tensor, attention: Layer, feed_forward: Layer, norm_1: Layer, norm_2: Layer) -> Tensor:
    x = norm_1(x)
    x = x + attention(x)
    x = norm_2(x)
    return x + feed_forward(x)


def _parallel(x: Tensor, attention: Layer, feed_forward: Layer, norm_1: Layer, norm_2: Layer) -> Tensor:
    return x + attention(norm_1(x)) + feed_forward(norm_2(x))


def _no_second_shortcut(x: Tensor, attention: Layer, feed_forward: Layer, norm_1: Layer, norm_2: Layer) -> Tensor:
    x = x + attention(norm_1(x))
    return feed_forward(norm_2(x))


def _no_shortcut(x: Tensor, attention: Layer, feed_forward: Layer, norm_1: Layer, norm_2: Layer) -> Tensor:
    return feed_forward(norm_2(attention(norm_1(x))))


def _as_handed_in(x: Tensor, attention: Layer, feed_forward: Layer, norm_1: Layer, norm_2: Layer) -> Tensor:
    x = norm_1(x + attention(x))
    return norm_2(x) + feed_forward(x)


def _one_norm_twice(x: Tensor, attention: Layer, feed_forward: Layer, norm_1: Layer, norm_2: Layer) -> Tensor:  # noqa: ARG001
    x = x + attention(norm_1(x))
    return x + feed_forward(norm_1(x))


def _block_inputs() -> list[tuple[Tensor, Layer, Layer, Layer, Layer]]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(53)
        attention, feed_forward = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 6))
        norm_1, norm_2 = nn.LayerNorm(6), nn.LayerNorm(6)
        for norm in (norm_1, norm_2):
            nn.init.normal_(norm.weight)
            nn.init.normal_(norm.bias)
        return [(3 * torch.randn(2, 5, 6), attention, feed_forward, norm_1, norm_2)]


# -- 05.4 -------------------------------------------------------------------------------------------------------------


def dropout(x: Tensor, kept: Tensor, share: float, training: bool) -> Tensor:
    """Inverted dropout: in training zero where `kept` is False, the rest larger; else x as it is."""
    if not training:
        return x
    return torch.where(kept, x / (1 - share), 0.0)


def _unscaled(x: Tensor, kept: Tensor, share: float, training: bool) -> Tensor:  # noqa: ARG001
    return x * kept if training else x


def _divided_by_the_share(x: Tensor, kept: Tensor, share: float, training: bool) -> Tensor:
    return x * kept / share if training else x


def _always_on(x: Tensor, kept: Tensor, share: float, training: bool) -> Tensor:  # noqa: ARG001
    return x * kept / (1 - share)


def _scaled_when_used(x: Tensor, kept: Tensor, share: float, training: bool) -> Tensor:
    return x * kept if training else x * (1 - share)


def _upside_down(x: Tensor, kept: Tensor, share: float, training: bool) -> Tensor:
    return x * ~kept / (1 - share) if training else x


def _dropout_inputs() -> list[tuple[Tensor, Tensor, float, bool]]:
    x = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0], [-1.0, -2.0, -3.0, -4.0, -5.0]])
    kept = torch.tensor([[True, False, True, True, False], [False, True, True, False, True]])
    return [(x, kept, 0.4, True), (x, kept, 0.4, False)]


# -- 05.5 -------------------------------------------------------------------------------------------------------------

_WIDTH, _HIDDEN = 128, 4 * 128
_PARAMETERS = 12 * _WIDTH**2 + 13 * _WIDTH
_NORMS = 2 * 2 * _WIDTH

EXERCISES = (
    Exercise(
        id="05.1",
        title="Two matrices and a bend",
        difficulty=1,
        minutes=5,
        task="""
            Write `feed_forward(x, w1, b1, w2, b2)` with the ReLU of the formula, for tokens `x` of shape `[b, t, d]`.
            `w1` is `[d, hidden]`, `b1` is `[hidden]`, `w2` is `[hidden, d]`, `b2` is `[d]`; the result is
            `[b, t, d]`. All are PyTorch tensors; multiply with `@`.
        """,
        hint="Two steps: the hidden layer `[b, t, hidden]` with its ReLU, then the output. How many ReLUs are there?",
        help="`@` works on the last axis of `x` and leaves `b` and `t` alone: no loop and no `rearrange` is needed.",
        solution=feed_forward,
        inputs=_feed_forward_inputs,
        mistakes=(
            Mistake(
                _without_relu,
                "There is no bend: two matrices without a ReLU between them are one matrix. Look at the middle.",
            ),
            Mistake(
                _relu_at_the_end,
                "The ReLU comes last, so nothing negative can come out, and the two matrices are one. It belongs to "
                "the hidden layer.",
            ),
            Mistake(
                _relu_twice,
                "There is one ReLU too many: the output has none, or a layer could add to a token and never subtract.",
            ),
            Mistake(
                _relu_before_the_bias,
                "The first bias is added after the ReLU. It has to move the place of the bend, so it comes before.",
            ),
            Mistake(_without_second_bias, "One bias is missing: which of the five arguments did you not use?"),
        ),
    ),
    Exercise(
        id="05.2",
        title="LayerNorm from its formula",
        difficulty=2,
        minutes=8,
        task="""
            Write `layer_norm(x, scale, shift)`: tokens `x` of shape `[b, t, d]` in, the same shape out. Each token gets
            mean 0 and variance 1 over its own `d` numbers; then multiply by `scale` `[d]` and add `shift` `[d]`. Add
            `1e-5` to the variance before its root. Do not call a ready-made norm. A token of equal numbers must
            survive.
        """,
        hint="`x.mean(dim=..., keepdim=True)` keeps an axis of length 1, so that the result broadcasts against `x`.",
        help="If you are a few percent off: `x.var()` divides by d - 1 unless told otherwise, the formula by d.",
        solution=layer_norm,
        inputs=_layer_norm_inputs,
        mistakes=(
            Mistake(
                _over_tokens,
                "The averages run over the tokens of a text. Each token is to be normalised alone, over its width.",
            ),
            Mistake(_mean_kept, "The mean was not taken away: this is RMSNorm with a shift. Centre each token first."),
            Mistake(
                _sample_variance,
                "The numbers are a little too small: this variance divides by d - 1. Look up `correction` of "
                "`torch.var`, or average the squares yourself.",
            ),
            Mistake(
                _without_epsilon,
                "A token of equal numbers has variance 0, and 0 / 0 is not a number: where does the 1e-5 go?",
            ),
            Mistake(
                _divided_by_variance,
                "The tokens are divided by their variance. Which power of it has the same unit as x?",
            ),
            Mistake(
                _without_scale_and_shift,
                "The tokens are normalised, but the last step is missing: what are `scale` and `shift` for?",
            ),
        ),
    ),
    Exercise(
        id="05.3",
        title="Repair a block",
        difficulty=3,
        minutes=8,
        task="""
            This block was meant to be a pre-norm block. It runs, and it is wrong in more than one place:

            ```py
            def pre_norm_block(x, attention, feed_forward, norm_1, norm_2):
                x = norm_1(x + attention(x))
                return norm_2(x) + feed_forward(x)
            ```

            Write it correctly. `x` is `[b, t, d]`; the other four are functions from `[b, t, d]` to `[b, t, d]`.
        """,
        hint="Draw the stream as one straight line from x to the result. What may stand on that line?",
        help="Two additions, two norms. Each norm is what a layer reads, and is read by nobody else.",
        solution=pre_norm_block,
        inputs=_block_inputs,
        mistakes=(
            Mistake(
                _post_norm,
                "This is a right block of the other kind: post-norm. Pre-norm normalises what a layer reads, not what "
                "the stream carries.",
            ),
            Mistake(
                _normed_shortcut,
                "A norm stands on the shortcut: the normalised x is added to, so the original x is lost. The layer "
                "reads the norm, the sum uses x itself.",
            ),
            Mistake(
                _parallel,
                "Both layers read the same x. Some models do so on purpose; here the feed-forward layer is to think "
                "about what attention has gathered, so it reads the new x.",
            ),
            Mistake(
                _one_norm_twice, "The first norm is used twice. Each layer has a norm of its own, with its own scale."
            ),
            Mistake(_no_second_shortcut, "The second shortcut is missing: what the feed-forward layer read is lost."),
            Mistake(_no_shortcut, "There is no shortcut at all: each layer replaces the stream. Where are the two +?"),
            Mistake(
                _as_handed_in,
                "This is the block as it was handed in. Begin with its first line: what does attention read, and what "
                "is normalised?",
            ),
        ),
    ),
    Exercise(
        id="05.4",
        title="Dropout that keeps the average",
        difficulty=2,
        minutes=6,
        task="""
            Write `dropout(x, kept, share, training)`: inverted dropout. `x` is a tensor of any shape, `kept` a boolean
            tensor of the same shape (False = drop; drawn for you), `share` the share that is dropped, below 1, and
            `training` True or False. The expected value of the result must be `x`, in training and out of it.
        """,
        hint="A number survives with probability 1 - share. What must it become for the average to be x?",
        help="Outside training nothing is drawn and nothing is scaled, whatever `kept` says.",
        solution=dropout,
        inputs=_dropout_inputs,
        mistakes=(
            Mistake(
                _unscaled,
                "The survivors are not scaled, so in training the average is too small by the share that was dropped.",
            ),
            Mistake(
                _divided_by_the_share,
                "The survivors are scaled by the share that was dropped. How large is the share that was kept?",
            ),
            Mistake(_always_on, "Right in training, but it goes on dropping afterwards: look at `training`."),
            Mistake(
                _scaled_when_used,
                "This is the form of 2014, which pays when the model is used. Inverted dropout scales in training and "
                "leaves x alone afterwards.",
            ),
            Mistake(_upside_down, "It drops what was to be kept: True in `kept` means that a number stays."),
        ),
    ),
    Exercise(
        id="05.5",
        title="How many parameters?",
        difficulty=3,
        minutes=6,
        task="""
            Without running a model: how many parameters has a block of width 128 with 4 heads, a hidden width of 512,
            ReLU, biases everywhere and two LayerNorms? Give a whole number, `answer = ...`.
        """,
        hint="Four matrices and their biases in attention, two and theirs in the feed-forward layer, two norms.",
        help="The number of heads does not matter. A LayerNorm has a scale and a shift.",
        solution=_PARAMETERS,
        mistakes=(
            Mistake(12 * _WIDTH**2, "These are the matrices alone: the biases and the norms are missing."),
            Mistake(_PARAMETERS - _NORMS, "The two norms are missing: each has a scale and a shift."),
            Mistake(_PARAMETERS - _NORMS // 2, "256 are missing: one norm, or the shift of both."),
            Mistake(_PARAMETERS - 13 * _WIDTH + _NORMS, "The biases of the six linear layers are missing."),
            Mistake(
                8 * _WIDTH**2 + 5 * _WIDTH, "This is the feed-forward layer alone: attention and the norms are missing."
            ),
            Mistake(
                _PARAMETERS - _WIDTH**2 - _WIDTH,
                "Attention has four matrices: after query, key and value, what comes behind the heads?",
            ),
            Mistake(
                _PARAMETERS + 3 * 3 * (_WIDTH**2 + _WIDTH),
                "Heads share the width: more heads are narrower, and the matrices stay as large.",
            ),
        ),
    ),
)
