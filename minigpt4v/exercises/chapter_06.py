"""Exercises of chapter 06: positions."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake
from minigpt4v.position import RotaryEmbedding, sinusoidal_positions, wave_frequencies

TITLE = "Positions"


def positions_per_turn(width: int, hand: int, base: float) -> float:
    """Number of positions after which hand number `hand` has come round once."""
    frequency = base ** (-2 * hand / width)  # radians per position
    return 2 * math.pi / frequency


def _no_two_pi(width: int, hand: int, base: float) -> float:
    return base ** (2 * hand / width)


def _upside_down(width: int, hand: int, base: float) -> float:
    return 2 * math.pi * base ** (-2 * hand / width)


def _exponent_halved(width: int, hand: int, base: float) -> float:
    return 2 * math.pi * base ** (hand / width)


def move_on(table: Tensor, k: int) -> Tensor:
    """Sinusoidal vectors [t, width] of some positions -> those of the positions k further on."""
    sine, cosine = rearrange(table, "t (i two) -> two t i", two=2)
    turn = k * wave_frequencies(table.shape[1])
    moved = [sine * turn.cos() + cosine * turn.sin(), cosine * turn.cos() - sine * turn.sin()]
    return rearrange(moved, "two t i -> t (i two)")


def _move_back(table: Tensor, k: int) -> Tensor:
    return move_on(table, -k)


def _move_halves(table: Tensor, k: int) -> Tensor:
    sine, cosine = rearrange(table, "t (two i) -> two t i", two=2)
    turn = k * wave_frequencies(table.shape[1])
    moved = [sine * turn.cos() + cosine * turn.sin(), cosine * turn.cos() - sine * turn.sin()]
    return rearrange(moved, "two t i -> t (two i)")


def _one_speed(table: Tensor, k: int) -> Tensor:
    sine, cosine = rearrange(table, "t (i two) -> two t i", two=2)
    moved = [sine * math.cos(k) + cosine * math.sin(k), cosine * math.cos(k) - sine * math.sin(k)]
    return rearrange(moved, "two t i -> t (i two)")


def _first_positions(table: Tensor, k: int) -> Tensor:
    return sinusoidal_positions(len(table) + k, table.shape[1])[k:] if k >= 0 else table


def neighbours_to_halves(weight: Tensor, heads: int) -> Tensor:
    """Rows trained for pairs of neighbours -> the order that code with pairs of halves needs; [width, width]."""
    return rearrange(weight, "(h i two) d -> (h two i) d", h=heads, two=2)


def _halves_to_neighbours(weight: Tensor, heads: int) -> Tensor:
    return rearrange(weight, "(h two i) d -> (h i two) d", h=heads, two=2)


def _across_heads(weight: Tensor, heads: int) -> Tensor:  # noqa: ARG001 - that it is not used is the mistake
    return rearrange(weight, "(i two) d -> (two i) d", two=2)


def _columns(weight: Tensor, heads: int) -> Tensor:
    return rearrange(weight, "d (h i two) -> d (h two i)", h=heads, two=2)


def rotary_on_a_grid(x: Tensor, rows: int, columns: int) -> Tensor:
    """Turn the first half of each head by the row of a token, the second half by its column; [b, h, (r c), d]."""
    patches = torch.arange(rows * columns)
    first, second = x.chunk(2, dim=-1)
    rotary = RotaryEmbedding(first.shape[-1])
    return torch.cat([rotary(first, patches // columns), rotary(second, patches % columns)], dim=-1)


def _turned_by(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    rotary = RotaryEmbedding(x.shape[-1] // 2)
    halves = x.chunk(2, dim=-1)
    return torch.cat([rotary(halves[0], first), rotary(halves[1], second)], dim=-1)


def _rows_and_columns_swapped(x: Tensor, rows: int, columns: int) -> Tensor:
    return _turned_by(x, torch.arange(rows * columns) % columns, torch.arange(rows * columns) // columns)


def _grid_as_given(x: Tensor, rows: int, columns: int) -> Tensor:
    return _turned_by(x, torch.arange(rows * columns) % rows, torch.arange(rows * columns) // rows)


def _divided_by_rows(x: Tensor, rows: int, columns: int) -> Tensor:
    return _turned_by(x, torch.arange(rows * columns) // rows, torch.arange(rows * columns) % rows)


def _in_a_line(x: Tensor, rows: int, columns: int) -> Tensor:
    return RotaryEmbedding(x.shape[-1])(x, torch.arange(rows * columns))


def _halves_in_a_line(x: Tensor, rows: int, columns: int) -> Tensor:
    return _turned_by(x, torch.arange(rows * columns), torch.arange(rows * columns))


def _tables() -> list[tuple[Tensor, int]]:
    table = sinusoidal_positions(60, 8)
    return [(table[:10], 3), (table[20:25], 7), (table[10:15], 0), (table[50:], -4)]


def _weights() -> list[tuple[Tensor, int]]:
    return [(torch.randn(width, width), heads) for width, heads in ((16, 2), (24, 3), (8, 1))]


def _grids() -> list[tuple[Tensor, int, int]]:
    return [(torch.randn(2, 3, rows * columns, 8), rows, columns) for rows, columns in ((3, 3), (2, 5), (4, 1))]


EXERCISES = (
    Exercise(
        id="06.1",
        title="What one block can know",
        difficulty=1,
        minutes=3,
        task="""
            One transformer block with a causal mask and *without positions* reads a text of six different tokens.
            Now the **first five** change places among themselves (each of them moves), and the sixth stays. Compare the
            six output vectors, place by place, with those before. Which of them can differ?

            - `"a"`: none of them
            - `"b"`: those of places 1 to 5, but not that of place 6
            - `"c"`: all six
        """,
        hint="Which tokens does the last one see, before and after? And which token stands at place 1?",
        help="Section 1 shuffles the past of the last token, first under one block, then under two.",
        solution="b",
        mistakes=(
            Mistake(
                "a",
                "At places 1 to 5 another token stands than before, and with a causal mask the part of the text it sees"
                " is another too. It is only the last place for which nothing changes.",
            ),
            Mistake(
                "c",
                "The last token stays where it is and sees the same *set* of tokens. In one block its output is a"
                " weighted sum over that set, and sums have no order. With two blocks you would be right.",
            ),
        ),
    ),
    Exercise(
        id="06.2",
        title="Once round",
        difficulty=1,
        minutes=5,
        task="""
            Write `positions_per_turn(width, hand, base)`: after how many positions has hand number `hand`, counted from
            0, of sinusoidal positions of that width come round once? All three are numbers, the answer is one too, and
            need not be whole. (`import math` for pi.)
        """,
        hint="A whole turn is 2 pi radians. How many radians does the hand turn per position?",
        help="Hand 0 takes 6.28 positions, whatever the base. A slow hand takes more, so large bases must give more.",
        solution=positions_per_turn,
        inputs=lambda: [(8, 0, 10_000.0), (8, 3, 10_000.0), (64, 5, 100.0)],
        mistakes=(
            Mistake(
                _no_two_pi, "After that many positions the hand has turned by one *radian*: a whole turn is 2 pi of it."
            ),
            Mistake(
                _upside_down,
                "Hand 0 is right, but the slower hands come out faster. Time is way divided by speed, and here they are"
                " multiplied.",
            ),
            Mistake(
                _exponent_halved,
                "Hand 0 is right, the others are too fast: a hand takes *two* channels of the width, look at the"
                " exponent of the formula once more.",
            ),
        ),
    ),
    Exercise(
        id="06.3",
        title="Move on without looking up",
        difficulty=3,
        minutes=12,
        task="""
            Write `move_on(table, k)`: `table` `[t, width]` holds the sinusoidal vectors of *some* positions in a row,
            you are not told which (sine and cosine of each hand are neighbours, base 10,000). Give back `[t, width]`,
            the vectors of the positions `k` further on. `k` may be negative. Use
            `position.wave_frequencies(width)`, and `rearrange` or slices.
        """,
        hint="Section 2: one rotation for all positions. Take sines and cosines apart, turn each hand, and interleave.",
        help="sin(a + b) = sin a cos b + cos a sin b, and cos(a + b) = cos a cos b - sin a sin b, with b = k omega.",
        solution=move_on,
        inputs=_tables,
        mistakes=(
            Mistake(
                _move_back,
                "Right for k = 0, but every hand turns the wrong way: these are the vectors k positions *back*. Look"
                " at the two signs.",
            ),
            Mistake(
                _move_halves,
                "The turn is right, the pairs are not: in this table sine and cosine of a hand are *neighbours*"
                " (channels 0 and 1), not a half width apart.",
            ),
            Mistake(
                _one_speed,
                "The fast hand is right, the slower ones have run ahead: each hand turns by k times *its own*"
                " frequency.",
            ),
            Mistake(
                _first_positions,
                "Right for a table that begins at position 0 and k above zero. The table may begin anywhere: turn"
                " what you are given, do not look it up anew.",
            ),
        ),
    ),
    Exercise(
        id="06.4",
        title="Load foreign weights",
        difficulty=3,
        minutes=10,
        task="""
            You have the query matrix of a model that was trained with *neighbour* pairs: `weight` `[width, width]`,
            whose rows are the output channels, head after head. Write `neighbours_to_halves(weight, heads)`: the matrix
            `[width, width]` to load into this library, which pairs *halves*, so that all scores stay as they were
            (with the key matrix changed alike). Use `rearrange`.
        """,
        hint="In each head, channels 0, 2, 4, ... must come first, and then 1, 3, 5, ... Section 6 goes the other way.",
        help="Name the rows `(h i two)`: head, pair, and which of the two. In which order do halves want them?",
        solution=neighbours_to_halves,
        inputs=_weights,
        mistakes=(
            Mistake(
                _halves_to_neighbours,
                "That is the way back, from halves to neighbours. Which name runs fastest in the rows that you are"
                " *given*?",
            ),
            Mistake(
                _across_heads,
                "Right for one head. With several, rows have wandered from one head into another: sort inside each"
                " head.",
            ),
            Mistake(
                _columns,
                "The columns were sorted: they read the tokens, whose channels stay where they are. The channels that"
                " are turned come out of the *rows* (PyTorch stores `[out, in]`).",
            ),
        ),
    ),
    Exercise(
        id="06.5",
        title="Repair rotary positions on a grid",
        difficulty=4,
        minutes=15,
        task="""
            `x` `[b, h, rows * columns, d]` are the queries of the patches of a grid, row by row as one reads; `d` is a
            multiple of 4. The *first* half of the `d` channels is to be turned by the row of each patch (0, 1, 2, ...),
            the *second* half by its column. This function runs, gives the right shape, and has **two** faults. Copy it
            and repair it.

            ```py
            def rotary_on_a_grid(x, rows, columns):
                patches = torch.arange(rows * columns)
                first, second = x.chunk(2, dim=-1)
                rotary = position.RotaryEmbedding(first.shape[-1])
                return torch.cat([rotary(first, patches % rows), rotary(second, patches // rows)], dim=-1)
            ```
        """,
        hint="First write down, for a grid of 2 x 3, the row of each of the six patches, and the column of each.",
        help="`//` counts full rows, `%` says how far into a row. A row holds as many patches as there are columns."
        " Try a grid that is not square: one fault hides in square ones.",
        solution=rotary_on_a_grid,
        inputs=_grids,
        mistakes=(
            Mistake(_grid_as_given, "Both faults are still there. On a grid of 2 x 3, print what turns each half."),
            Mistake(
                _rows_and_columns_swapped,
                "Rows and columns are swapped: the *first* half is to be turned by the row. Tokens in one row of the"
                " grid share it.",
            ),
            Mistake(
                _divided_by_rows,
                "Right for square grids only: a row is as long as there are *columns*, and that is what the numbers of"
                " the tokens have to be divided by.",
            ),
            Mistake(
                _in_a_line,
                "These are rotary positions in a line, 0, 1, 2, ... over all patches: the patch below seems far away."
                " Cut the channels in two halves, and give each half its own positions.",
            ),
            Mistake(
                _halves_in_a_line,
                "The halves are cut, but both are turned by the number of the patch: one needs its row, the other its"
                " column.",
            ),
        ),
    ),
)
