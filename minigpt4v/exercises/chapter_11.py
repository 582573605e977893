"""Exercises of chapter 11: fusion."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import einsum, rearrange
from torch import Tensor

from minigpt4v.attention import causal_mask, scaled_dot_product_attention
from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "Fusion"

Read = Callable[[Tensor], Tensor]


def put_pictures(vectors: Tensor, is_image: Tensor, tokens: Tensor) -> Tensor:
    """Words [b, t, d] with the pictures' tokens [pictures, n, d] where is_image [b, t] is True; [b, t, d]."""
    in_reading_order = rearrange(tokens, "pictures n d -> (pictures n) d")
    return vectors.masked_scatter(rearrange(is_image, "b t -> b t 1"), in_reading_order)


def _put_token_by_token(vectors: Tensor, is_image: Tensor, tokens: Tensor) -> Tensor:
    return vectors.masked_scatter(is_image[..., None], rearrange(tokens, "pictures n d -> (n pictures) d"))


def _put_on_top(vectors: Tensor, is_image: Tensor, tokens: Tensor) -> Tensor:
    return vectors + put_pictures(torch.zeros_like(vectors), is_image, tokens)


def _put_the_first_again(vectors: Tensor, is_image: Tensor, tokens: Tensor) -> Tensor:
    result = vectors.clone()
    for row, places in enumerate(is_image):
        result[row, places] = rearrange(tokens, "pictures n d -> (pictures n) d")[: places.sum()]
    return result


def _put_in_front(vectors: Tensor, is_image: Tensor, tokens: Tensor) -> Tensor:
    result, left = vectors.clone(), rearrange(tokens, "pictures n d -> (pictures n) d")
    for row, count in enumerate(is_image.sum(dim=1).tolist()):
        result[row, :count], left = left[:count], left[count:]
    return result


def mask_from_kinds(kinds: Tensor) -> Tensor:
    """Who may look at whom, bool [t, t], for kinds [t]: 0 is a word, 1, 2, ... the number of a picture."""
    time = torch.arange(len(kinds))
    looks, looked_at = rearrange(kinds, "t -> t 1"), rearrange(kinds, "s -> 1 s")
    earlier = rearrange(time, "t -> t 1") >= rearrange(time, "s -> 1 s")
    same_picture = (looks == looked_at) & (looks > 0)
    return earlier | same_picture


def _words_see_words(kinds: Tensor) -> Tensor:
    return causal_mask(len(kinds)) | (kinds[:, None] == kinds[None, :])


def _one_big_picture(kinds: Tensor) -> Tensor:
    return causal_mask(len(kinds)) | ((kinds[:, None] > 0) & (kinds[None, :] > 0))


def _only_causal(kinds: Tensor) -> Tensor:
    return causal_mask(len(kinds))


def _columns_look(kinds: Tensor) -> Tensor:
    return rearrange(mask_from_kinds(kinds), "t s -> s t")


def who_hears_whom(read: Read, vectors: Tensor) -> Tensor:
    """Bool [t, t]: whether output i moves when token j is changed; read: [b, t, d] -> [b, t, d], vectors [t, d]."""
    before = read(vectors[None])[0]
    heard = torch.zeros(len(vectors), len(vectors), dtype=torch.bool)
    for j in range(len(vectors)):
        changed = vectors.clone()
        changed[j] += 1.0
        after = read(changed[None])[0]
        heard[:, j] = (after - before).abs().amax(dim=-1) > 1e-5
    return heard


def _both_faults(read: Read, vectors: Tensor) -> Tensor:
    return rearrange(_changes_pile_up(read, vectors), "t s -> s t")


def _changes_pile_up(read: Read, vectors: Tensor) -> Tensor:
    before, changed, columns = read(vectors[None])[0], vectors.clone(), []
    for j in range(len(vectors)):
        changed[j] += 1.0
        columns.append((read(changed[None])[0] - before).abs().amax(dim=-1) > 1e-5)
    return torch.stack(columns, dim=1)


def _rows_are_changed(read: Read, vectors: Tensor) -> Tensor:
    return rearrange(who_hears_whom(read, vectors), "t s -> s t")


def _tried_on(answer: Callable[[Read, Tensor], Any], mask: Tensor, vectors: Tensor) -> Any:
    """The answer's verdict on one attention layer with this mask."""
    return answer(lambda x: scaled_dot_product_attention(x, x, x, mask)[0], vectors)


def join(output_a: Tensor, log_sum_a: Tensor, output_b: Tensor, log_sum_b: Tensor) -> Tensor:
    """Two attentions with a softmax each -> what one softmax over both would give; outputs [t, d], log sums [t]."""
    shares = torch.stack([log_sum_a, log_sum_b]).softmax(dim=0)  # [2, t]
    return einsum(shares, torch.stack([output_a, output_b]), "part t, part t d -> t d")


