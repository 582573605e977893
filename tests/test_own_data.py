"""Training on one's own data: it learns what it is shown, goes on where it stopped, and is scored honestly."""

import numpy as np
import pytest
import torch
from PIL import Image

from minigpt4v import own_data
from minigpt4v.datasets.folder import DataError, Record
from minigpt4v.datasets.folder import Turn as FolderTurn
from minigpt4v.gpt4v import GPT4V
from minigpt4v.language_model import LanguageModel
from minigpt4v.own_data import (
    TEXT_CONTEXT_LENGTH,
    ConversationRun,
    TextRun,
    conversations_of,
    evaluate_records,
)

COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220)}
FEW_STEPS = {"steps": 4, "minutes": None}


def record(images, *turns, line=1):
    return Record(tuple(images), tuple(FolderTurn(*turn) for turn in turns), line)


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two pictures with two questions each, two pictures at once, and one conversation without any."""
    folder = tmp_path_factory.mktemp("pictures")
    paths = []
    for name, colour in COLOURS.items():
        paths.append(folder / f"{name}.png")
        Image.fromarray(np.full((20, 30, 3), colour, dtype=np.uint8)).save(paths[-1])
    asked = [("what colour is it", name, "colour") for name in COLOURS]
    return [
        record([paths[0]], asked[0], ("Sure?", "yes", "sure"), line=1),
        record([paths[1]], asked[1], ("Sure?", "yes", "sure"), line=2),
        record(paths, ("Which is second?", "blue", "order"), line=3),
        record(paths[::-1], ("Which is second?", "red", "order"), line=4),
        record([], ("Are you there?", "here I am"), line=5),
    ]


@pytest.fixture(scope="module")
def learnt(records):
    """A model that has seen the records until it knows them."""
    run = ConversationRun(records, settings={"steps": 60, "minutes": None, "warmup_steps": 10})
    run.train()
    return run.model.eval()


# Conversations


def test_questions_are_tidied_as_a_chat_tidies_them(records):
    (_, turns), *_ = conversations_of(records)
    assert turns[0].question == "What colour is it?"
    assert (turns[0].answer, turns[0].family) == ("red", "colour")


def test_it_learns_what_it_is_shown(records, learnt):
    found = evaluate_records(learnt, records)
    assert found["accuracy"] == 1
    assert found["questions"] == 7
    assert {name: (row["accuracy"], row["count"]) for name, row in found["families"].items()} == {
        "colour": (1, 2),
        "sure": (1, 2),
        "order": (1, 2),
        "other": (1, 1),
    }
    assert str(learnt.ask(records[1].images[0], "what colour is it")) == "blue"


def test_it_looks_at_the_pictures(records, learnt):
    swapped = [
        Record(
            tuple(reversed(each.images)) if len(each.images) > 1 else records[1 - number].images, each.turns, each.line
        )
        for number, each in enumerate(records[:4])
    ]
    families = evaluate_records(learnt, swapped)["families"]
    assert (families["colour"]["accuracy"], families["order"]["accuracy"]) == (0, 0)


def test_a_wrong_answer_counts_as_wrong_in_its_family_only(records, learnt):
    changed = [
        record(records[0].images, ("what colour is it", "green", "colour"), ("Sure?", "yes", "sure")),
        *records[1:],
    ]
    found = evaluate_records(learnt, changed)
    assert found["accuracy"] == pytest.approx(6 / 7, abs=1e-4)
    assert found["families"]["colour"]["accuracy"] == 0.5


def test_a_prediction_may_run_longer_than_the_answer(records, learnt):
    """A model that says "here I am" when "here" was expected is wrong, and not cut off until it is right."""
    asked = [record([], ("Are you there?", "here"))]
    assert evaluate_records(learnt, asked)["accuracy"] == 0


def test_answers_do_not_depend_on_what_else_is_in_the_batch(records, learnt):
    alone = [evaluate_records(learnt, [each])["accuracy"] for each in records]
    assert alone == [1] * len(records)


def test_the_tokenizer_learns_the_words_of_the_data(records):
    model = ConversationRun(records, settings=FEW_STEPS).model
    assert model.tokenizer.pieces("What colour is it?") == ["What", " colour", " is", " it", "?"]


def test_a_model_is_gone_on_from(records, learnt, tmp_path):
    learnt.save_pretrained(tmp_path / "start")
    start = GPT4V.from_pretrained(tmp_path / "start")
    run = ConversationRun(records, start=start, settings=FEW_STEPS)
    assert run.model is start
    assert run.model.tokenizer == learnt.tokenizer
    assert torch.equal(run.model.gpt.head.weight, learnt.gpt.head.weight)
    fresh = ConversationRun(records, settings=FEW_STEPS)
    for name in ("learning_rate", "matrix_learning_rate"):  # or it would forget what it knows
        assert getattr(run.trainer.settings, name) == pytest.approx(0.3 * getattr(fresh.trainer.settings, name))


def test_seeds_decide_the_weights(records):
    heads = [
        ConversationRun(records, seed=seed, settings=FEW_STEPS).model.gpt.token_embedding.weight for seed in (0, 0, 1)
    ]
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_held_out_accuracy_is_measured_if_there_is_something_held_out(records):
    history = ConversationRun(records, validation=records[:2], settings=FEW_STEPS).train()
    assert 0 <= history[-1]["held_out_accuracy"] <= 1
    history = ConversationRun(records, settings=FEW_STEPS).train()
    assert not any("held_out_accuracy" in entry for entry in history)


def test_a_run_goes_on_exactly_where_it_was(records, tmp_path, monkeypatch):
    whole = ConversationRun(
        records, folder=tmp_path / "whole", settings={"steps": 6, "minutes": None, "checkpoint_every": 3}
    )
    whole.train()
    # The same run, killed after its third step.
    halted = ConversationRun(
        records, folder=tmp_path / "half", settings={"steps": 6, "minutes": None, "checkpoint_every": 3}
    )
    for _ in range(3):
        halted.trainer.train_step()
    halted.trainer.save()
    resumed = ConversationRun(
        records, folder=tmp_path / "half", settings={"steps": 6, "minutes": None, "checkpoint_every": 3}
    )
    taken, train_step = [], resumed.trainer.train_step
    monkeypatch.setattr(resumed.trainer, "train_step", lambda: taken.append(resumed.trainer.step) or train_step())
    resumed.train(resume=True)
    assert taken == [3, 4, 5]
    for (name, expected), found in zip(
        whole.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(found, expected), name
    assert torch.equal(
        GPT4V.from_pretrained(tmp_path / "half").gpt.head.weight,
        GPT4V.from_pretrained(tmp_path / "whole").gpt.head.weight,
    )


def test_a_conversation_too_long_for_the_model_is_named_by_its_line(records, learnt):
    long = [records[0], record([], ("Why?", "because " * 500), line=7), record([], ("Why?", "so " * 900), line=9)]
    with pytest.raises(DataError, match=r"2 conversations are too long: line 7 has \d+ tokens") as caught:
        ConversationRun(long, start=learnt, settings=FEW_STEPS)
    assert [line for line, _ in caught.value.faults] == [7, 9]
    with pytest.raises(DataError, match="line 7"):
        evaluate_records(learnt, long)


def test_a_new_model_has_room_for_the_longest_conversation():
    words = " ".join(f"w{number}" for number in range(500))
    run = ConversationRun([record([], ("Why?", words))], settings=FEW_STEPS)
    tokens = len(run.model.tokenizer.encode(words))
    assert tokens > 384
    assert run.model.config.text.context_length == tokens + len(run.model.tokenizer.encode("Why?")) + 3


# Texts


@pytest.fixture
def small(monkeypatch):
    """Language models that train in a second."""
    monkeypatch.setattr(own_data, "TEXT_LAYERS", 1)
    monkeypatch.setattr(own_data, "TEXT_CONTEXT_LENGTH", 32)


@pytest.mark.parametrize("tokenizer", ["bpe", "char"])
def test_a_text_is_learnt(small, tokenizer, tmp_path):
    text = "the cat sat on the mat. " * 300
    run = TextRun(
        text, tokenizer=tokenizer, folder=tmp_path, settings={"steps": 40, "minutes": None, "warmup_steps": 5}
    )
    before = run.model.measure(text)["bits_per_byte"]
    history = run.train()
    assert history[-1]["held_out_loss"] < 0.7
    loaded = LanguageModel.load(tmp_path)
    assert loaded.measure(text)["bits_per_byte"] < before / 3
    assert type(loaded.tokenizer).file_type == tokenizer
    assert "".join(loaded.write("the cat sat on the", 6)).startswith(" mat")


def test_another_text_may_be_held_out():
    text = "abcd " * 200
    settings = {"steps": 1, "minutes": None}
    with pytest.raises(ValueError, match="character 'x'"):  # before training starts
        TextRun(text, validation="xyz " * 50, tokenizer="char", settings=settings)
    run = TextRun(text, validation="dcba " * 40, tokenizer="char", settings=settings)
    assert len(run.trainer.stream.dataset.ids) == 1000  # nothing of the text itself is held out
    assert "held_out_loss" in run.train()[-1]


def test_the_end_of_a_text_is_held_out():
    run = TextRun("abcd\n" * 200, tokenizer="char", settings={"steps": 1, "minutes": None})
    assert len(run.trainer.stream.dataset.ids) == 900


def test_a_text_too_short_for_the_context_is_refused():
    with pytest.raises(ValueError, match=f"context of {TEXT_CONTEXT_LENGTH}"):
        TextRun("abcd " * 20, tokenizer="char", settings={"steps": 1, "minutes": None})


def test_an_unknown_tokenizer_is_refused():
    with pytest.raises(ValueError, match="unknown tokenizer 'words'"):
        TextRun("abcd " * 200, tokenizer="words")
