"""bench/training.py: what its losses count, and that every kind of variant runs and is recorded."""

import json

import torch
from small_models import small_gpt4v

from bench import training
from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder, Turn
from minigpt4v.datasets.streams import pack_batch


def batch_of(encoder):
    about = [(Turn("What?", "A 1."), Turn("Where?", "Left.")), (Turn("Is it?", "No."),)]
    return pack_batch([about, about[1:]], encoder, torch.device("cpu")) | {"images": torch.rand(2, 3, 16, 16)}


def test_what_is_to_be_predicted():
    """Answers only, or all of the text but the first token of a conversation, by a plain loop."""
    model = small_gpt4v("conv")
    batch = batch_of(ConversationEncoder(model.tokenizer, model.tokens_per_image))
    for questions in (False, True):
        found = training.targets_of(batch, questions)
        for row, ids, labels, segments in zip(found, batch["ids"], batch["labels"], batch["segments"], strict=True):
            for t in range(1, len(ids)):
                text = segments[t] > 0 and segments[t] == segments[t - 1]
                expected = (ids[t] if text else IGNORED) if questions else labels[t]
                assert row[t - 1] == expected


def test_the_loss_counts_tokens():
    model = small_gpt4v("conv")
    batch = batch_of(ConversationEncoder(model.tokenizer, model.tokens_per_image))
    logits = model(batch["ids"], batch["images"], segments=batch["segments"], positions=batch["positions"])
    for questions in (False, True):
        loss, _ = training.TokenObjective(model, questions)(batch)
        targets = training.targets_of(batch, questions)
        log_p = logits[:, :-1].log_softmax(-1)
        by_hand = -sum(log_p[b, t, y] for b, row in enumerate(targets) for t, y in enumerate(row) if y != IGNORED)
        torch.testing.assert_close(loss, by_hand, rtol=1e-4, atol=1e-4)


def test_each_kind_of_variant_is_recorded(tmp_path, monkeypatch):
    chosen = ("the recipe", "AdamW 0.003", "random start", "questions count too")
    monkeypatch.setattr(training, "VARIANTS", {name: training.VARIANTS[name] for name in chosen})
    threads, lines = torch.get_num_threads(), []
    try:
        training.main((0,), 1, 1, lines.append, tmp_path / "training.json")
    finally:
        torch.set_num_threads(threads)
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["about"] == {"preset": "tiny", "seeds": [0], "naming_steps": 1, "steps": 1, "threads": 1}
    assert list(record["variants"]) == list(chosen)
    assert all(row["steps"] == [1] and len(row["accuracy"]) == 1 for row in record["variants"].values())
    assert len(lines) == len(chosen)


def test_the_record_in_the_repository_is_of_these_variants():
    record = json.loads(training.RESULTS.read_text())
    assert list(record["variants"]) == list(training.VARIANTS)
    assert record["about"]["steps"] == training.STEPS
    assert record["about"]["seeds"] == list(training.SEEDS)