def _mean_of_both(output_a: Tensor, log_sum_a: Tensor, output_b: Tensor, log_sum_b: Tensor) -> Tensor:  # noqa: ARG001
    return (output_a + output_b) / 2


def _sum_of_both(output_a: Tensor, log_sum_a: Tensor, output_b: Tensor, log_sum_b: Tensor) -> Tensor:  # noqa: ARG001
    return output_a + output_b


def _shares_of_logs(output_a: Tensor, log_sum_a: Tensor, output_b: Tensor, log_sum_b: Tensor) -> Tensor:
    total = (log_sum_a + log_sum_b)[:, None]
    return (log_sum_a[:, None] * output_a + log_sum_b[:, None] * output_b) / total


def _too_large_exponentials(output_a: Tensor, log_sum_a: Tensor, output_b: Tensor, log_sum_b: Tensor) -> Tensor:
    a, b = log_sum_a.exp()[:, None], log_sum_b.exp()[:, None]
    return (a * output_a + b * output_b) / (a + b)


def _shares_swapped(output_a: Tensor, log_sum_a: Tensor, output_b: Tensor, log_sum_b: Tensor) -> Tensor:
    return join(output_a, log_sum_b, output_b, log_sum_a)


def _places() -> list[tuple[Tensor, Tensor, Tensor]]:
    one_each = torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0]]).bool()
    two_and_none = torch.tensor([[0, 0, 0, 0, 0], [1, 1, 0, 1, 1]]).bool()
    return [(torch.randn(*places.shape, 3), places, torch.randn(2, 2, 3)) for places in (one_each, two_and_none)]


def _kinds() -> list[tuple[Tensor]]:
    return [(torch.tensor(kinds),) for kinds in ([1, 1, 1, 0, 0], [0, 1, 1, 0, 2, 2, 0], [0, 0, 0], [1, 1, 2, 2])]


def _readers() -> list[tuple[Tensor, Tensor]]:
    kinds = ([1, 1, 0, 0], [0, 0, 0, 0, 0])
    masks = [mask_from_kinds(torch.tensor(row)) for row in kinds]
    return [(mask, torch.randn(len(mask), 4)) for mask in (*masks, torch.eye(3, dtype=torch.bool))]


def _parts() -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    sums = ([1.0, 2.0, 0.5], [3.0, 0.1, 0.5]), ([200.0, 1.0, 90.0], [201.0, 150.0, 90.0])
    return [(torch.randn(3, 4), torch.tensor(a), torch.randn(3, 4), torch.tensor(b)) for a, b in sums]


