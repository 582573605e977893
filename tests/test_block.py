"""block.py against `nn.TransformerEncoderLayer` in both orders, and the norms against their formulas."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minigpt4v.attention import KeyValueCache, causal_mask
from minigpt4v.block import BlockConfig, TransformerBlock, initialise, make_feed_forward, make_norm
from minigpt4v.feedforward import SwiGLU
from minigpt4v.position import RotaryEmbedding

CLASSIC = {"norm": "layer", "activation": "relu", "bias": True, "qk_norm": False, "zero_init_outputs": False}


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def randomise(module: nn.Module) -> nn.Module:
    """Move every parameter away from its special start (zeros, ones)."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.3)
    return module


# -- norms ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bias", [True, False])
def test_layer_norm_is_its_formula(bias):
    norm, x = randomise(make_norm("layer", 6, bias)), 3 + 5 * torch.randn(2, 4, 6)
    centred = x - x.mean(-1, keepdim=True)
    expected = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt() * norm.weight
    close(norm(x), expected + norm.bias if bias else expected)


def test_rms_norm_is_its_formula():
    norm, x = randomise(make_norm("rms", 6, bias=True)), 3 + 5 * torch.randn(2, 4, 6)
    close(norm(x), x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * norm.weight)
    assert [name for name, _ in norm.named_parameters()] == ["weight"]


def test_the_norms_differ_in_what_they_ignore():
    x = torch.randn(5, 6)
    close(make_norm("layer", 6)(7 * x + 3), make_norm("layer", 6)(x), 1e-3)
    close(make_norm("rms", 6)(7 * x), make_norm("rms", 6)(x), 1e-3)
    assert (make_norm("rms", 6)(x + 3) - make_norm("rms", 6)(x)).abs().max() > 0.1


# -- the block --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_block_agrees_with_pytorch(place, activation, bias):
    width, heads = 24, 4
    theirs = nn.TransformerEncoderLayer(
        width, heads, 4 * width, 0.0, activation, batch_first=True, norm_first=place == "pre", bias=bias
    )
    randomise(theirs)
    classic = CLASSIC | {"bias": bias, "activation": activation, "norm_place": place}
    ours = TransformerBlock(BlockConfig(width=width, heads=heads, **classic))
    state = {}
    for kind in ("weight", "bias") if bias else ("weight",):
        projections = getattr(theirs.self_attn, f"in_proj_{kind}").chunk(3)
        state |= {f"attention.{n}.{kind}": p for n, p in zip(("query", "key", "value"), projections, strict=True)}
        for our_name, their_layer in {
            "attention.output": theirs.self_attn.out_proj,
            "attention_norm": theirs.norm1,
            "feed_forward.hidden": theirs.linear1,
            "feed_forward.output": theirs.linear2,
            "feed_forward_norm": theirs.norm2,
        }.items():
            state[f"{our_name}.{kind}"] = getattr(their_layer, kind)
    ours.load_state_dict(state)

    x = torch.randn(2, 6, width)
    for mask in (causal_mask(6), torch.ones(6, 6, dtype=torch.bool)):
        close(ours(x, mask), theirs(x, src_mask=~mask), 1e-4)


@pytest.mark.parametrize("place", ["pre", "post"])
@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("activation", ["squared_relu", "swiglu"])
@pytest.mark.parametrize("return_weights", [False, True])
def test_a_block_is_its_equation(place, norm, activation, return_weights):
    config = BlockConfig(width=12, heads=3, norm=norm, norm_place=place, activation=activation)
    block = randomise(TransformerBlock(config, RotaryEmbedding(4)))
    x, mask, positions = torch.randn(2, 5, 12), torch.rand(2, 5, 5) < 0.7, torch.tensor([0, 0, 2, 4, 9])
    if place == "pre":
        attended, weights = block.attention(block.attention_norm(x), mask, positions, return_weights=True)
        expected = x + attended
        expected = expected + block.feed_forward(block.feed_forward_norm(expected))
    else:
        attended, weights = block.attention(x, mask, positions, return_weights=True)
        expected = block.attention_norm(x + attended)
        expected = block.feed_forward_norm(expected + block.feed_forward(expected))
    result = block(x, mask, positions, return_weights=return_weights)
    if return_weights:
        result, shown = result
        close(shown, weights)
    close(result, expected)


def test_a_new_modern_block_changes_nothing():
    block, x = TransformerBlock(BlockConfig(width=12, heads=3)), torch.randn(2, 5, 12)
    close(block(x), x, 0)


def test_a_block_reads_its_own_layer_of_the_cache():
    block, x = randomise(TransformerBlock(BlockConfig(width=12, heads=3), RotaryEmbedding(4))), torch.randn(2, 5, 12)
    cache = KeyValueCache(2, 2, 3, 5, 4)
    with torch.no_grad():
        steps = [block(x[:, :3], cache=cache, layer=1), block(x[:, 3:], cache=cache, layer=1)]
        close(torch.cat(steps, dim=1), block(x))
    assert cache.lengths == [0, 5]


