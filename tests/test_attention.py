"""attention.py against loops, PyTorch's kernel, `nn.MultiheadAttention`, and what attention must and must not see."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minigpt4v.attention import (
    KeyValueCache,
    MultiHeadAttention,
    causal_mask,
    scaled_dot_product_attention,
    unit_scale,
)
from minigpt4v.position import RotaryEmbedding

WIDTH, HEADS = 24, 4


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def random_mask(*shape: int) -> torch.Tensor:
    """Half of the places may be looked at; some tokens may look nowhere."""
    mask = torch.rand(*shape) < 0.5
    mask[..., 0, :] = False
    return mask


# -- one head ---------------------------------------------------------------------------------------------------------


def test_attention_is_a_weighted_average_of_the_values():
    query, key, value = torch.randn(3, 4), torch.randn(5, 4), torch.randn(5, 2)
    output, weights = scaled_dot_product_attention(query, key, value)
    for t in range(3):
        scores = [math.exp(sum(query[t, i] * key[s, i] for i in range(4)) / math.sqrt(4)) for s in range(5)]
        for s in range(5):
            assert weights[t, s].item() == pytest.approx(scores[s] / sum(scores), abs=1e-6)
        average = sum(scores[s] / sum(scores) * value[s] for s in range(5))
        close(output[t], average)


@given(
    leading=st.lists(st.integers(1, 3), max_size=2),
    queries=st.integers(1, 5),
    keys=st.integers(1, 5),
    width=st.integers(1, 6),
    value_width=st.integers(1, 4),
    masked=st.booleans(),
)
def test_the_readable_form_agrees_with_the_kernel(leading, queries, keys, width, value_width, masked):
    query, key = torch.randn(*leading, queries, width), torch.randn(*leading, keys, width)
    value = torch.randn(*leading, keys, value_width)
    mask = random_mask(*leading, queries, keys) if masked else None
    output, weights = scaled_dot_product_attention(query, key, value, mask)
    assert output.shape == (*leading, queries, value_width)
    assert weights.shape == (*leading, queries, keys)
    close(output, F.scaled_dot_product_attention(query, key, value, attn_mask=mask))
    sums = torch.ones_like(weights[..., 0]) if mask is None else mask.any(-1).float()
    close(weights.sum(-1), sums)


def test_where_the_mask_says_no_there_is_no_weight_at_all():
    mask = random_mask(6, 6)
    _, weights = scaled_dot_product_attention(torch.randn(3, 6, 4), torch.randn(3, 6, 4), torch.randn(3, 6, 4), mask)
    assert (weights[:, ~mask] == 0).all()
    assert (weights[:, mask] > 0).all()


def test_large_scores_stay_finite():
    query = torch.full((2, 4), 1e18)
    output, weights = scaled_dot_product_attention(query, -query, torch.randn(2, 3), causal_mask(2))
    assert output.isfinite().all()
    close(weights, torch.tensor([[1.0, 0.0], [0.5, 0.5]]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_token_that_may_look_nowhere_gets_zeros_and_no_nan_gradients(dtype):
    query, key, value = (torch.randn(3, 4, dtype=dtype, requires_grad=True) for _ in range(3))
    mask = torch.tensor([[True, False, False], [False, False, False], [True, True, True]])
    output, weights = scaled_dot_product_attention(query, key, value, mask)
    assert not output[1].any()
    assert not weights[1].any()
    output.sum().backward()
    assert all(x.grad.isfinite().all() for x in (query, key, value))


def test_causal_mask_with_and_without_a_past():
    assert causal_mask(3).tolist() == [[True, False, False], [True, True, False], [True, True, True]]
    assert causal_mask(2, past=1).tolist() == [[True, True, False], [True, True, True]]
    assert torch.equal(causal_mask(2, past=3), causal_mask(5)[3:])


def test_unit_scale_gives_a_root_mean_square_of_one():
    close(unit_scale(9 * torch.randn(3, 5)).square().mean(-1), torch.ones(3), 1e-4)
    assert not unit_scale(torch.zeros(2, 5)).any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_unit_scale_does_not_blow_up_what_is_next_to_nothing(dtype):
    """x / sqrt(mean(x^2) + 1e-6), whatever the number format: at 0.001, half of what is divided by is the 1e-6."""
    close(unit_scale(torch.full((4,), 1e-3, dtype=dtype)).double(), torch.full((4,), 0.5**0.5).double(), 5e-3)


def test_gradients_of_one_head_are_right():
    inputs = [torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    assert torch.autograd.gradcheck(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask), inputs)


def test_wrong_shapes_of_one_head_are_named():
    x = torch.zeros(2, 3, 4)
    with pytest.raises(ValueError, match="one width, got 4 and 5"):
        scaled_dot_product_attention(x, torch.zeros(2, 3, 5), x)
    with pytest.raises(ValueError, match="got 3 keys and 6 values"):
        scaled_dot_product_attention(x, x, torch.zeros(2, 6, 4))
    with pytest.raises(ValueError, match=r"end in \[3, 3\] .* got \[3, 2\]"):
        scaled_dot_product_attention(x, x, x, torch.ones(3, 2, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"boolean .* got torch\.float32"):
        scaled_dot_product_attention(x, x, x, torch.ones(3, 3))


# -- many heads -------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["plain", "rotary", "qk_norm", "both"])
def attention(request) -> MultiHeadAttention:
    rotary = RotaryEmbedding(WIDTH // HEADS) if request.param in ("rotary", "both") else None
    layer = MultiHeadAttention(WIDTH, HEADS, qk_norm=request.param in ("qk_norm", "both"), rotary=rotary)
    if layer.sharpness is not None:
        nn.init.uniform_(layer.sharpness, 0.5, 2.0)
    return layer


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("masked", ["causal", "shared", "own"])
def test_many_heads_agree_with_pytorch(bias, masked):
    theirs = nn.MultiheadAttention(WIDTH, HEADS, bias=bias, batch_first=True)
    ours = MultiHeadAttention(WIDTH, HEADS, bias=bias)
    with torch.no_grad():
        for layer, weight in zip((ours.query, ours.key, ours.value), theirs.in_proj_weight.chunk(3), strict=True):
            layer.weight.copy_(weight)
        ours.output.weight.copy_(theirs.out_proj.weight)
        if bias:
            theirs.in_proj_bias.uniform_(-1, 1)
            for layer, offset in zip((ours.query, ours.key, ours.value), theirs.in_proj_bias.chunk(3), strict=True):
                layer.bias.copy_(offset)
            ours.output.bias.copy_(theirs.out_proj.bias)

    x = torch.randn(3, 7, WIDTH)
    mask = {
        "causal": causal_mask(7),
        "shared": torch.rand(7, 7) < 0.5 + torch.eye(7),
        "own": torch.rand(3, 7, 7) < 0.5 + torch.eye(7),
    }[masked]
    blocked = ~mask if mask.ndim == 2 else ~mask.repeat_interleave(HEADS, dim=0)
    expected, expected_weights = theirs(x, x, x, attn_mask=blocked, average_attn_weights=False)
    close(ours(x, None if masked == "causal" else mask), expected)
    output, weights = ours(x, mask, return_weights=True)
    close(output, expected)
    close(weights, expected_weights)


@pytest.mark.parametrize("shape", [None, (7, 7), (3, 7, 7)])
def test_the_fused_path_agrees_with_the_readable_one(attention, shape):
    x, mask = torch.randn(3, 7, WIDTH), None if shape is None else random_mask(*shape)
    output, weights = attention(x, mask, return_weights=True)
    close(attention(x, mask), output)
    assert weights.shape == (3, HEADS, 7, 7)


def test_both_paths_have_the_same_gradients(attention):
    x, mask = torch.randn(2, 5, WIDTH), random_mask(2, 5, 5)
    parameters = list(attention.parameters())
    fused = torch.autograd.grad(attention(x, mask).square().sum(), parameters)
    readable = torch.autograd.grad(attention(x, mask, return_weights=True)[0].square().sum(), parameters)
    assert any(gradient.abs().max() > 0.01 for gradient in fused)
    for ours, theirs in zip(fused, readable, strict=True):
        close(ours, theirs, 1e-4)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_blind_token_gets_the_output_bias_alone_and_no_nan(device, dtype):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    layer = MultiHeadAttention(64, 4, qk_norm=True).to(device, dtype)
    x = torch.randn(2, 40, 64, device=device, dtype=dtype, requires_grad=True)
    mask = random_mask(2, 40, 40).to(device)
    mask[1] = False
    for return_weights in (False, True):
        output = layer(x, mask, return_weights=return_weights)
        output = output[0] if return_weights else output
        close(output[1], layer.output.bias.expand(40, 64))
        close(output[0, 0], layer.output.bias)
        gradients = torch.autograd.grad(output.sum(), [x, *layer.parameters()])
        assert all(gradient.isfinite().all() for gradient in gradients)


def test_without_a_mask_no_token_sees_a_later_one(attention):
    x = torch.randn(2, 6, WIDTH, requires_grad=True)
    for t in range(6):
        (gradient,) = torch.autograd.grad(attention(x)[:, t].sum(), x)
        touched = gradient.abs().sum(dim=(0, 2)) > 0
        assert touched.tolist() == [s <= t for s in range(6)]


def test_a_masked_token_cannot_be_felt(attention):
    x, mask = torch.randn(1, 6, WIDTH), torch.ones(6, 6, dtype=torch.bool)
    mask[:, 3] = False
    changed = x.clone()
    changed[:, 3] = torch.randn(WIDTH)
    before, after = attention(x, mask), attention(changed, mask)
    others = [0, 1, 2, 4, 5]
    close(before[:, others], after[:, others], 1e-6)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_without_positions_attention_sees_a_set(qk_norm):
    layer, x = MultiHeadAttention(WIDTH, HEADS, qk_norm=qk_norm), torch.randn(2, 6, WIDTH)
    everybody, order = torch.ones(6, 6, dtype=torch.bool), torch.randperm(6)
    close(layer(x[:, order], everybody), layer(x, everybody)[:, order])


def test_with_rotary_positions_it_sees_an_order():
    layer = MultiHeadAttention(WIDTH, HEADS, rotary=RotaryEmbedding(6))
    x, everybody, order = torch.randn(2, 6, WIDTH), torch.ones(6, 6, dtype=torch.bool), torch.tensor([5, 1, 2, 3, 4, 0])
    assert (layer(x[:, order], everybody) - layer(x, everybody)[:, order]).abs().max() > 1e-3
    # ... and the order is all in the positions: moved together with their tokens, they undo the shuffle.
    close(layer(x[:, order], everybody, positions=order), layer(x, everybody)[:, order])
    close(layer(x, positions=torch.arange(6).expand(2, 6)), layer(x))
    close(layer(x, positions=torch.arange(100, 106)), layer(x), 1e-4)


def test_qk_norm_ignores_the_size_of_queries_and_keys_and_sharpness_scales_the_scores():
    layer, x = MultiHeadAttention(WIDTH, HEADS, qk_norm=True), torch.randn(2, 5, WIDTH)
    _, before = layer(x, return_weights=True)
    with torch.no_grad():
        for parameter in (*layer.query.parameters(), *layer.key.parameters()):
            parameter *= 30
    _, after = layer(x, return_weights=True)
    close(before, after, 1e-4)
    with torch.no_grad():
        layer.sharpness.copy_(torch.tensor([0.0, 1.0, 1.0, 1.0]))
    _, weights = layer(x, return_weights=True)
    close(weights[:, 0], (causal_mask(5) / torch.arange(1, 6)[:, None]).expand(2, 5, 5))
    close(weights[:, 1:], after[:, 1:])


def test_zero_init_starts_without_effect_but_can_learn():
    layer, x = MultiHeadAttention(WIDTH, HEADS, bias=False, zero_init=True), torch.randn(2, 5, WIDTH)
    assert not layer(x).any()
    layer(x).sum().backward()
    assert layer.output.weight.grad.any()


def test_parameters_do_not_grow_with_the_heads():
    counts = {sum(p.numel() for p in MultiHeadAttention(WIDTH, heads).parameters()) for heads in (1, 2, 4, 24)}
    assert counts == {4 * WIDTH * WIDTH + 4 * WIDTH}


@given(batch=st.integers(1, 3), length=st.integers(1, 6), heads=st.integers(1, 4), head_width=st.integers(1, 4))
def test_shapes_of_many_heads(batch, length, heads, head_width):
    layer = MultiHeadAttention(heads * head_width, heads)
    x = torch.randn(batch, length, heads * head_width)
    output, weights = layer(x, return_weights=True)
    assert output.shape == layer(x).shape == x.shape
    assert weights.shape == (batch, heads, length, length)


def test_wrong_shapes_of_many_heads_are_named():
    with pytest.raises(ValueError, match="width 10 cannot be split among 3 heads"):
        MultiHeadAttention(10, 3)
    with pytest.raises(ValueError, match="width 10 cannot be split among 0 heads"):
        MultiHeadAttention(10, 0)
    layer = MultiHeadAttention(8, 2)
    with pytest.raises(ValueError, match=r"^MultiHeadAttention was built for tokens of width 8, got width 6"):
        layer(torch.zeros(1, 3, 6))
    with pytest.raises(ValueError, match=r"^MultiHeadAttention reads tokens \[b, t, 8\], got \[3, 8\]"):
        layer(torch.zeros(3, 8))
    x = torch.zeros(2, 3, 8)
    for shape, sentence in {
        (4, 3): r"end in \[3, 3\] .* got \[4, 3\]",
        (5, 3, 3): r"b = 2, got \[5, 3, 3\]",
        (1, 2, 3, 3): r"b = 2, got \[1, 2, 3, 3\]",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            layer(x, torch.ones(shape, dtype=torch.bool))
    with pytest.raises(TypeError, match=r"boolean .* got torch\.int64"):
        layer(x, torch.ones(3, 3, dtype=torch.long))


# -- the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("steps", [[1] * 8, [5, 1, 1, 1], [3, 5], [8], [2, 3, 3]])
def test_reading_in_steps_gives_what_reading_at_once_gives(attention, steps, return_weights):
    x = torch.randn(2, 8, WIDTH)
    cache, outputs = KeyValueCache(2, 2, HEADS, 8, WIDTH // HEADS), []
    with torch.no_grad():
        for part in x.split(steps, dim=1):
            output = attention(part, cache=cache, layer=1, return_weights=return_weights)
            outputs.append(output[0] if return_weights else output)
        close(torch.cat(outputs, dim=1), attention(x))
    assert cache.lengths == [0, 8]


def test_a_mask_over_cached_tokens():
    layer, x = MultiHeadAttention(WIDTH, HEADS, rotary=RotaryEmbedding(6)), torch.randn(2, 6, WIDTH)
    mask = torch.rand(2, 6, 6) < 0.5
    cache = KeyValueCache(1, 2, HEADS, 10, WIDTH // HEADS)
    with torch.no_grad():
        whole = layer(x, mask)
        layer(x[:, :4], cache=cache)
        close(layer(x[:, 4:], mask[:, 4:], cache=cache), whole[:, 4:])


def test_layers_of_a_cache_do_not_mix():
    cache = KeyValueCache(2, 1, 1, 4, 3)
    first, second = torch.randn(1, 1, 2, 3), torch.randn(1, 1, 2, 3)
    cache.append(0, first, 2 * first)
    assert cache.length == 0  # the second layer has not read yet
    keys, values = cache.append(1, second, 2 * second)
    assert cache.length == 2
    close(keys, second)
    close(values, 2 * second)
    keys, values = cache.append(0, second, second)
    close(keys, torch.cat([first, second], dim=2))
    close(values, torch.cat([2 * first, second], dim=2))


def filled_cache(batch: int = 3) -> tuple[KeyValueCache, torch.Tensor]:
    cache, key = KeyValueCache(2, batch, 1, 5, 2), torch.randn(batch, 1, 4, 2)
    for layer in range(2):
        cache.append(layer, key, -key)
    return cache, key


def kept(cache: KeyValueCache) -> torch.Tensor:
    """Keys of the last layer, read by adding nothing."""
    nothing = torch.zeros(cache.batch, 1, 0, 2)
    keys, values = cache.append(1, nothing, nothing)
    close(values, -keys)
    return keys


def test_repeat_select_and_truncate():
    cache, key = filled_cache()
    repeated = cache.repeat(2)
    assert (repeated.batch, repeated.length, repeated.context_length) == (6, 4, 5)
    close(kept(repeated), key[[0, 0, 1, 1, 2, 2]])

    for rows in ([2, 0], torch.tensor([2, 0])):
        selected = cache.select(rows)
        assert (selected.batch, selected.length) == (2, 4)
        close(kept(selected), key[[2, 0]])

    for length in (4, 1, 0):
        cache.truncate(length)
        assert cache.length == length
        close(kept(cache), key[:, :, :length])
    assert (repeated.length, selected.length) == (4, 4)


def test_copies_of_a_cache_are_written_apart():
    cache, key = filled_cache()
    copies = [cache.repeat(1), cache.select([0, 1, 2])]
    new = torch.randn(3, 1, 1, 2)
    for layer in range(2):
        cache.append(layer, new, -new)
    for copy in copies:
        close(kept(copy), key)
        for layer in range(2):
            copy.append(layer, 2 * new, -2 * new)
    close(kept(cache)[:, :, -1:], new)


def test_after_truncate_the_text_goes_on_another_way():
    layer, x = MultiHeadAttention(WIDTH, HEADS, rotary=RotaryEmbedding(6)), torch.randn(1, 6, WIDTH)
    cache = KeyValueCache(1, 1, HEADS, 6, WIDTH // HEADS)
    with torch.no_grad():
        layer(torch.cat([x[:, :3], torch.randn(1, 3, WIDTH)], dim=1), cache=cache)
        cache.truncate(3)
        close(layer(x[:, 3:], cache=cache), layer(x)[:, 3:])


def test_everything_is_made_where_the_tokens_lie():
    """On the device "meta", which has shapes and no values, as on a GPU: what is made elsewhere is refused."""
    layer = MultiHeadAttention(WIDTH, HEADS, qk_norm=True, rotary=RotaryEmbedding(6)).to("meta")
    x, cache = torch.zeros(2, 6, WIDTH, device="meta"), KeyValueCache(1, 2, HEADS, 6, WIDTH // HEADS, device="meta")
    assert layer(x[:, :4], cache=cache).device.type == "meta"
    assert layer(x[:, 4:], cache=cache).device.type == "meta"
    assert causal_mask(3, "meta").device.type == "meta"


def test_a_cache_says_what_does_not_fit():
    cache, key = filled_cache()
    with pytest.raises(ValueError, match="room for 5 tokens: 4 are stored, 3 more do not fit"):
        cache.append(0, key[:, :, :3], key[:, :, :3])
    assert cache.length == 4
    with pytest.raises(ValueError, match="holds 3 texts, got 2"):
        cache.append(0, key[:2, :, :1], key[:2, :, :1])
    for length in (5, -1):
        with pytest.raises(ValueError, match=f"cannot keep {length} tokens of the 4 stored: choose 0 to 4"):
            cache.truncate(length)