EXERCISES = (
    Exercise(
        id="11.1",
        title="Count the cells",
        difficulty=1,
        minutes=4,
        task="""
            A conversation begins with two words; then comes a picture of four tokens, then three more words: nine
            tokens. In the mask of this chapter (`True` = may look), how many of the 81 cells are `True`? Give a whole
            number.
        """,
        hint="Count the causal mask of nine tokens first. Which cells does the picture add to it?",
        help="A causal mask has 1 + 2 + ... + 9 cells. Of the 4 x 4 cells of the picture, some were among them.",
        solution=51,
        mistakes=(
            Mistake(45, "That is the causal mask alone. The tokens of the picture also look at *later* ones of it."),
            Mistake(
                61,
                "That is the causal mask and all 16 cells of the picture. Ten of those 16 are in the causal mask"
                " already: a token looks at itself and at earlier ones.",
            ),
            Mistake(
                57,
                "The four tokens add fewer cells than 12: of each pair, the later one looks at the earlier one in a"
                " causal mask already.",
            ),
            Mistake(81, "That is a table without any `False`: then every word would see the words that it must guess."),
        ),
    ),
    Exercise(
        id="11.2",
        title="Put the pictures where they belong",
        difficulty=2,
        minutes=8,
        task="""
            Write `put_pictures(vectors, is_image, tokens)`. `vectors` `[b, t, d]` are the embeddings of a batch of
            conversations, `is_image` `[b, t]` is `True` where a picture token belongs, `tokens` `[pictures, n, d]` are
            the pictures in the order in which they stand in the batch, row by row. A row may hold several pictures, or
            none. Give back `[b, t, d]`, with the tokens put in place of the embeddings. Do not change `vectors`.
        """,
        hint="`masked_scatter` fills the `True` places in reading order. In which order must the tokens be for that?",
        help="Reading order goes through the first row before it comes to the second. `masked_scatter` wants the mask"
        " to reach over the width too: `[b, t, 1]`.",
        solution=put_pictures,
        inputs=_places,
        mistakes=(
            Mistake(
                _put_token_by_token,
                "The pictures are shuffled into each other: first come the first tokens of all pictures. The tokens of"
                " *one* picture must stay together, so which axis runs fastest?",
            ),
            Mistake(
                _put_on_top,
                "The pictures were added to the embeddings of `<|image|>`. They have to stand in their place.",
            ),
            Mistake(
                _put_the_first_again,
                "Every row gets the pictures from the first one on. Go on in the second row where the first row ended.",
            ),
            Mistake(
                _put_in_front,
                "The tokens are the right ones, but they stand at the front of the row. A picture stands where"
                " `is_image` says, and words may come before it.",
            ),
        ),
    ),
    Exercise(
        id="11.3",
        title="The mask from the kinds of tokens",
        difficulty=3,
        minutes=12,
        task="""
            Write `mask_from_kinds(kinds)`. `kinds` `[t]` says of each token what it is: 0 is a word, 1 a part of the
            first picture, 2 of the second, and so on. Give back the mask of this chapter, boolean `[t, t]`, `True`
            where the token of the row may look at the token of the column. No loops are needed.
        """,
        hint="`earlier | same_picture`, two tables `[t, t]`. The second compares `kinds` with itself; what about 0?",
        help="`kinds == kinds` is also true of two words, since both are 0. And two pictures are not one picture.",
        solution=mask_from_kinds,
        inputs=_kinds,
        mistakes=(
            Mistake(
                _words_see_words,
                "Words see later words: 0 equals 0. Being of one kind must count for pictures only.",
            ),
            Mistake(
                _one_big_picture,
                "Right for one picture. With two, the first sees the second, which comes later: they are two pictures,"
                " not one big one.",
            ),
            Mistake(
                _only_causal,
                "That is the causal mask: the first token of a picture does not see its last one.",
            ),
            Mistake(
                _columns_look,
                "Rows and columns are exchanged: here the *column* looks at the row.",
            ),
        ),
    ),
    Exercise(
        id="11.4",
        title="Repair a leak test",
        difficulty=3,
        minutes=10,
        task="""
            `read` is a model: a function from vectors `[b, t, d]` to vectors `[b, t, d]`. The function below should
            find out who hears whom: a boolean table `[t, t]` that is `True` in row `i`, column `j`, if the output of
            token `i` moves when token `j` is changed. `vectors` is `[t, d]`. It runs, and has **two** faults. Copy it
            and repair it.

            ```py
            def who_hears_whom(read, vectors):
                before = read(vectors[None])[0]
                heard = torch.zeros(len(vectors), len(vectors), dtype=torch.bool)
                changed = vectors.clone()
                for j in range(len(vectors)):
                    changed[j] += 1.0
                    after = read(changed[None])[0]
                    heard[j] = (after - before).abs().amax(dim=-1) > 1e-5
                return heard
            ```
        """,
        hint="Try it by hand with three words and a causal mask. What has been changed when `j` is 2? And what do the"
        " rows of `heard` mean?",
        help="Only token `j` may differ from the original. And the numbers that you compare are outputs, one for each"
        " `i`: they fill a column.",
        solution=who_hears_whom,
        inputs=_readers,
        use=_tried_on,
        mistakes=(
            Mistake(
                _both_faults, "Both faults are still there. Print `heard` for a causal mask: which half should be True?"
            ),
            Mistake(
                _rows_are_changed,
                "Each change is undone now. But row and column are exchanged: the outputs that move when token `j` is"
                " changed belong into *column* `j`.",
            ),
            Mistake(
                _changes_pile_up,
                "The table lies the right way. But when token 2 is changed, tokens 0 and 1 still are: each trial must"
                " begin with the original.",
            ),
        ),
    ),
    Exercise(
        id="11.5",
        title="One softmax out of two",
        difficulty=4,
        minutes=15,
        task="""
            Somebody has computed attention to the words and attention to the picture *separately*, each with its own
            softmax, and kept for each word the logarithm of the sum of exponentials that it divided by. Write
            `join(output_a, log_sum_a, output_b, log_sum_b)`: outputs `[t, d]`, log sums `[t]` (as `torch.logsumexp`
            gives them). Give back `[t, d]`: what attention with *one* softmax over words and picture gives. The log
            sums may be as large as 200. (This is how programs such as FlashAttention, Dao et al. 2022, read a long text
            piece by piece.)
        """,
        hint="Of the total sum of exponentials, which share is in part a? That share of the output comes from a.",
        help="e^200 is too large for float32. Shares of exponentials are a softmax, and that is safe.",
        solution=join,
        inputs=_parts,
        mistakes=(
            Mistake(
                _mean_of_both,
                "Each part gets one half, whatever its scores are. A part with large scores must get more.",
            ),
            Mistake(
                _sum_of_both,
                "The sum of two averages is no average: the weights of each row add up to 2.",
            ),
            Mistake(
                _shares_of_logs,
                "The shares are those of the *logarithms*. Part a holds its sum of exponentials' share of the total.",
            ),
            Mistake(
                _too_large_exponentials,
                "Right for small scores, but e^200 is infinite in float32, and infinite by infinite is NaN. Only the"
                " *difference* of the two log sums matters.",
            ),
            Mistake(
                _shares_swapped,
                "Each part has got the other one's share.",
            ),
        ),
    ),
)
