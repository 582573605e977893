"""Exercises of chapter 03: right answers pass however they are written, wrong ones are told what is wrong."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from exercise_checks import assert_diagnosed, assert_passes


class TestMemory:
    def test_right(self) -> None:
        for answer in (256, 256.0, 8192 * 8192 * 4 / 1024 / 1024):
            assert_passes("03.1", answer)

    def test_wrong(self) -> None:
        assert_diagnosed("03.1", 64, "4 bytes")
        assert_diagnosed("03.1", 0.03125, "one row")
        assert_diagnosed("03.1", 2**28, "right in bytes")
        assert_diagnosed("03.1", 268.435456, "10**6")
        assert_diagnosed("03.1", 128, "16-bit")
        assert_diagnosed("03.1", 67_108_864, "how many weights")
        assert_diagnosed("03.1", 262_144, "KiB")


class TestSoftmax:
    def test_right(self) -> None:
        assert_passes("03.2", lambda scores: (scores - torch.logsumexp(scores, dim=-1, keepdim=True)).exp())

    def test_wrong(self) -> None:
        assert_diagnosed("03.2", lambda scores: F.softmax(rearrange(scores, "t s -> s t"), -1).mT, "columns")
        assert_diagnosed("03.2", lambda scores: (scores - scores.logsumexp((0, 1))).exp(), "whole matrix")
        assert_diagnosed("03.2", lambda scores: scores.exp() / einsum(scores.exp(), "t s -> t")[:, None], "`nan`")

        def one_largest(scores):
            powers = torch.exp(scores - scores.flatten().max())
            return powers / einsum(powers, "t s -> t")[:, None]

        assert_diagnosed("03.2", one_largest, "own largest score")

        def centred(scores):
            powers = torch.exp(scores - scores.sum(dim=1)[:, None] / scores.shape[1])
            return powers / powers.sum(dim=1)[:, None]

        assert_diagnosed("03.2", centred, "mean is not enough")


class TestMask:
    def test_right(self) -> None:
        assert_passes("03.3", lambda scores, mask: (scores + torch.where(mask, 0.0, -1e9)).softmax(dim=-1))

        def after_and_shared_out_again(scores, mask):
            exponentials = scores.exp() * mask
            return exponentials / exponentials.sum(dim=-1, keepdim=True)

        assert_passes("03.3", after_and_shared_out_again)

    def test_wrong(self) -> None:
        assert_diagnosed("03.3", lambda scores, mask: scores.masked_fill(~mask, 0).softmax(-1), "e to the 0 is 1")
        assert_diagnosed("03.3", lambda scores, mask: torch.where(mask, scores.softmax(-1), 0.0), "no longer sum to 1")
        assert_diagnosed("03.3", lambda scores, mask: (scores - 1e9 * mask).softmax(-1), "Inside out")

        assert_diagnosed("03.3", lambda scores, mask: torch.where(mask, scores, -20.0).softmax(-1), "not low enough")

        def causal_whatever_is_given(scores, mask):
            rows, columns = torch.arange(len(scores))[:, None], torch.arange(scores.shape[1])
            return torch.where(rows >= columns, scores, -math.inf).softmax(dim=-1)

        assert_diagnosed("03.3", causal_whatever_is_given, "never use the `mask`")


class TestLookUp:
    def test_right(self) -> None:
        def by_cosines(query, keys, values, temperature):
            likeness = F.cosine_similarity(query[:, None], keys[None], dim=-1)
            return einsum(F.softmax(likeness / temperature, dim=-1), values, "t s, s v -> t v")

        assert_passes("03.4", by_cosines)

    def test_wrong(self) -> None:
        def with_power(power):
            def answer(query, keys, values, temperature):
                likeness = F.cosine_similarity(query[:, None], keys[None], dim=-1)
                return F.softmax(likeness * temperature**power, dim=-1) @ values

            return answer

        assert_diagnosed("03.4", with_power(1), "wrong way round")

        def long_keys_win(query, keys, values, temperature):
            return einsum(query, keys, "t d, s d -> t s").div(temperature).softmax(-1) @ values

        assert_diagnosed("03.4", long_keys_win, "long keys still win")

        def weights_divided(query, keys, values, temperature):
            return with_power(0)(query, keys, values, temperature) / temperature

        assert_diagnosed("03.4", weights_divided, "divide the scores")

        def one_side(query, keys, values, temperature):
            return F.softmax(query @ F.normalize(keys, dim=-1).mT / temperature, dim=-1) @ values

        def shared_by_columns(query, keys, values, temperature):
            likeness = F.normalize(query, dim=-1) @ F.normalize(keys, dim=-1).mT
            return F.softmax(likeness / temperature, dim=0) @ values

        def root_too(query, keys, values, temperature):
            return with_power(-1)(query, keys, values, temperature * query.shape[1] ** 0.5)

        assert_diagnosed("03.4", one_side, "queries do not")
        assert_diagnosed("03.4", shared_by_columns, "over the queries")
        assert_diagnosed("03.4", root_too, "√d as well")
        by_keys = lambda query, keys, values, temperature: with_power(-1)(query, keys, keys, temperature)  # noqa: E731
        assert_diagnosed("03.4", by_keys, "average of the keys")


class TestBlocks:
    def test_right(self) -> None:
        def by_logarithms(query, blocks):
            """Another way: keep the logarithm of the sum, and mix old and new output by their shares."""
            logarithm, output = torch.tensor(-math.inf), torch.tensor(0.0)
            for keys, values in blocks:
                scores = keys @ query / len(query) ** 0.5
                together = torch.logaddexp(logarithm, scores.logsumexp(0))
                output = output * (logarithm - together).exp() + (scores - together).exp() @ values
                logarithm = together
            return output

        assert_passes("03.5", by_logarithms)

    def test_wrong(self) -> None:
        def each_alone(query, blocks):
            outputs = [F.scaled_dot_product_attention(query[None], keys, values)[0] for keys, values in blocks]
            return sum(outputs) / len(outputs)

        assert_diagnosed("03.5", each_alone, "as equals")

        def plain_exponentials(query, blocks):
            top = sum((keys @ query / math.sqrt(8)).exp() @ values for keys, values in blocks)
            return top / sum((keys @ query / math.sqrt(8)).exp().sum() for keys, _ in blocks)

        assert_diagnosed("03.5", plain_exponentials, "overflow")

        def own_largest(query, blocks):
            top = bottom = 0
            for keys, values in blocks:
                scores = F.linear(keys, query) * 8**-0.5
                powers = torch.exp(scores - scores.max())
                top, bottom = top + powers @ values, bottom + powers.sum()
            return top / bottom

        assert_diagnosed("03.5", own_largest, "rescale the old sums")

        def forgets(rescale_values, divide):
            def answer(query, blocks):
                largest, total, output = -math.inf, 0.0, 0.0
                for keys, values in blocks:
                    scores = keys @ query / 8**0.5
                    new = max(largest, scores.max().item())
                    shrink, powers = math.exp(largest - new), (scores - new).exp()
                    total = total * shrink + powers.sum()
                    output = output * (shrink if rescale_values else 1.0) + powers @ values
                    largest = new
                return output / total if divide else output

            return answer

        assert_diagnosed("03.5", forgets(rescale_values=False, divide=True), "the sum of the values is not")
        assert_diagnosed("03.5", forgets(rescale_values=True, divide=False), "also divides")

        def no_scale(query, blocks):
            keys, values = torch.cat([keys for keys, _ in blocks]), torch.cat([values for _, values in blocks])
            return F.scaled_dot_product_attention(query[None], keys, values, scale=1.0)[0]

        assert_diagnosed("03.5", no_scale, "square root")
