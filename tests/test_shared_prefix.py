"""shared_prefix.py: short rows behind a picture that is read once, beside one long row and beside brute force."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_models import close, pictures, small_gpt4v

from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder, Turn
from minigpt4v.objectives import AnswerObjective
from minigpt4v.shared_prefix import SharedPrefix, row_mask

WORDS = ["cat", "dog", "猫", "What is it?", "a b c", "No."]
TURNS = st.lists(st.builds(Turn, st.sampled_from(WORDS), st.sampled_from(WORDS)), min_size=1, max_size=3).map(tuple)
ABOUT = st.lists(st.lists(TURNS, min_size=1, max_size=5), min_size=1, max_size=3)


def loss_and_gradients(model, batch: dict) -> tuple[torch.Tensor, list[torch.Tensor]]:
    objective = AnswerObjective(model)
    objective.zero_grad()
    loss, _ = objective(batch)
    loss.backward()
    return loss, [parameter.grad for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("kind", ["conv", "patch"])
@given(about=ABOUT, length=st.integers(1, 60))
@settings(max_examples=15, deadline=None)
def test_short_rows_have_the_loss_and_the_gradients_of_one_long_row(kind, about, length):
    model = small_gpt4v(kind).double()
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    images = {"images": pictures(len(about)).double()}
    packed = encoder.batch([encoder.pack(conversations) for conversations in about])
    expected, expected_gradients = loss_and_gradients(model, packed | images)
    loss, gradients = loss_and_gradients(model, encoder.short_rows(about, length) | images)
    close(loss, expected)
    assert len(gradients) == len(expected_gradients)
    for gradient, wanted in zip(gradients, expected_gradients, strict=True):
        close(gradient, wanted)


@given(about=ABOUT, length=st.integers(1, 60))
@settings(deadline=None)
def test_every_conversation_stands_in_one_row_about_its_picture(about, length):
    encoder = ConversationEncoder(small_gpt4v().tokenizer, 16)
    batch = encoder.short_rows(about, length)
    found: list[list[tuple]] = [[] for _ in about]
    for row, picture in enumerate(batch["picture"].tolist()):
        segments = batch["segments"][row]
        numbers = [number for number in dict.fromkeys(segments.tolist()) if number >= 0]
        for number in numbers:
            inside = segments == number
            assert batch["positions"][row][inside].tolist() == list(range(16, 16 + int(inside.sum())))
            found[picture].append((batch["ids"][row][inside].tolist(), batch["labels"][row][inside].tolist()))
        assert len(numbers) == 1 or int((segments >= 0).sum()) <= length
        assert (batch["ids"][row][segments < 0] == encoder.pad).all()
        assert (batch["labels"][row][segments < 0] == IGNORED).all()
    for mine, conversations in zip(found, about, strict=True):
        assert sorted(mine) == sorted(encoder.turns(turns) for turns in conversations)


def test_what_fits_into_one_row_stands_in_one_row():
    encoder = ConversationEncoder(small_gpt4v().tokenizer, 16)
    turn = (Turn("cat", "dog"),)
    needed = len(encoder.turns(turn)[0])
    assert encoder.short_rows([[turn] * 3], 3 * needed)["picture"].tolist() == [0]
    assert encoder.short_rows([[turn] * 3, [turn]], 2 * needed)["picture"].tolist() == [0, 0, 1]


def test_who_may_look_at_whom():
    segments = torch.tensor([[1, 1, 2, -1], [1, 2, 2, 2]])
    mask = row_mask(segments, prefix_length=3)
    for row, numbers in enumerate(segments.tolist()):
        for t, mine in enumerate(numbers):
            own = [s <= t and other == mine for s, other in enumerate(numbers)]
            assert mask[row, t].tolist() == [True] * 3 + own


def test_keys_of_a_prefix_stand_in_front_of_the_rows_of_its_picture():
    prefix = SharedPrefix(layers=1)
    key = torch.arange(4.0).reshape(2, 1, 2, 1)  # two prefixes of two tokens
    prefix.append(0, key, -key)
    assert prefix.length == 2
    rows = prefix.behind(torch.tensor([1, 0, 1]))
    keys, values = rows.append(0, torch.full((3, 1, 1, 1), 9.0), torch.full((3, 1, 1, 1), 8.0))
    assert keys.flatten(1).tolist() == [[2, 3, 9], [0, 1, 9], [2, 3, 9]]
    assert values.flatten(1).tolist() == [[-2, -3, 8], [0, -1, 8], [-2, -3, 8]]