def test_dropout_works_in_training_only_and_on_both_corrections():
    x = torch.randn(1, 40, 24)
    for silent in ("attention", "feed_forward"):
        block = TransformerBlock(BlockConfig(width=24, heads=3, dropout=0.5, zero_init_outputs=False))
        nn.init.zeros_(getattr(block, silent).output.weight)
        correction = block.eval()(x) - x
        dropped = block.train()(x) - x
        gone = dropped.abs() < 1e-7
        assert 0.4 < gone.float().mean() < 0.6
        close(dropped[~gone], 2 * correction[~gone])


@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 5),
    heads=st.integers(1, 3),
    norm=st.sampled_from(["layer", "rms"]),
    place=st.sampled_from(["pre", "post"]),
    activation=st.sampled_from(["relu", "gelu", "gelu_tanh", "squared_relu", "swiglu"]),
    bias=st.booleans(),
    qk_norm=st.booleans(),
)
def test_every_kind_of_block_keeps_the_shape(batch, length, heads, norm, place, activation, bias, qk_norm):
    config = BlockConfig(
        width=4 * heads, heads=heads, norm=norm, norm_place=place, activation=activation, bias=bias, qk_norm=qk_norm
    )
    x = torch.randn(batch, length, 4 * heads)
    output, weights = TransformerBlock(config)(x, return_weights=True)
    assert output.shape == x.shape
    assert weights.shape == (batch, heads, length, length)


def test_swiglu_costs_as_much_as_two_matrices():
    config = BlockConfig(width=12, heads=3)
    plain = make_feed_forward(config)
    gated = make_feed_forward(dataclasses.replace(config, activation="swiglu"))
    assert isinstance(gated, SwiGLU)
    assert sum(p.numel() for p in gated.parameters()) == sum(p.numel() for p in plain.parameters()) == 2 * 4 * 12 * 12


# -- the random start -------------------------------------------------------------------------------------------------


def test_the_classic_start_is_that_of_gpt2():
    blocks = nn.ModuleList(TransformerBlock(BlockConfig(width=96, heads=3, **CLASSIC)) for _ in range(8))
    initialise(blocks)
    for block in blocks:
        for layer in (block.attention.query, block.attention.key, block.attention.value, block.feed_forward.hidden):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
            assert not layer.bias.any()
        for layer in (block.attention.output, block.feed_forward.output):
            assert layer.weight.std().item() == pytest.approx(0.02 / 4, rel=0.05)  # 4 = sqrt(2 * 8 layers)
        assert (block.attention_norm.weight == 1).all()


def test_the_modern_start_is_zero_where_the_stream_is_written():
    block = TransformerBlock(BlockConfig(width=96, heads=3, activation="swiglu"))
    initialise(block)
    assert not block.attention.output.weight.any()
    assert not block.feed_forward.output.weight.any()
    assert block.feed_forward.gate.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert (block.attention.sharpness == 1).all()


# -- the config -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 0}, "width must be a positive whole number, got 0"),
        ({"width": 8.0}, r"width must be a positive whole number, got 8\.0"),
        ({"heads": True}, "heads must be a positive whole number, got True"),
        ({"heads": 3}, "width 8 cannot be split among 3 heads"),
        ({"hidden_multiple": -4}, "hidden_multiple must be a positive whole number, got -4"),
        ({"norm": "batch"}, "unknown norm 'batch': choose one of layer, rms"),
        ({"norm_place": "before"}, "unknown norm_place 'before': choose one of pre, post"),
        ({"activation": "tanh"}, "unknown activation 'tanh': choose one of .*, swiglu"),
        ({"bias": "no"}, "bias must be True or False, got 'no'"),
        ({"qk_norm": 1}, "qk_norm must be True or False, got 1"),
        ({"dropout": 1.0}, r"dropout must be a number from 0 to below 1, got 1\.0"),
        ({"dropout": float("nan")}, "dropout .* got nan"),
        ({"dropout": "0.1"}, r"dropout .* got '0\.1'"),
    ],
)
def test_a_wrong_config_is_named(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        BlockConfig(**({"width": 8, "heads": 2} | changes))


def test_a_config_cannot_be_changed_but_replaced():
    config = BlockConfig(width=8, heads=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.width = 9
    assert dataclasses.replace(config, heads=4).head_width == 2
    assert BlockConfig(**dataclasses.asdict(config)) == config


def test_an_unknown_norm_is_named():
    with pytest.raises(ValueError, match="unknown norm 'batch': choose one of layer, rms"):
        make_norm("batch", 4)
