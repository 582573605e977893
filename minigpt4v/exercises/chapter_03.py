"""Exercises of chapter 03: attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Attention"

# --- 03.2 -----------------------------------------------------------------------------------------------------------


def softmax_over_keys(scores: Tensor) -> Tensor:
    """Weights [queries, keys] that sum to 1 for every query."""
    exponentials = (scores - scores.amax(dim=-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


def _over_queries(scores: Tensor) -> Tensor:
    return scores.softmax(dim=0)


def _over_everything(scores: Tensor) -> Tensor:
    return scores.flatten().softmax(dim=0).view_as(scores)


def _overflowing(scores: Tensor) -> Tensor:
    return scores.exp() / scores.exp().sum(dim=-1, keepdim=True)


def _largest_of_all(scores: Tensor) -> Tensor:
    exponentials = (scores - scores.max()).exp()
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


def _mean_subtracted(scores: Tensor) -> Tensor:
    exponentials = (scores - scores.mean(dim=-1, keepdim=True)).exp()
    return exponentials / exponentials.sum(dim=-1, keepdim=True)


# --- 03.3 -----------------------------------------------------------------------------------------------------------


def masked_weights(scores: Tensor, mask: Tensor) -> Tensor:
    """Weights [queries, keys]: nothing where the mask says no, and rows that sum to 1."""
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


def _zero_scores(scores: Tensor, mask: Tensor) -> Tensor:
    return (scores * mask).softmax(dim=-1)


def _zero_weights(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.softmax(dim=-1) * mask


def _inside_out(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(mask, -math.inf).softmax(dim=-1)


def _own_triangle(scores: Tensor, mask: Tensor) -> Tensor:
    past = torch.ones_like(mask).tril()
    return scores.masked_fill(~past, -math.inf).softmax(dim=-1)


def _low_number(scores: Tensor, mask: Tensor) -> Tensor:
    return scores.masked_fill(~mask, -10.0).softmax(dim=-1)


# --- 03.4 -----------------------------------------------------------------------------------------------------------


def look_up(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    """The values [t, v] that queries [t, d] find under keys [s, d], judged by direction alone."""
    query = query / query.norm(dim=-1, keepdim=True)
    keys = keys / keys.norm(dim=-1, keepdim=True)
    weights = (query @ keys.T / temperature).softmax(dim=-1)
    return weights @ values


def _with_lengths(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    return (query @ keys.T / temperature).softmax(dim=-1) @ values


def _unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def _times_temperature(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    return (_unit(query) @ _unit(keys).T * temperature).softmax(dim=-1) @ values


def _after_softmax(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    return (_unit(query) @ _unit(keys).T).softmax(dim=-1) / temperature @ values


def _hands_over_keys(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:  # noqa: ARG001
    return (_unit(query) @ _unit(keys).T / temperature).softmax(dim=-1) @ keys


def _long_queries(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    return (query @ _unit(keys).T / temperature).softmax(dim=-1) @ values


def _over_the_queries(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    return (_unit(query) @ _unit(keys).T / temperature).softmax(dim=0) @ values


def _root_as_well(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    return _with_lengths(_unit(query), _unit(keys), values, temperature * math.sqrt(query.shape[-1]))


# --- 03.5 -----------------------------------------------------------------------------------------------------------


def attention_in_blocks(query: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    """The output [v] of one query [d] over blocks of keys [s, d] and values [s, v], never all at once."""
    largest = torch.tensor(-math.inf)
    total = torch.tensor(0.0)  # sum of the exponentials so far
    output = torch.zeros(blocks[0][1].shape[-1])  # sum of the exponentials times the values so far
    for keys, values in blocks:
        scores = keys @ query / math.sqrt(query.shape[-1])
        new_largest = torch.maximum(largest, scores.max())
        shrink = (largest - new_largest).exp()  # what was summed so far used another largest score
        exponentials = (scores - new_largest).exp()
        total = total * shrink + exponentials.sum()
        output = output * shrink + exponentials @ values
        largest = new_largest
    return output / total


def _mean_of_blocks(query: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    parts = [(keys @ query / math.sqrt(query.shape[-1])).softmax(dim=0) @ values for keys, values in blocks]
    return torch.stack(parts).mean(dim=0)


def _no_shrinking(query: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    total, output = torch.tensor(0.0), torch.zeros(blocks[0][1].shape[-1])
    for keys, values in blocks:
        scores = keys @ query / math.sqrt(query.shape[-1])
        exponentials = (scores - scores.max()).exp()
        total, output = total + exponentials.sum(), output + exponentials @ values
    return output / total


def _total_not_shrunk(query: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    largest, total, output = torch.tensor(-math.inf), torch.tensor(0.0), torch.zeros(blocks[0][1].shape[-1])
    for keys, values in blocks:
        scores = keys @ query / math.sqrt(query.shape[-1])
        new_largest = torch.maximum(largest, scores.max())
        exponentials = (scores - new_largest).exp()
        total = total + exponentials.sum()
        output = output * (largest - new_largest).exp() + exponentials @ values
        largest = new_largest
    return output / total


def _output_not_shrunk(query: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    largest, total, output = torch.tensor(-math.inf), torch.tensor(0.0), torch.zeros(blocks[0][1].shape[-1])
    for keys, values in blocks:
        scores = keys @ query / math.sqrt(query.shape[-1])
        new_largest = torch.maximum(largest, scores.max())
        exponentials = (scores - new_largest).exp()
        total = total * (largest - new_largest).exp() + exponentials.sum()
        output = output + exponentials @ values
        largest = new_largest
    return output / total


def _not_divided(query: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    keys, values = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    scores = keys @ query / math.sqrt(query.shape[-1])
    return (scores - scores.max()).exp() @ values


def _no_largest(query: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    total, output = torch.tensor(0.0), torch.zeros(blocks[0][1].shape[-1])
    for keys, values in blocks:
        exponentials = (keys @ query / math.sqrt(query.shape[-1])).exp()
        total, output = total + exponentials.sum(), output + exponentials @ values
    return output / total


def _unscaled(query: Tensor, blocks: list[tuple[Tensor, Tensor]]) -> Tensor:
    keys, values = (torch.cat(parts) for parts in zip(*blocks, strict=True))
    return (keys @ query).softmax(dim=0) @ values


def _texts_in_blocks() -> list[tuple[Tensor, list[tuple[Tensor, Tensor]]]]:
    chance = torch.Generator().manual_seed(3)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=chance)

    sizes = (4, 1, 3)
    usual = [(numbers(size, 8), numbers(size, 2)) for size in sizes]
    loud = [(keys * 300, values) for keys, values in usual]  # scores far above 88, where exp overflows
    return [(numbers(8), usual[:1]), (numbers(8), usual), (numbers(8), loud)]


# --- all of them ----------------------------------------------------------------------------------------------------


EXERCISES = (
    Exercise(
        id="03.1",
        title="How much memory?",
        difficulty=1,
        minutes=3,
        task="""
            One head of attention reads a text of **8,192 tokens** and writes down its whole matrix of weights in 32-bit
            numbers (4 bytes each). How many **MiB** does the matrix take? (1 MiB is 2**20 bytes.) Set `answer` to the
            number, or to an expression that computes it.
        """,
        hint="How many rows has the matrix, and how many columns? The width of the tokens plays no part.",
        help="If your number is below 1, you have counted one row. If it has nine digits, you have counted bytes.",
        solution=256,
        mistakes=(
            Mistake(64, "That is the count of the weights in units of 2**20, but each weight takes 4 bytes."),
            Mistake(
                8192**2, "That is how many weights there are. How many bytes do they take, and how many MiB is that?"
            ),
            Mistake(8192**2 * 4 / 2**10, "That is right in KiB, of 2**10 bytes each. A MiB is 2**20 bytes."),
            Mistake(8192 * 4 / 2**20, "That is one row. Every token looks at every token: how many rows are there?"),
            Mistake(8192**2 * 4, "That is right in bytes. How many bytes are one MiB?"),
            Mistake(8192**2 * 4 / 1e6, "That is right in megabytes of 10**6 bytes. One MiB is a little more: 2**20."),
            Mistake(128, "That is right for 16-bit numbers, or for the lower triangle alone. Here each takes 4 bytes."),
        ),
    ),
    Exercise(
        id="03.2",
        title="Softmax that cannot overflow",
        difficulty=2,
        minutes=5,
        task="""
            Write `softmax_over_keys(scores)`: scores `[queries, keys]` in, weights of the same shape out, each row
            summing to 1. It must survive scores of 1,000 and of -1,000, also in one row. Do not call PyTorch's own
            `softmax`.
        """,
        hint="Adding the same number to all scores of a row does not change its weights. Which number is safe?",
        help="If you get `nan`: `exp(1000)` is infinite, and infinity over infinity is not a number. 0 / 0 is none"
        " either.",
        solution=softmax_over_keys,
        inputs=lambda: [
            (torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 1.0]]),),
            (torch.tensor([[1000.0, 999.0], [0.0, 1.0]]),),
            (torch.tensor([[1000.0, 1001.0], [-1000.0, -999.0]]),),
            (torch.tensor([[1000.0, -1000.0]]),),
        ],
        mistakes=(
            Mistake(_over_queries, "The columns sum to 1, not the rows: take the softmax over the keys, `dim=-1`."),
            Mistake(_over_everything, "The whole matrix sums to 1, but each row should: sum along the keys, `dim=-1`."),
            Mistake(
                _overflowing, "Small scores are right, but 1,000 gives `nan`: subtract the largest of the row first."
            ),
            Mistake(
                _largest_of_all,
                "You subtract one number from the whole matrix. A row far below it becomes 0 / 0: each row needs its"
                " own largest score.",
            ),
            Mistake(
                _mean_subtracted,
                "Subtracting the mean is not enough: with 1,000 and -1,000 in one row, the first still overflows."
                " Which number leaves nothing above 0?",
            ),
        ),
    ),
    Exercise(
        id="03.3",
        title="Repair a mask",
        difficulty=2,
        minutes=8,
        task="""
            This function should turn scores `[t, s]` and a boolean mask `[t, s]` (True = may look) into weights
            `[t, s]`. It runs, training goes well, and the model still cheats. Find out why, and repair it.

            ```python
            def masked_weights(scores, mask):
                hidden = scores * mask
                return hidden.softmax(dim=-1)
            ```

            Every row of the mask has at least one True. The mask need not be causal. (`math` and `torch` are imported.)
        """,
        hint="What does a hidden key weigh after `softmax` if its score is 0? Print the weights for scores of 0.",
        help="Hidden weights must be exactly 0 *and* rows must sum to 1. If only one of these holds, the mask acts on"
        " the wrong side of the softmax, or puts in the wrong number.",
        solution=masked_weights,
        inputs=lambda: [
            (torch.tensor([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]]), torch.ones(2, 3).tril().bool()),
            (
                torch.tensor([[1.0, 2.0, 0.0], [0.5, -1.0, 2.0]]),
                torch.tensor([[True, False, True], [False, True, True]]),
            ),
            (torch.tensor([[-80.0, -80.0, -81.0]]), torch.tensor([[True, True, False]])),
        ],
        mistakes=(
            Mistake(
                _zero_scores,
                "A hidden key has a score of 0 now, and e to the 0 is 1: it still gets weight. Which score has an"
                " exponential of 0?",
            ),
            Mistake(
                _zero_weights,
                "Hidden keys weigh 0, but the rows no longer sum to 1: the softmax has shared out weight to them first."
                " Hide them before it.",
            ),
            Mistake(
                _low_number,
                "Low is not low enough: where the visible scores are lower still, the hidden key wins. Which number is"
                " below every score?",
            ),
            Mistake(_inside_out, "Inside out: you hide what may be seen. True means: may look."),
            Mistake(
                _own_triangle,
                "Right for a causal mask, but you never use the `mask` that is given: here it hides other places too.",
            ),
        ),
    ),
    Exercise(
        id="03.4",
        title="A dictionary that goes by direction",
        difficulty=3,
        minutes=12,
        task="""
            In a dot product a long key wins too easily. Write `look_up(query, keys, values, temperature)`, a soft
            dictionary that compares *directions* only: bring each query and each key to length 1, multiply, divide the
            scores by the temperature, take the softmax, and average the values.
            Shapes: query `[t, d]`, keys `[s, d]`, values `[s, v]`, result `[t, v]`. No vector is zero.
        """,
        hint="`vectors.norm(dim=-1, keepdim=True)` gives the length of each row. Which of the four steps does the"
        " temperature belong to?",
        help="If small temperatures make the result *flatter*, you multiply where you should divide. If the shapes do"
        " not fit in the division by the length, `keepdim=True` is missing.",
        solution=look_up,
        inputs=lambda: [
            (torch.eye(3), torch.eye(3), torch.tensor([[1.0, 0], [0, 1], [5, 5]]), 0.5),
            (
                torch.tensor([[3.0, 1.0], [0.2, 0.1], [-1.0, 1.0]]),
                torch.tensor([[1.0, 0.0], [10.0, 10.0], [0.0, 0.1]]),
                torch.tensor([[1.0, 2.0], [3.0, 5.0], [-4.0, 1.0]]),
                0.1,
            ),
        ],
        mistakes=(
            Mistake(
                _with_lengths,
                "Vectors of length 1 are right, but long keys still win: bring each query and each key to length 1"
                " before you multiply them.",
            ),
            Mistake(
                _times_temperature,
                "The temperature works the wrong way round: a cold look-up should be sharp, so its scores must grow.",
            ),
            Mistake(
                _after_softmax,
                "You divide the weights by the temperature, so they no longer sum to 1: divide the scores, before the"
                " softmax.",
            ),
            Mistake(
                _long_queries,
                "The keys have length 1, the queries do not: a long query still makes the look-up sharper.",
            ),
            Mistake(
                _over_the_queries, "The softmax runs over the queries: each query shares out its weight over the keys."
            ),
            Mistake(_root_as_well, "You divide by √d as well: between vectors of length 1, the temperature is enough."),
            Mistake(_hands_over_keys, "You return an average of the keys. What a dictionary hands over is its values."),
        ),
    ),
    Exercise(
        id="03.5",
        title="Attention without the matrix",
        difficulty=5,
        minutes=30,
        task="""
            The trick inside FlashAttention: the softmax can be computed while the keys pass by. Write
            `attention_in_blocks(query, blocks)` for one query `[d]`. `blocks` is a list of pairs: keys `[s, d]` and
            values `[s, v]`, where `s` may differ from block to block. Return the output `[v]` of attention, scaled by
            √d, over *all* keys, as if they stood in one block.
            Walk through the list once and keep three things: the largest score so far, the sum of the exponentials so
            far, and the sum of exponentials times values so far. Scores may be in the thousands. (`math` and `torch`
            are imported.)
        """,
        hint="All exponentials in a sum must have had the *same* number subtracted from their scores. What must happen"
        " to the old sums when a larger score turns up?",
        help="If the first block is right and the second is wrong, look at that moment: the old sums were made with the"
        " old largest score, so both need the factor `exp(old - new)`. `exp(-inf)` is 0: a good start.",
        solution=attention_in_blocks,
        inputs=_texts_in_blocks,
        mistakes=(
            Mistake(
                _mean_of_blocks,
                "You average the blocks as equals. A block that is small, or whose keys fit badly, counts for less.",
            ),
            Mistake(
                _no_shrinking,
                "Each block subtracts its own largest score, so the sums of different blocks cannot be added yet:"
                " rescale the old sums when the largest score changes.",
            ),
            Mistake(
                _total_not_shrunk,
                "The sum of the values is rescaled when a larger score turns up, but the sum of the exponentials is"
                " not: both were made with the old one.",
            ),
            Mistake(
                _output_not_shrunk,
                "The sum of the exponentials is rescaled when a larger score turns up, but the sum of the values is"
                " not: both were made with the old one.",
            ),
            Mistake(
                _not_divided,
                "That is the sum of exponentials times values: an average also divides by the sum of the exponentials.",
            ),
            Mistake(
                _no_largest,
                "Right while scores are small, but large scores overflow: keep the largest score so far, and subtract"
                " it before the exponential.",
            ),
            Mistake(_unscaled, "The scores are not divided by the square root of the width of the query."),
        ),
    ),
)
