"""Exercises of chapter 07: a GPT."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from minigpt4v.exercises.exercise import Exercise, Mistake

TITLE = "A GPT"


# -- 07.1 -------------------------------------------------------------------------------------------------------------


def next_token_loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Mean cross-entropy of every token given the tokens before it."""
    predictions = rearrange(logits[:, :-1], "b t v -> (b t) v")  # the last token has no successor in the batch
    targets = rearrange(ids[:, 1:], "b t -> (b t)")  # and nothing predicts the first
    return F.cross_entropy(predictions, targets)


def _unshifted(logits: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), ids.flatten())


def _shifted_backwards(logits: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), ids[:, :-1].flatten())


def _rolled(logits: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), ids.roll(-1, dims=1).flatten())


def _summed(logits: Tensor, ids: Tensor) -> Tensor:
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="sum")


def _loss_trials() -> list[tuple[Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(7)
    return [
        (torch.randn(b, t, 5, generator=draw), torch.randint(5, (b, t), generator=draw))
        for b, t in ((2, 4), (1, 2), (3, 7))
    ]


# -- 07.2 -------------------------------------------------------------------------------------------------------------


def count_parameters(vocabulary: int, width: int, layers: int, heads: int) -> int:
    """Number of learned numbers of a GPT in the modern form, its head not tied."""
    attention = 4 * width * width + heads  # query, key, value, output; one sharpness per head
    feed_forward = 2 * width * 4 * width
    block = attention + feed_forward + 2 * width  # two RMSNorms
    return 2 * vocabulary * width + layers * block + width


def _tied_count(vocabulary: int, width: int, layers: int, heads: int) -> int:
    return vocabulary * width + layers * (12 * width * width + heads + 2 * width) + width


def _without_norms(vocabulary: int, width: int, layers: int, heads: int) -> int:
    return 2 * vocabulary * width + layers * (12 * width * width + heads)


def _without_last_norm(vocabulary: int, width: int, layers: int, heads: int) -> int:
    return 2 * vocabulary * width + layers * (12 * width * width + heads + 2 * width)


def _without_sharpness(vocabulary: int, width: int, layers: int, heads: int) -> int:  # noqa: ARG001
    return 2 * vocabulary * width + layers * (12 * width * width + 2 * width) + width


def _heads_times(vocabulary: int, width: int, layers: int, heads: int) -> int:
    block = 4 * heads * width * width + heads + 8 * width * width + 2 * width
    return 2 * vocabulary * width + layers * block + width


# -- 07.3 -------------------------------------------------------------------------------------------------------------


def bits_per_byte(loss: float, tokens: int, size: int) -> float:
    """From nats a token to bits a byte, for a text of `tokens` tokens in `size` bytes."""
    total_nats = loss * tokens
    return total_nats / math.log(2) / size


def _broken_bits(loss: float, tokens: int, size: int) -> float:
    return loss / math.log(2) * size / tokens


def _nats_a_byte(loss: float, tokens: int, size: int) -> float:
    return loss * tokens / size


def _bits_a_token(loss: float, tokens: int, size: int) -> float:  # noqa: ARG001
    return loss / math.log(2)


def _times_log(loss: float, tokens: int, size: int) -> float:
    return loss * math.log(2) * tokens / size


# -- 07.4 -------------------------------------------------------------------------------------------------------------


def hide(ids: Tensor, luck: Tensor, share: float, mask_id: int) -> tuple[Tensor, Tensor]:
    """Inputs and labels of masked language modelling."""
    hidden = luck < share
    return ids.masked_fill(hidden, mask_id), ids.masked_fill(~hidden, -100)


def _all_labelled(ids: Tensor, luck: Tensor, share: float, mask_id: int) -> tuple[Tensor, Tensor]:
    return ids.masked_fill(luck < share, mask_id), ids.clone()


def _shown_labelled(ids: Tensor, luck: Tensor, share: float, mask_id: int) -> tuple[Tensor, Tensor]:
    return ids.masked_fill(luck < share, mask_id), ids.masked_fill(luck < share, -100)


def _not_hidden(ids: Tensor, luck: Tensor, share: float, mask_id: int) -> tuple[Tensor, Tensor]:  # noqa: ARG001
    return ids.clone(), ids.masked_fill(luck >= share, -100)


def _most_hidden(ids: Tensor, luck: Tensor, share: float, mask_id: int) -> tuple[Tensor, Tensor]:
    return ids.masked_fill(luck > share, mask_id), ids.masked_fill(luck <= share, -100)


def _hide_trials() -> list[tuple[Tensor, Tensor, float, int]]:
    draw = torch.Generator().manual_seed(7)
    shapes = ((2, 6, 0.4), (3, 8, 0.15), (1, 4, 0.0))
    return [
        (torch.randint(1, 20, (b, t), generator=draw), torch.rand(b, t, generator=draw), share, 0)
        for b, t, share in shapes
    ]


# -- 07.5 -------------------------------------------------------------------------------------------------------------


def prefix_mask(prefix: int, length: int) -> Tensor:
    """Who may look at whom: all of the prefix from everywhere, the rest from left to right."""
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    is_prefix = torch.arange(length) < prefix
    return causal | is_prefix  # [keys] broadcasts over the queries: the prefix's columns are open to all


def _only_causal(prefix: int, length: int) -> Tensor:  # noqa: ARG001
    return torch.ones(length, length, dtype=torch.bool).tril()


def _open_rows(prefix: int, length: int) -> Tensor:
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[:prefix] = True
    return mask


def _cut_off(prefix: int, length: int) -> Tensor:
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[:prefix, :prefix] = True
    mask[prefix:, :prefix] = False
    return mask


def _numbers(prefix: int, length: int) -> Tensor:
    return prefix_mask(prefix, length).float()


EXERCISES = (
    Exercise(
        id="07.1",
        title="The loss of a whole text",
        difficulty=2,
        minutes=6,
        task="""
            In the chapter the data set cut inputs and targets for us. Write `next_token_loss(logits, ids)`, which
            gets one tensor of ids and cuts for itself: `logits` `[b, t, v]` are what a GPT answered to `ids` `[b, t]`.
            Return the mean cross-entropy, in nats a token, over every token that was foretold. No id before the
            first and none after the last is known. `torch`, `F` and `rearrange` are imported.
        """,
        hint="The logits at place 0 are a guess at which id? And what do those at the last place guess at?",
        help="`F.cross_entropy` wants `[n, v]` and `[n]`: cut first, then join the axes b and t with `rearrange`.",
        solution=next_token_loss,
        inputs=_loss_trials,
        mistakes=(
            Mistake(
                _unshifted,
                "Each place is compared with the token that stands there, which the model has already read: the guess "
                "is about the *next* one.",
            ),
            Mistake(
                _shifted_backwards,
                "The shift goes backwards: each place is compared with the token before it. Which of the two tensors "
                "must lose its first place, and which its last?",
            ),
            Mistake(
                _rolled,
                "The last place is compared with the first token of the text: `roll` goes round the corner. Nobody "
                "knows what follows the last token, so leave that place out.",
            ),
            Mistake(_summed, "This is the sum over all tokens: a mean does not grow with the length of the text."),
        ),
    ),
    Exercise(
        id="07.2",
        title="Count the parameters of any GPT",
        difficulty=2,
        minutes=8,
        task="""
            Write `count_parameters(vocabulary, width, layers, heads)`: how many learned numbers
            `GPT(GPTConfig(vocabulary_size=vocabulary, context_length=..., layers=layers, heads=heads, width=width))`
            has. That is the modern form: rotary positions, no biases, RMSNorm, one sharpness per head, a feed-forward
            layer four times as wide, a head of its own. Use arithmetic only; four whole numbers in, one out.
        """,
        hint="Walk through the model in reading order: embedding, then what is in one block, then what follows.",
        help="Compare with `GPT(config).parameter_count()`; `for name, p in model.named_parameters()` lists them all.",
        solution=count_parameters,
        inputs=lambda: [(11, 8, 2, 4), (5, 4, 1, 1), (20, 12, 3, 6)],  # small: a few numbers are then no rounding error
        mistakes=(
            Mistake(
                _tied_count,
                "The embedding and the head are counted once, as if they were tied. In this form they are two tables.",
            ),
            Mistake(
                _without_norms, "All matrices are there, but no norms: every RMSNorm has one scale for each channel."
            ),
            Mistake(
                _without_last_norm,
                "The norms inside the blocks are there. One more norm stands between the last block and the head.",
            ),
            Mistake(
                _without_sharpness,
                "A few numbers are missing in every block, one for each head: how sharply it looks.",
            ),
            Mistake(
                _heads_times,
                "The attention matrices do not grow with the number of heads: the heads share the width (chapter 04).",
            ),
        ),
    ),
    Exercise(
        id="07.3",
        title="Mend the measure",
        difficulty=2,
        minutes=5,
        task="""
            A colleague's measure says that a model got *better* when its tokenizer was cut down to bytes. Mend it:
            `bits_per_byte(loss, tokens, size)` gets the mean loss in nats a token, the number of tokens of a text, and
            its size in bytes. `math` is imported.

            ```py
            def bits_per_byte(loss, tokens, size):
                return loss / math.log(2) * size / tokens
            ```
        """,
        hint="How many bits does the *whole* text cost? Then share them among its bytes.",
        help="A test in your head: 100 tokens of 4 bytes each, log(2) nats a token, are 100 bits for 400 bytes: 0.25.",
        solution=bits_per_byte,
        inputs=lambda: [(math.log(2), 100, 400), (3.1, 1000, 2100), (1.5, 50, 50)],
        mistakes=(
            Mistake(
                _broken_bits,
                "This is the colleague's function still: it multiplies by bytes a token, so long tokens are punished "
                "for their length. Start from the cost of the whole text.",
            ),
            Mistake(_nats_a_byte, "These are nats a byte: one of the two units has not been changed yet."),
            Mistake(_bits_a_token, "These are bits a token: the tokens and bytes of the text have no say yet."),
            Mistake(
                _times_log, "A nat is more than a bit (1.44 bits), so the number of bits must be the larger of the two."
            ),
        ),
    ),
    Exercise(
        id="07.4",
        title="Hide and label",
        difficulty=3,
        minutes=8,
        task="""
            Write `hide(ids, luck, share, mask_id)`, which makes a batch for masked language modelling. `ids` are
            `[b, t]`; `luck` `[b, t]` holds a random number from 0 to 1 for each. Every token whose luck is below
            `share` is hidden. Return `(inputs, labels)`, both `[b, t]`: the inputs with `mask_id` in the hidden places,
            and labels with the true id there and -100 everywhere else (`F.cross_entropy` passes over -100).
        """,
        hint="One boolean tensor decides everything. `masked_fill` gives a changed copy.",
        help="Inputs and labels are opposites: where one shows the id, the other does not.",
        solution=hide,
        inputs=_hide_trials,
        mistakes=(
            Mistake(
                _all_labelled,
                "Every token has a label, also the ones in plain sight: the model would be paid for copying.",
            ),
            Mistake(_shown_labelled, "The labels are on the wrong side: the tokens in sight have one, the hidden not."),
            Mistake(_not_hidden, "The labels are right, but the inputs still show what is to be guessed."),
            Mistake(_most_hidden, "The comparison is turned round: nearly everything is hidden, and little is left."),
        ),
    ),
    Exercise(
        id="07.5",
        title="One stack that reads both ways, then writes",
        difficulty=3,
        minutes=10,
        task="""
            An encoder-decoder has two stacks. A *prefix language model* does with one: the first `prefix` tokens (the
            source) all see each other, the rest is written from left to right and sees the whole prefix. All of it is
            in the mask. Write `prefix_mask(prefix, length)`: boolean `[length, length]`, rows look, columns are looked
            at, `True` = may look. Then look at `plot.matrices({"mask": prefix_mask(3, 8)}, alt="")`.
        """,
        hint="Begin with the causal mask. Which rectangle of it has to be opened?",
        help="Check three corners: may token 0 see token `prefix - 1`? May it see the last token? May the last see 0?",
        solution=prefix_mask,
        inputs=lambda: [(3, 6), (0, 4), (4, 4), (1, 3)],
        mistakes=(
            Mistake(_only_causal, "This is the causal mask: the tokens of the prefix do not see each other both ways."),
            Mistake(
                _open_rows,
                "The tokens of the prefix see *everything*, the text to be written too: the answer leaks into the "
                "prefix, and from there to every token. Open columns, not rows.",
            ),
            Mistake(_cut_off, "Now the written part cannot see the prefix: it would not know what to write about."),
            Mistake(_numbers, "The places are right, but a mask is boolean: True = may look."),
        ),
    ),
)
