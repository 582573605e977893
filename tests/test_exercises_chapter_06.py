"""Chapter 06's exercises: answers written in other ways pass, and wrong ones hear what is wrong with them."""

import math

import numpy as np
import torch
from exercise_checks import assert_diagnosed, assert_passes

from minigpt4v.position import RotaryEmbedding, apply_rotary, wave_frequencies


def test_what_one_block_can_know():
    assert_passes("06.1", "b")
    assert_diagnosed("06.1", "a", "another token stands")
    assert_diagnosed("06.1", "c", "set")


def test_once_round():
    assert_passes("06.2", lambda width, hand, base: 2 * np.pi / wave_frequencies(width, base)[hand])
    assert_diagnosed("06.2", lambda width, hand, base: 1 / wave_frequencies(width, base)[hand], "radian")
    assert_diagnosed("06.2", lambda width, hand, base: math.tau * wave_frequencies(width, base)[hand], "speed")
    assert_diagnosed("06.2", lambda width, hand, base: math.tau * math.exp(math.log(base) * hand / width), "exponent")


def turned(table, k, sign=1, frequencies=None):
    """The hands as complex numbers: cosine + i sine."""
    number = torch.complex(table[:, 1::2], table[:, 0::2])
    turn = sign * k * (wave_frequencies(table.shape[1]) if frequencies is None else frequencies)
    number = number * torch.polar(torch.ones_like(turn), turn)
    return torch.stack([number.imag, number.real], dim=-1).flatten(1)


def test_move_on():
    assert_passes("06.3", turned)
    assert_diagnosed("06.3", lambda table, k: turned(table, k, sign=-1), "back")
    assert_diagnosed("06.3", lambda table, k: turned(table, k, frequencies=torch.ones(4)), "its own")

    def halves(table, k):
        return apply_rotary(table, -k * wave_frequencies(table.shape[1]))

    assert_diagnosed("06.3", halves, "neighbours")

    def looked_up(table, k):
        places = (torch.arange(len(table)) + k)[:, None] * wave_frequencies(table.shape[1])
        return torch.stack([places.sin(), places.cos()], dim=-1).flatten(1) if k >= 0 else table

    assert_diagnosed("06.3", looked_up, "begin anywhere")


def rows(width, heads):
    """For every new row, the row it comes from."""
    head = width // heads
    return [start + i for start in range(0, width, head) for i in [*range(0, head, 2), *range(1, head, 2)]]


def test_load_foreign_weights():
    assert_passes("06.4", lambda weight, heads: weight[rows(len(weight), heads)])
    assert_diagnosed("06.4", lambda weight, heads: weight[np.argsort(rows(len(weight), heads))], "way back")
    assert_diagnosed("06.4", lambda weight, heads: torch.cat([weight[0::2], weight[1::2]]), "inside each head")
    assert_diagnosed("06.4", lambda weight, heads: weight[:, rows(len(weight), heads)], "columns")


def test_rotary_on_a_grid():
    def token_by_token(x, rows, columns):
        frequencies = wave_frequencies(x.shape[-1] // 2)
        result = x.clone()
        for token in range(rows * columns):
            row, column = divmod(token, columns)
            half = x.shape[-1] // 2
            result[:, :, token, :half] = apply_rotary(x[:, :, token, :half], row * frequencies)
            result[:, :, token, half:] = apply_rotary(x[:, :, token, half:], column * frequencies)
        return result

    def by_places(places):
        def answer(x, rows, columns):
            rotary = RotaryEmbedding(x.shape[-1] // 2)
            pairs = torch.tensor([places(token, rows, columns) for token in range(rows * columns)])
            first, second = x.tensor_split(2, dim=-1)
            return torch.cat([rotary(first, pairs[:, 0]), rotary(second, pairs[:, 1])], dim=-1)

        return answer

    assert_passes("06.5", token_by_token)
    assert_passes("06.5", by_places(lambda token, rows, columns: divmod(token, columns)))
    assert_diagnosed("06.5", by_places(lambda token, rows, columns: divmod(token, rows)[::-1]), "Both faults")
    assert_diagnosed("06.5", by_places(lambda token, rows, columns: divmod(token, columns)[::-1]), "swapped")
    assert_diagnosed("06.5", by_places(lambda token, rows, columns: divmod(token, rows)), "square grids only")
    assert_diagnosed("06.5", by_places(lambda token, rows, columns: (token, token)), "both are turned")

    def in_a_line(x, rows, columns):
        return apply_rotary(x, torch.arange(rows * columns)[:, None] * wave_frequencies(x.shape[-1]))

    assert_diagnosed("06.5", in_a_line, "in a line")
