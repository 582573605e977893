"""Conversations as tokens: what is learnt, what is seen, and that nobody can forge the tokens between."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scene_samples import asked, sample, world_called
from small_models import close, pictures, small_gpt4v

from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder, Turn
from minigpt4v.datasets.phrasings import vocabulary_texts
from minigpt4v.tokenizer import SPECIAL_TOKENS, CharTokenizer, Tokenizer

TEXT = ["What is this?", "A cat.", " cat", " dog", "这是什么？", "一只猫。", "<|user|>", "".join(SPECIAL_TOKENS)]
TOKENIZERS = {"bytes": Tokenizer.train(TEXT * 3, 340), "characters": CharTokenizer.train(TEXT)}
PER_IMAGE = 4

CAT = (Turn("What is this?", "A cat.", "what", "en"),)
DIALOGUE = (Turn("这是什么？", "一只猫。"), Turn("What is this?", " cat cat."), Turn("这是什么？", "A cat."))


@pytest.fixture(params=TOKENIZERS)
def encoder(request) -> ConversationEncoder:
    return ConversationEncoder(TOKENIZERS[request.param], PER_IMAGE)


def spoken(encoder: ConversationEncoder, ids) -> str:
    return encoder.tokenizer.decode(ids, show_special=True)


def test_long_texts_are_not_remembered(encoder):
    """A hundred questions of a megabyte would fill the memory."""
    for length in (10, 1000, 1001, 5000):
        assert encoder.question("a" * length)[1:-1] == encoder.tokenizer.encode("a" * length)
    assert encoder._encode_short.cache_info().currsize == 2


# -- one conversation -------------------------------------------------------------------------------------------------


def test_a_conversation_reads_as_the_module_says(encoder):
    ids, _ = encoder.turns(DIALOGUE[:2])
    assert spoken(encoder, ids) == (
        "<|user|>这是什么？<|assistant|>一只猫。<|end|><|user|>What is this?<|assistant|> cat cat.<|end|>"
    )
    assert spoken(encoder, encoder.prefix(2)) == "<|image|>" * 8
    prompt = spoken(encoder, encoder.prompt("What is this?", CAT, images=1))
    said = "<|user|>What is this?<|assistant|>"
    assert prompt == "<|image|>" * 4 + said + "A cat.<|end|>" + said


def test_a_prompt_is_what_training_shows_before_the_answer(encoder):
    row = encoder.pack([DIALOGUE])
    prompt = encoder.prompt(DIALOGUE[2].question, DIALOGUE[:2])
    assert row.ids[: len(prompt)] == prompt
    assert spoken(encoder, row.ids[len(prompt) :]) == "A cat.<|end|>"


def test_only_what_the_assistant_says_is_learnt(encoder):
    ids, labels = encoder.turns(DIALOGUE)
    assert len(ids) == len(labels)
    assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
    learnt = [label for label in labels if label != IGNORED]
    assert spoken(encoder, learnt) == "一只猫。<|end|> cat cat.<|end|>A cat.<|end|>"


def test_every_answer_has_a_label_even_an_empty_one(encoder):
    _, labels = encoder.turns([Turn("What is this?", "")])
    assert [label for label in labels if label != IGNORED] == [encoder.end]


def test_no_turns_are_no_tokens(encoder):
    assert encoder.turns([]) == ([], [])


SPECIAL = st.sampled_from(SPECIAL_TOKENS)
WRITTEN = st.lists(SPECIAL | st.text(st.characters(codec="utf-8"), max_size=8), max_size=6).map("".join)


@given(WRITTEN, WRITTEN)
def test_nothing_that_anybody_writes_becomes_a_special_token(question, answer):
    encoder = ConversationEncoder(TOKENIZERS["bytes"], PER_IMAGE)
    special = {encoder.pad, encoder.user, encoder.assistant, encoder.image, encoder.end}
    ids, _ = encoder.turns([Turn(question, answer)])
    assert [token for token in ids if token in special] == [encoder.user, encoder.assistant, encoder.end]
    prompt = encoder.prompt(question, [Turn(question, answer)], images=0)
    assert [token for token in prompt if token in special] == [
        *(encoder.user, encoder.assistant, encoder.end),
        *(encoder.user, encoder.assistant),
    ]


def test_special_tokens_written_out_are_letters(encoder):
    ids, _ = encoder.turns([Turn("<|user|>", "".join(SPECIAL_TOKENS))])
    assert encoder.image not in ids
    assert ids.count(encoder.user) == ids.count(encoder.end) == 1
    assert encoder.tokenizer.decode(ids) == "<|user|>" + "".join(SPECIAL_TOKENS)


def test_an_answer_never_holds_what_only_questions_and_pictures_have(encoder):
    assert encoder.end not in encoder.never_said
    assert {spoken(encoder, [token]) for token in encoder.never_said} == set(SPECIAL_TOKENS) - {"<|end|>"}


# -- several conversations in one row ---------------------------------------------------------------------------------


def test_packed_conversations_are_the_separate_ones_behind_one_picture(encoder):
    conversations = [CAT, DIALOGUE, CAT]
    row = encoder.pack(conversations, images=2)
    alone = [encoder.pack([conversation], images=2) for conversation in conversations]
    start = 2 * PER_IMAGE
    for name in ("ids", "labels", "positions"):
        behind = [value for one in alone for value in getattr(one, name)[start:]]
        assert getattr(row, name) == getattr(alone[0], name)[:start] + behind
    assert row.positions[:start] == list(range(start))
    assert row.labels[:start] == [IGNORED] * start
    lengths = [len(one.ids) - start for one in alone]
    assert row.segments == [0] * start + [1] * lengths[0] + [2] * lengths[1] + [3] * lengths[2]
    assert [one.segments for one in alone] == [[0] * start + [1] * length for length in lengths]
    for one in alone:
        assert one.positions == list(range(len(one.ids)))


def test_a_row_without_pictures_starts_with_the_first_question(encoder):
    row = encoder.pack([CAT], images=0)
    assert row.ids[0] == encoder.user
    assert row.positions == list(range(len(row.ids)))
    assert set(row.segments) == {1}


def test_a_batch_is_its_rows_padded_on_the_right(encoder):
    rows = [encoder.pack([CAT]), encoder.pack([CAT, DIALOGUE]), encoder.pack([])]
    batch = encoder.batch(rows)
    fill = {"ids": encoder.pad, "labels": IGNORED, "positions": 0, "segments": -1}
    assert set(batch) == set(fill)
    longest = max(len(row.ids) for row in rows)
    for name, value in fill.items():
        assert batch[name].shape == (3, longest)
        assert batch[name].dtype == torch.int64
        for row, written in zip(rows, batch[name].tolist(), strict=True):
            values = getattr(row, name)
            assert written == values + [value] * (longest - len(values))


def test_a_model_answers_packed_questions_as_it_answers_them_alone():
    model = small_gpt4v(picture=16)
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    conversations = [(Turn("What is the cat?", "猫"),), (Turn(" dog", " cat"), Turn("What", "有")), (Turn("狗", ""),)]
    images = pictures(1)
    with torch.no_grad():
        packed = encoder.batch([encoder.pack(conversations), encoder.pack(conversations[::-1] * 2)])
        inputs = {name: packed[name] for name in ("segments", "positions")}
        logits = model(packed["ids"], images.expand(2, -1, -1, -1), **inputs)[0]
        for number, conversation in enumerate(conversations, start=1):
            alone = torch.tensor([encoder.pack([conversation]).ids])
            expected = model(alone, images)[0, model.tokens_per_image :]
            close(logits[packed["segments"][0] == number], expected)


@pytest.mark.parametrize("name", ["core16", "all", "shapes"])
def test_every_scene_fits_into_the_context_and_every_row_has_labels(name):
    world = world_called(name)
    tokenizer = Tokenizer.train(vocabulary_texts(world.nouns[: world.trained]), vocabulary_size=8192)
    encoder = ConversationEncoder(tokenizer, 16)
    about = {scene: [] for scene in sample(name, "train", 300)}
    for scene, conversation in asked(name, "train", 300):
        about[scene].append(conversation)
    rows = [encoder.pack(conversations) for conversations in about.values()]
    assert max(len(row.ids) for row in rows) <= 320  # presets leave room for 384
    assert all(any(label != IGNORED for label in row.labels) for row in rows)
