"""The exercises of chapter 04: right answers pass, likely mistakes are told what they are."""

import math

import torch
from exercise_checks import assert_diagnosed, assert_passes


def test_split_heads():
    def right(x, heads):
        return x.unflatten(-1, (heads, -1)).transpose(1, 2)

    def viewed(x, heads):
        batch, length, width = x.shape
        return x.view(batch, heads, length, width // heads)

    def interleaved(x, heads):
        return torch.stack([x[..., head::heads] for head in range(heads)], dim=1)

    def not_moved(x, heads):
        return x.unflatten(-1, (heads, -1))

    assert_passes("04.1", right)
    assert_diagnosed("04.1", viewed, "scrambled")
    assert_diagnosed("04.1", interleaved, "slowly")
    assert_diagnosed("04.1", not_moved, "behind the tokens")


def test_how_many_parameters():
    assert_passes("04.2", sum(parameter.numel() for parameter in torch.nn.MultiheadAttention(512, 8).parameters()))
    assert_diagnosed("04.2", 787_968, "One map comes after")
    assert_diagnosed("04.2", 786_432, "Their biases are missing", "after the heads")
    assert_diagnosed("04.2", 1_048_576, "The four matrices")
    assert_diagnosed("04.2", 8_404_992, "share one set")
    assert_diagnosed("04.2", 133_120, "whole")


def test_who_sits_in_the_wrong_seat():
    def right(row, head, tokens, heads):
        numbers = torch.arange(tokens).repeat_interleave(2 * heads).reshape(tokens, 2 * heads)
        return numbers.reshape(heads, tokens, 2)[head, row, 0]

    assert_passes("04.3", right)
    assert_diagnosed("04.3", lambda row, head, tokens, heads: row % tokens, "should be")
    assert_diagnosed("04.3", lambda row, head, tokens, heads: int(row / heads), "head 0")
    assert_diagnosed("04.3", lambda row, head, tokens, heads: divmod(head * tokens + row, heads)[1], "remainder")
    assert_diagnosed(
        "04.3", lambda row, head, tokens, heads: int(tokens / heads) * head + int(row / heads), "divide once"
    )


def attended(query, key, value, heads, scale=None, causal=True):
    """[b, h, t, d], by PyTorch's fused function."""
    split = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (query, key, value)]
    return torch.nn.functional.scaled_dot_product_attention(*split, is_causal=causal, scale=scale)


def test_two_faults():
    def right(query, key, value, heads):
        return attended(query, key, value, heads).transpose(1, 2).flatten(2)

    def as_given(query, key, value, heads):
        return attended(query, key, value, heads, scale=1 / math.sqrt(12)).reshape(query.shape)

    def scale_left(query, key, value, heads):
        return attended(query, key, value, heads, scale=1 / math.sqrt(12)).transpose(1, 2).flatten(2)

    def merge_left(query, key, value, heads):
        return attended(query, key, value, heads).contiguous().view(query.shape)

    def root_of_heads(query, key, value, heads):
        return attended(query, key, value, heads, scale=heads**-0.5).transpose(1, 2).flatten(2)

    def sees_the_future(query, key, value, heads):
        return attended(query, key, value, heads, causal=False).transpose(1, 2).flatten(2)

    assert_passes("04.4", right)
    assert_diagnosed("04.4", as_given, "Both faults are still there")
    assert_diagnosed("04.4", scale_left, "The merge is right")
    assert_diagnosed("04.4", merge_left, "The scale is right")
    assert_diagnosed("04.4", root_of_heads, "number of heads")
    assert_diagnosed("04.4", sees_the_future, "future")


def score(weights, tokens, shift, keep=lambda copies: copies, over_all=False):
    """Weight on the place `shift` after earlier copies, written with one table instead of loops."""
    ids = torch.tensor(tokens)
    copies = keep((ids[:, None] == ids[None, :]).tril(diagonal=-1))  # [looking, copy]
    targets = torch.zeros_like(copies)
    targets[:, shift:] = copies[:, : len(ids) - shift]
    rows = (weights * targets).sum(dim=-1)
    return rows.mean(dim=-1) if over_all else rows[:, copies.any(dim=1)].mean(dim=-1)


def test_induction_score():
    def first(copies):
        return copies & (copies.cumsum(dim=1) == 1)

    def latest(copies):
        return first(copies.flip(1)).flip(1)

    def mean_over_copies(weights, tokens):
        pairs = [(here, past) for here in range(len(tokens)) for past in range(here) if tokens[here] == tokens[past]]
        return sum(weights[:, here, past + 1] for here, past in pairs) / len(pairs)

    assert_passes("04.5", lambda weights, tokens: score(weights, tokens, 1))
    assert_diagnosed("04.5", lambda weights, tokens: score(weights, tokens, 0), "copies themselves")
    assert_diagnosed("04.5", lambda weights, tokens: score(weights, tokens, 1, over_all=True), "first time")
    assert_diagnosed("04.5", lambda weights, tokens: score(weights, tokens, 1, first), "first copy")
    assert_diagnosed("04.5", lambda weights, tokens: score(weights, tokens, 1, latest), "latest copy")
    assert_diagnosed("04.5", mean_over_copies, "counts once")
