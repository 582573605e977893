"""Exercises of chapter 07: other right answers pass, and wrong ones are told what is wrong."""

import math

import torch
import torch.nn.functional as F
from exercise_checks import assert_diagnosed, assert_passes

from minigpt4v.gpt import GPT, GPTConfig


def test_the_loss_of_a_whole_text():
    def picked(logits, ids):
        logs = logits.log_softmax(dim=-1)[:, :-1]
        return -logs.gather(-1, ids[:, 1:, None]).mean()

    def copying(logits, ids):
        return -logits.log_softmax(-1).gather(-1, ids[..., None]).mean()

    def backwards(logits, ids):
        return -logits.log_softmax(-1)[:, 1:].gather(-1, ids[:, :-1, None]).mean()

    def round_the_corner(logits, ids):
        targets = torch.cat([ids[:, 1:], ids[:, :1]], dim=1)
        return -logits.log_softmax(-1).gather(-1, targets[..., None]).mean()

    def added_up(logits, ids):
        return sum(
            F.cross_entropy(row[place], text[place + 1])
            for row, text in zip(logits, ids, strict=True)
            for place in range(len(text) - 1)
        )

    assert_passes("07.1", picked)
    assert_diagnosed("07.1", copying, "*next*")
    assert_diagnosed("07.1", backwards, "backwards")
    assert_diagnosed("07.1", round_the_corner, "corner")
    assert_diagnosed("07.1", added_up, "sum")


def test_count_the_parameters():
    def listed(vocabulary, width, layers, heads, *, tied=False, norms=True, last=True, sharpness=True):
        sizes = {"vocabulary_size": vocabulary, "width": width, "layers": layers, "heads": heads}
        model = GPT(GPTConfig(**sizes, context_length=8, position="none", tie_embeddings=tied))
        return sum(
            parameter.numel()
            for name, parameter in model.named_parameters()
            if (norms or "norm" not in name) and (last or name != "norm.weight") and (sharpness or "sharp" not in name)
        )

    assert_passes("07.2", listed)
    assert_diagnosed("07.2", lambda *sizes: listed(*sizes, tied=True), "tied")
    assert_diagnosed("07.2", lambda *sizes: listed(*sizes, norms=False), "norm")
    assert_diagnosed("07.2", lambda *sizes: listed(*sizes, last=False), "One more norm")
    assert_diagnosed("07.2", lambda *sizes: listed(*sizes, sharpness=False), "sharply")
    assert_diagnosed("07.2", lambda v, w, n, h: listed(v, w, n, h) + n * (h - 1) * 4 * w * w, "heads share")


def test_mend_the_measure():
    def through_perplexity(loss, tokens, size):
        return math.log2(math.exp(loss) ** (tokens / size))

    assert_passes("07.3", through_perplexity)
    assert_diagnosed("07.3", lambda loss, tokens, size: math.log2(math.e**loss) / (tokens / size), "multiplies")
    assert_diagnosed("07.3", lambda loss, tokens, size: loss / (size / tokens), "nats a byte")
    assert_diagnosed("07.3", lambda loss, *_: math.log2(math.exp(loss)), "bits a token")
    assert_diagnosed("07.3", lambda loss, tokens, size: loss / math.log2(math.e) / size * tokens, "larger of the two")


def test_hide_and_label():
    def with_where(ids, luck, share, mask_id):
        chosen = luck < share
        return torch.where(chosen, mask_id, ids), torch.where(chosen, ids, -100)

    def paid_for_copying(ids, luck, share, mask_id):
        return torch.where(luck < share, mask_id, ids), ids

    def wrong_side(ids, luck, share, mask_id):
        inputs = torch.where(luck < share, mask_id, ids)
        return inputs, torch.where(inputs == ids, ids, -100)

    def in_sight(ids, luck, share, _):
        return ids, torch.where(luck < share, ids, -100)

    def turned(ids, luck, share, mask_id):
        return with_where(ids, 1 - luck, 1 - share, mask_id)

    assert_passes("07.4", with_where)
    assert_diagnosed("07.4", paid_for_copying, "copying")
    assert_diagnosed("07.4", wrong_side, "wrong side")
    assert_diagnosed("07.4", in_sight, "still show")
    assert_diagnosed("07.4", turned, "turned round")


def test_the_prefix_mask():
    def compared(prefix, length):
        places = torch.arange(length)
        return (places[None, :] <= places[:, None]) | (places[None, :] < prefix)

    def loop(prefix, length):
        return [[column <= row or column < prefix for column in range(length)] for row in range(length)]

    def leaking(prefix, length):
        places = torch.arange(length)
        return (places[None, :] <= places[:, None]) | (places[:, None] < prefix)

    def blind(prefix, length):
        places = torch.arange(length)
        same_side = (places[None, :] < prefix) == (places[:, None] < prefix)
        return same_side & compared(prefix, length)

    assert_passes("07.5", compared)
    assert_passes("07.5", loop)
    assert_diagnosed("07.5", lambda _, length: torch.ones(length, length).tril() > 0, "causal mask")
    assert_diagnosed("07.5", leaking, "leaks")
    assert_diagnosed("07.5", blind, "cannot see the prefix")
    assert_diagnosed("07.5", lambda prefix, length: compared(prefix, length).long(), "boolean")
