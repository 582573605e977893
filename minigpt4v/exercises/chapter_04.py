"""Exercises of chapter 04: multi-head attention."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Multi-head attention"


def split_heads(x: Tensor, heads: int) -> Tensor:
    """[b, t, width] -> [b, h, t, d]."""
    return rearrange(x, "b t (h d) -> b h t d", h=heads)


def _viewed(x: Tensor, heads: int) -> Tensor:
    return x.reshape(x.shape[0], heads, x.shape[1], -1)


def _interleaved(x: Tensor, heads: int) -> Tensor:
    return rearrange(x, "b t (d h) -> b h t d", h=heads)


def _tokens_first(x: Tensor, heads: int) -> Tensor:
    return rearrange(x, "b t (h d) -> b t h d", h=heads)


def _draw_splits() -> list[tuple[Tensor, int]]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.randn(2, 5, 12, generator=generator), heads) for heads in (3, 4, 1)]


WIDTH, HEADS = 512, 8


def token_found(row: int, head: int, tokens: int, heads: int) -> int:
    """The number of the token whose numbers stand in `row` of `head` after the wrong reshape."""
    pieces_before = head * tokens + row  # each row is a piece of width d, and a token has `heads` of them
    return pieces_before // heads


def _as_if_right(row: int, *_: int) -> int:
    return row


def _first_head_only(row: int, *others: int) -> int:
    return row // others[-1]


def _part_of_the_token(row: int, head: int, tokens: int, heads: int) -> int:
    return (head * tokens + row) % heads


def _rounded_twice(row: int, head: int, tokens: int, heads: int) -> int:
    return head * (tokens // heads) + row // heads


def _draw_places() -> list[tuple[int, int, int, int]]:
    return [
        (row, head, tokens, heads) for tokens, heads in ((4, 2), (6, 3), (5, 2)) for row in (0, 1, 3) for head in (0, 1)
    ]


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    """Causal multi-head attention of projected tokens: three times [b, t, width] in, [b, t, width] out."""
    length = query.shape[1]
    query, key, value = (rearrange(x, "b t (h d) -> b h t d", h=heads) for x in (query, key, value))
    scores = query @ key.mT / math.sqrt(query.shape[-1])
    may_look = torch.ones(length, length, dtype=torch.bool).tril()
    weights = scores.masked_fill(~may_look, -math.inf).softmax(dim=-1)
    return rearrange(weights @ value, "b h t d -> b t (h d)")


def _attended(
    query: Tensor, key: Tensor, value: Tensor, heads: int, *, whole_width: bool, causal: bool = True
) -> Tensor:
    length, width = query.shape[1:]
    query, key, value = (rearrange(x, "b t (h d) -> b h t d", h=heads) for x in (query, key, value))
    scores = query @ key.mT / math.sqrt(width if whole_width else width // heads)
    if causal:
        scores = scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(diagonal=1), -math.inf)
    return scores.softmax(dim=-1) @ value  # [b, h, t, d]


def _as_given(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    return _attended(query, key, value, heads, whole_width=True).reshape(query.shape)


def _wrong_scale(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    return rearrange(_attended(query, key, value, heads, whole_width=True), "b h t d -> b t (h d)")


def _wrong_merge(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    return _attended(query, key, value, heads, whole_width=False).reshape(query.shape)


def _no_mask(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    return rearrange(_attended(query, key, value, heads, whole_width=False, causal=False), "b h t d -> b t (h d)")


def _scaled_by_heads(query: Tensor, key: Tensor, value: Tensor, heads: int) -> Tensor:
    query = query * math.sqrt(query.shape[-1]) / heads  # as if divided by sqrt(heads), not by sqrt(width / heads)
    return rearrange(_attended(query, key, value, heads, whole_width=False), "b h t d -> b t (h d)")


def _draw_projected() -> list[tuple[Tensor, Tensor, Tensor, int]]:
    generator = torch.Generator().manual_seed(0)
    return [(*torch.randn(3, 2, 5, 12, generator=generator), heads) for heads in (3, 1, 12)]


def induction_score_of_any_text(weights: Tensor, tokens: list[int]) -> Tensor:
    """[h]: weight on what followed earlier copies of the token, averaged over the places that have such copies."""
    places = []
    for here, token in enumerate(tokens):
        after = [earlier + 1 for earlier in range(here) if tokens[earlier] == token]
        if after:
            places.append(weights[:, here, after].sum(dim=-1))
    return torch.stack(places).mean(dim=0)


def _on_the_copy(weights: Tensor, tokens: list[int]) -> Tensor:
    places = []
    for here, token in enumerate(tokens):
        copies = [earlier for earlier in range(here) if tokens[earlier] == token]
        if copies:
            places.append(weights[:, here, copies].sum(dim=-1))
    return torch.stack(places).mean(dim=0)


def _over_all_places(weights: Tensor, tokens: list[int]) -> Tensor:
    total = torch.zeros(weights.shape[0])
    for here, token in enumerate(tokens):
        for earlier in range(here):
            if tokens[earlier] == token:
                total = total + weights[:, here, earlier + 1]
    return total / len(tokens)


def _one_copy_only(weights: Tensor, tokens: list[int]) -> Tensor:
    places = []
    for here, token in enumerate(tokens):
        if token in tokens[:here]:
            places.append(weights[:, here, tokens.index(token) + 1])
    return torch.stack(places).mean(dim=0)


def _latest_copy_only(weights: Tensor, tokens: list[int]) -> Tensor:
    places = []
    for here, token in enumerate(tokens):
        copies = [earlier for earlier in range(here) if tokens[earlier] == token]
        if copies:
            places.append(weights[:, here, copies[-1] + 1])
    return torch.stack(places).mean(dim=0)


def _mean_over_copies(weights: Tensor, tokens: list[int]) -> Tensor:
    pairs = [(here, copy) for here in range(len(tokens)) for copy in range(here) if tokens[copy] == tokens[here]]
    return torch.stack([weights[:, here, copy + 1] for here, copy in pairs]).mean(dim=0)


def _draw_weights() -> list[tuple[Tensor, list[int]]]:
    generator = torch.Generator().manual_seed(0)
    texts = [3, 1, 4, 3, 1, 4, 3], [2, 7, 1, 8, 2, 8], [5, 5, 5, 0]
    return [(_causal_weights(len(tokens), generator), tokens) for tokens in texts]


def _causal_weights(length: int, generator: torch.Generator) -> Tensor:
    scores = torch.randn(2, length, length, generator=generator)
    return scores.masked_fill(torch.ones(length, length, dtype=torch.bool).triu(diagonal=1), -math.inf).softmax(dim=-1)


EXERCISES = (
    Exercise(
        id="04.1",
        title="Split into heads",
        difficulty=1,
        minutes=5,
        task="""
            Write `split_heads(x, heads)`: tokens `[b, t, width]` in, `[b, h, t, d]` out, where `d` is `width / heads`
            and head 0 gets the first `d` numbers of every token. `rearrange` is imported; so is `torch`.
        """,
        hint="Name the three axes on the left of the arrow. Which of them is made of two, and in which order?",
        help=(
            "If einops complains that it cannot infer an axis: tell it how many heads there are, as `h=heads`. If only"
            " the values are wrong, print `x` and your result for one text of two tokens of width 4."
        ),
        solution=split_heads,
        inputs=_draw_splits,
        mistakes=(
            Mistake(
                _viewed,
                "The shape is right, but the tokens are scrambled: this is the wrong reshape of section 4, which cuts"
                " the memory anew and moves nothing.",
            ),
            Mistake(
                _interleaved,
                "Your head 0 holds every h-th number of a token instead of the first d: in the bracket, the axis that"
                " moves slowly stands first.",
            ),
            Mistake(
                _tokens_first,
                "The heads are split but stand behind the tokens: attention works on the last two axes, and these must"
                " be tokens and width.",
            ),
        ),
    ),
    Exercise(
        id="04.2",
        title="How many parameters?",
        difficulty=1,
        minutes=4,
        task="""
            How many parameters has `MultiHeadAttention(512, heads=8)`, with biases and without QK-norm? Work it out on
            paper, then give `check` the number.
        """,
        hint="Which maps does the layer have, and what is the shape of each? Does it matter how many heads share them?",
        help="There are four maps, and each has a matrix and a bias.",
        solution=4 * (WIDTH * WIDTH + WIDTH),
        mistakes=(
            Mistake(
                3 * (WIDTH * WIDTH + WIDTH),
                "That is query, key and value. One map comes after the heads are merged.",
            ),
            Mistake(
                3 * WIDTH * WIDTH,
                "Those are the matrices of query, key and value. Their biases are missing, and one map comes after the"
                " heads are merged.",
            ),
            Mistake(4 * WIDTH * WIDTH, "The four matrices are there; their biases are missing."),
            Mistake(
                HEADS * 4 * (WIDTH * WIDTH + WIDTH),
                "You gave each head maps of the full width: the heads share one set, each uses its own rows.",
            ),
            Mistake(
                HEADS * 4 * ((WIDTH // HEADS) ** 2 + WIDTH // HEADS),
                "You let each head read only its own part of the token: a head has a narrow output, but it reads the"
                " whole width.",
            ),
        ),
    ),
    Exercise(
        id="04.3",
        title="Who sits in the wrong seat?",
        difficulty=3,
        minutes=10,
        task="""
            `x` `[b, tokens, heads * d]` goes through the wrong reshape, `x.view(b, heads, tokens, d)`. Whose numbers
            stand in row `row` of head `head` afterwards? Write `token_found(row, head, tokens, heads)`: four whole
            numbers in, the number of the token out, all counted from 0. In the picture of section 4 (4 tokens, 2
            heads), row 1 of head 0 holds token 0, and row 0 of head 1 holds token 2.
        """,
        hint="Each row is a piece of d numbers. How many pieces lie before this one? How many pieces has one token?",
        help="Memory is read head by head, and in each head row by row; it was written token by token.",
        solution=token_found,
        inputs=_draw_places,
        mistakes=(
            Mistake(_as_if_right, "That is where the token should be. After `view`, rows do not keep their names."),
            Mistake(
                _first_head_only,
                "Right for head 0. A later head goes on where the one before it ended: count the rows before it too.",
            ),
            Mistake(
                _part_of_the_token,
                "You count the pieces well, but give the remainder: that says which part of the token it is, not which"
                " token.",
            ),
            Mistake(
                _rounded_twice,
                "Right as long as the heads divide the number of tokens. With 5 tokens in 2 heads, a token begins in"
                " one head and ends in the next: count pieces first, and divide once.",
            ),
        ),
    ),
    Exercise(
        id="04.4",
        title="Two faults, no error message",
        difficulty=3,
        minutes=12,
        task="""
            This causal multi-head attention runs, gives the right shape, and has **two** faults. Copy it and repair it.

            ```py
            def attend(query, key, value, heads):
                batch, length, width = query.shape
                query, key, value = (rearrange(x, "b t (h d) -> b h t d", h=heads) for x in (query, key, value))
                scores = query @ key.mT / width**0.5
                may_look = torch.ones(length, length, dtype=torch.bool).tril()
                weights = scores.masked_fill(~may_look, -torch.inf).softmax(dim=-1)
                return (weights @ value).reshape(batch, length, width)
            ```

            `query`, `key`, `value` are `[b, t, width]`, projected already; the result is `[b, t, width]`, the heads
            side by side. `torch` and `rearrange` are imported.
        """,
        hint="Write the shape behind every line. One line undoes a split; one divides by the root of a width. Which?",
        help="With one head both faults are hidden: its width is the whole width, and there is nothing to move.",
        solution=attend,
        inputs=_draw_projected,
        mistakes=(
            Mistake(_as_given, "Both faults are still there: look at the scale and at the last line."),
            Mistake(
                _wrong_scale,
                "The merge is right. The scores are still too small: the sums in them have as many terms as one head is"
                " wide.",
            ),
            Mistake(
                _wrong_merge,
                "The scale is right. The last line still reads the memory head by head: an axis must move before heads"
                " and widths become one.",
            ),
            Mistake(
                _scaled_by_heads,
                "You divide by the root of the number of heads. What counts is how many terms each score adds up: the"
                " width of one head.",
            ),
            Mistake(_no_mask, "Both faults are gone, but so is the mask: tokens see the future now."),
        ),
    ),
    Exercise(
        id="04.5",
        title="Score an induction head",
        difficulty=4,
        minutes=15,
        task="""
            Section 6 knew the period. Write `induction_score_of_any_text(weights, tokens)`: causal weights `[h, t, t]`
            (rows look, columns are looked at) and a list of `t` token ids in, one score for each head, `[h]`, out.

            For each place whose token occurred earlier, add up the weights on the places **right after** each earlier
            copy (that may be the looking place itself, as in "5 5"). The score is the mean over those places; there is
            at least one.
        """,
        hint="Two loops: over the places that look, and over the places before. Which places enter the mean?",
        help="Scores all too small? Look at what you divide by: a token seen for the first time does not count.",
        solution=induction_score_of_any_text,
        inputs=_draw_weights,
        mistakes=(
            Mistake(
                _on_the_copy,
                "You score the weight on the earlier copies themselves. An induction head looks at what came next.",
            ),
            Mistake(
                _over_all_places,
                "You divide by all places: those whose token occurs for the first time have nothing to find, leave them"
                " out of the mean.",
            ),
            Mistake(
                _one_copy_only,
                "You look at the first copy only: where a token occurred several times before, add up all of them.",
            ),
            Mistake(
                _latest_copy_only,
                "You look at the latest copy only: where a token occurred several times before, add up all of them.",
            ),
            Mistake(
                _mean_over_copies,
                "You count every copy as a place of its own. A place with two copies counts once in the mean: add up"
                " its weights first.",
            ),
        ),
    ),
)
