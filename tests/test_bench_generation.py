"""bench/generation.py compares like with like."""

import pytest
import torch

from bench import generation


def test_the_ways_to_write_are_compared_on_one_text():
    found = generation.compare(1, 2, 16, new_tokens=12, rounds=2)
    assert found["different tokens in the text"] > 1
    assert found["milliseconds"].keys() >= {"transformers", "ours", "ours, through the blocks of training"}


def test_different_texts_are_no_comparison(monkeypatch):
    monkeypatch.setattr(generation, "generate", lambda *_: [[0]])
    with pytest.raises(AssertionError, match="different texts"):
        generation.compare(1, 2, 16, new_tokens=4, rounds=1)


def test_every_length_is_read_again_in_every_round(monkeypatch):
    calls = []
    forward = generation.GPT.forward

    def noted(self, ids, **given):
        calls.append((given["cache"].length, ids.shape[1]))
        return forward(self, ids, **given)

    monkeypatch.setattr(generation.GPT, "forward", noted)
    assert generation.by_length(1, 2, 16, (10, 12), rounds=1, steps=2).keys() == {10, 12}
    assert calls[:2] == [(0, 8), (0, 10)]
    assert calls[2:] == [(8, 1), (9, 1), (10, 1), (11, 1)] * 5


def test_the_laptop_model_is_asked():
    assert generation.asking(("What is in the picture?",), rounds=1).keys() == {"What is in the picture?"}
    assert not torch.is_inference_mode_enabled()
