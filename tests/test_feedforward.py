"""feedforward.py against formulas written with PyTorch's own activations and modules."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minigpt4v.feedforward import ACTIVATIONS, FeedForward, SwiGLU

ORACLES = {
    "relu": lambda x: x.clamp(min=0),
    "gelu": lambda x: x * (1 + torch.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "squared_relu": lambda x: torch.where(x > 0, x * x, 0.0),
}
PYTORCH = {"relu": nn.ReLU(), "gelu": nn.GELU(), "gelu_tanh": nn.GELU(approximate="tanh")}


def test_every_activation_has_an_oracle():
    assert set(ORACLES) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_follow_their_formulas(name):
    x = torch.linspace(-6, 6, 241, dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](x), ORACLES[name](x), rtol=0, atol=1e-12)
    if name in PYTORCH:
        torch.testing.assert_close(ACTIVATIONS[name](x), PYTORCH[name](x))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("bias", [True, False])
def test_feed_forward_is_two_matrices_around_an_activation(name, bias):
    layer = FeedForward(5, 7, name, bias=bias)
    x = torch.randn(2, 3, 5)
    hidden = x @ layer.hidden.weight.T + (layer.hidden.bias if bias else 0)
    expected = ORACLES[name](hidden) @ layer.output.weight.T + (layer.output.bias if bias else 0)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)
    assert sum(p.numel() for p in layer.parameters()) == 2 * 5 * 7 + (5 + 7 if bias else 0)


def test_feed_forward_equals_a_sequential():
    layer = FeedForward(5, 7, "relu")
    theirs = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 5))
    theirs.load_state_dict(dict(zip(theirs.state_dict(), layer.state_dict().values(), strict=True)))
    x = torch.randn(4, 5)
    torch.testing.assert_close(layer(x), theirs(x))


@pytest.mark.parametrize("bias", [True, False])
def test_swiglu_is_its_formula(bias):
    layer = SwiGLU(5, 7, bias=bias)
    x = torch.randn(2, 3, 5)
    gate = x @ layer.gate.weight.T + (layer.gate.bias if bias else 0)
    hidden = x @ layer.hidden.weight.T + (layer.hidden.bias if bias else 0)
    expected = (gate * torch.sigmoid(gate) * hidden) @ layer.output.weight.T + (layer.output.bias if bias else 0)
    torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-5)


def test_swiglu_agrees_with_llama():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = pytest.importorskip("transformers").LlamaConfig(hidden_size=8, intermediate_size=12, num_attention_heads=2)
    theirs, ours = llama.LlamaMLP(config), SwiGLU(8, 12)
    ours.load_state_dict(
        {
            "gate.weight": theirs.gate_proj.weight,
            "hidden.weight": theirs.up_proj.weight,
            "output.weight": theirs.down_proj.weight,
        }
    )
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("make", [FeedForward, SwiGLU])
def test_every_token_is_treated_alone_and_alike(make):
    layer, x = make(6, 10), torch.randn(2, 5, 6)
    order = torch.randperm(5)
    torch.testing.assert_close(layer(x)[:, order], layer(x[:, order]))
    changed = x.clone()
    changed[:, 2] += 1
    moved = (layer(changed) - layer(x)).abs().amax(dim=(0, 2)) > 1e-6
    assert moved.tolist() == [False, False, True, False, False]


@pytest.mark.parametrize("make", [FeedForward, SwiGLU])
@given(shape=st.lists(st.integers(1, 4), max_size=3), width=st.integers(1, 6), hidden=st.integers(1, 9))
def test_shapes(make, shape, width, hidden):
    assert make(width, hidden)(torch.randn(*shape, width)).shape == (*shape, width)


@pytest.mark.parametrize("make", [FeedForward, SwiGLU])
def test_zero_init_starts_without_effect_but_can_learn(make):
    layer, x = make(6, 10, zero_init=True, bias=False), torch.randn(4, 6)
    assert not layer(x).any()
    layer(x).sum().backward()
    assert layer.output.weight.grad.any()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="unknown activation 'gleu': choose one of relu, gelu"):
        FeedForward(4, 8, "gleu")
    with pytest.raises(ValueError, match="FeedForward was built for tokens of width 4, got width 5"):
        FeedForward(4, 8)(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="SwiGLU was built for tokens of width 4, got width 3"):
        SwiGLU(4, 8)(torch.zeros(2, 3))
