"""position.py against closed forms, complex numbers, and the rotary embedding of `transformers`' Llama."""

import math

import pytest
import torch
from einops import rearrange
from hypothesis import given
from hypothesis import strategies as st

from minigpt4v.position import (
    LearnedPositions,
    LearnedPositions2d,
    RotaryEmbedding,
    SinusoidalPositions,
    apply_rotary,
    check_indices,
    sinusoidal_positions,
    sinusoidal_positions_2d,
    wave_frequencies,
)


@pytest.mark.parametrize("base", [10_000, 50])
def test_sinusoidal_positions_are_the_formula_of_the_paper(base):
    length, width = 7, 6
    table = sinusoidal_positions(length, width, base)
    if base == 10_000:
        assert torch.equal(table, sinusoidal_positions(length, width))
    for position in range(length):
        for i in range(width // 2):
            angle = position / base ** (2 * i / width)
            assert table[position, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_a_shift_of_sinusoidal_positions_is_one_rotation_for_all_positions():
    table, frequencies, shift = sinusoidal_positions(40, 8), wave_frequencies(8), 5
    sine, cosine = (shift * frequencies).sin(), (shift * frequencies).cos()
    waves = rearrange(table, "t (i two) -> two t i", two=2)
    turned = torch.stack([waves[0] * cosine + waves[1] * sine, waves[1] * cosine - waves[0] * sine])
    torch.testing.assert_close(turned[:, :-shift], waves[:, shift:])


@pytest.mark.parametrize("base", [(), (50.0,)])
def test_positions_on_a_grid_tell_row_and_column_apart(base):
    rows, columns, width = 3, 5, 8
    table = sinusoidal_positions_2d(rows, columns, width, *base)
    vertical, horizontal = sinusoidal_positions(rows, 4, *base), sinusoidal_positions(columns, 4, *base)
    assert table.shape == (rows * columns, width)
    for row in range(rows):
        for column in range(columns):
            assert torch.equal(table[row * columns + column], torch.cat([vertical[row], horizontal[column]]))


@pytest.mark.parametrize("layer", [SinusoidalPositions(9, 4), LearnedPositions(9, 4)])
def test_position_layers_look_up_any_shape_of_positions(layer):
    everything = layer(torch.arange(9))
    positions = torch.tensor([[0, 3, 8], [2, 2, 1]])
    looked_up = layer(positions)
    assert looked_up.shape == (2, 3, 4)
    torch.testing.assert_close(looked_up, everything[positions], rtol=0, atol=0)
    with pytest.raises(ValueError, match=r"position 9 is outside 0\.\.8"):
        layer(torch.tensor([0, 9]))
    with pytest.raises(ValueError, match=r"position -1 is outside 0\.\.8"):
        layer(torch.tensor([-1, 3]))
    with pytest.raises(TypeError, match=r"whole number, got torch\.float32"):
        layer(torch.tensor([1.0]))


def test_only_learned_positions_learn_and_are_saved():
    assert [name for name, _ in LearnedPositions(9, 4).named_parameters()] == ["table.weight"]
    assert dict(SinusoidalPositions(9, 4).state_dict()) == {}


def test_no_indices_are_no_problem():
    check_indices(torch.zeros(2, 0, dtype=torch.long), 5, "token id")


def test_learned_positions_on_a_grid_are_added_row_by_row():
    layer = LearnedPositions2d(2, 3, 4)
    moved = layer(torch.zeros(5, 6, 4))
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(moved[1, 3 * row + column], layer.table[row, column])
    with pytest.raises(ValueError, match=r"2 x 3 places needs tokens \[b, 6, 4\], got \[5, 7, 4\]"):
        layer(torch.zeros(5, 7, 4))


def test_learned_positions_on_a_grid_start_at_half_the_size_of_tokens():
    assert LearnedPositions2d(20, 20, 50).table.std().item() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_frequencies_are_exact_whatever_the_default_dtype(dtype):
    before = torch.get_default_dtype()
    expected = wave_frequencies(16)
    torch.set_default_dtype(dtype)
    try:
        frequencies = wave_frequencies(16)
    finally:
        torch.set_default_dtype(before)
    torch.testing.assert_close(frequencies, expected, rtol=0, atol=0)


def test_rotary_computes_where_its_input_lies():
    """On the device "meta", which has shapes and no values, as on a GPU: what is made elsewhere is refused."""
    x, positions = torch.zeros(2, 1, 3, 4, device="meta"), torch.arange(3, device="meta")
    assert wave_frequencies(4, device="meta").device.type == "meta"
    assert RotaryEmbedding(4)(x, positions).device.type == "meta"


def test_rotary_is_a_multiplication_of_complex_numbers():
    x, positions = torch.randn(2, 3, 5, 8, dtype=torch.float64), torch.tensor([0, 1, 2, 7, 11])
    number = torch.complex(x[..., :4], x[..., 4:])
    turn = torch.polar(torch.ones(5, 4), positions[:, None] / 10_000 ** (torch.arange(4) / 4))
    expected = torch.view_as_real(number * turn)
    torch.testing.assert_close(
        RotaryEmbedding(8)(x, positions), rearrange(expected, "b h t i two -> b h t (two i)"), rtol=0, atol=1e-5
    )


def test_rotary_agrees_with_llama():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    config = pytest.importorskip("transformers").LlamaConfig(hidden_size=64, num_attention_heads=4, num_hidden_layers=1)
    query, key = torch.randn(2, 4, 10, 16), torch.randn(2, 4, 10, 16)
    positions = torch.randint(500, (2, 10))
    cosine, sine = llama.LlamaRotaryEmbedding(config)(query, positions)
    expected = llama.apply_rotary_pos_emb(query, key, cosine, sine)
    rotary = RotaryEmbedding(16)
    torch.testing.assert_close((rotary(query, positions), rotary(key, positions)), expected, rtol=0, atol=1e-5)


@given(
    st.integers(0, 200), st.integers(0, 200), st.integers(0, 200), st.integers(1, 8), st.sampled_from([10.0, 10_000.0])
)
def test_rotary_products_depend_on_the_distance_alone(first, second, shift, pairs, base):
    rotary = RotaryEmbedding(2 * pairs, base)
    query, key = torch.randn(2, 1, 1, 1, 2 * pairs)

    def product(query_position: int, key_position: int) -> float:
        turned = rotary(query, torch.tensor([query_position])) * rotary(key, torch.tensor([key_position]))
        return turned.sum().item()

    assert product(first, second) == pytest.approx(product(first + shift, second + shift), abs=2e-3)


def test_the_distance_matters():
    query = key = torch.ones(1, 1, 1, 2)
    rotary = RotaryEmbedding(2)
    for distance in range(5):
        turned = rotary(query, torch.tensor([0])) * rotary(key, torch.tensor([distance]))
        assert turned.sum().item() == pytest.approx(2 * math.cos(distance), abs=1e-5)


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 6), st.integers(1, 5))
def test_rotary_keeps_shapes_and_lengths(batch, heads, length, pairs):
    x = torch.randn(batch, heads, length, 2 * pairs)
    shared, own = torch.arange(length), torch.randint(99, (batch, length))
    for positions in (shared, own):
        turned = RotaryEmbedding(2 * pairs)(x, positions)
        assert turned.shape == x.shape
        torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_rotary_positions_of_each_text_are_its_own():
    x, positions, rotary = torch.randn(2, 3, 4, 6), torch.tensor([[0, 1, 2, 3], [5, 4, 9, 9]]), RotaryEmbedding(6)
    for row in range(2):
        torch.testing.assert_close(rotary(x, positions)[row], rotary(x[row : row + 1], positions[row])[0])


def test_position_zero_changes_nothing_and_the_dtype_stays():
    x = torch.randn(1, 2, 3, 4, dtype=torch.bfloat16)
    turned = RotaryEmbedding(4)(x, torch.zeros(3, dtype=torch.long))
    assert turned.dtype == torch.bfloat16
    torch.testing.assert_close(turned, x, rtol=0, atol=0)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"even width .* got 5"):
        sinusoidal_positions(3, 5)
    with pytest.raises(ValueError, match="multiple of 4, got 6"):
        sinusoidal_positions_2d(2, 2, 6)
    with pytest.raises(ValueError, match=r"even width .* got 7"):
        RotaryEmbedding(7)
    with pytest.raises(ValueError, match="heads of width 8, got 6"):
        RotaryEmbedding(8)(torch.zeros(1, 1, 2, 6), torch.arange(2))
    with pytest.raises(ValueError, match=r"1 x 2 tokens need positions \[t\] or \[b, t\], got \[3\]"):
        RotaryEmbedding(8)(torch.zeros(1, 5, 2, 8), torch.arange(3))
    with pytest.raises(ValueError, match="width 8 needs 4 angles per token, got 3"):
        apply_rotary(torch.zeros(5, 2, 8), torch.zeros(5, 2, 3))
