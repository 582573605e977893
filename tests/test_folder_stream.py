"""Training streams from one's own data: what is in a batch, and that it depends on nothing but seed and step."""

from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder, Turn
from minigpt4v.datasets.folder_stream import (
    CONVERSATIONS_PER_ROW,
    Album,
    ConversationStream,
    TextStream,
    batch_of,
    rows_of,
)
from minigpt4v.datasets.text import TextDataset
from minigpt4v.tokenizer import CharTokenizer

TOKENIZER = CharTokenizer(tuple(sorted("abcdefghijklmnopqrstuvwxyz? 0123456789")))
ENCODER = ConversationEncoder(TOKENIZER, tokens_per_image=3)


@pytest.fixture
def pictures(tmp_path):
    """Five pictures of 8x8 pixels of noise."""
    paths = []
    for number in range(5):
        paths.append(tmp_path / f"{number}.png")
        noise = np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).save(paths[-1])
    return paths


def about(*paths, answer="a cat"):
    return tuple(paths), (Turn("what?", answer), Turn("sure?", "yes"))


def text_of(batch, row):
    return ENCODER.tokenizer.decode(batch["ids"][row].tolist(), show_special=True).replace("<|pad|>", "")


# Pictures


def test_an_album_keeps_each_picture_once_and_unchanged(pictures):
    album = Album([pictures[1], pictures[0], pictures[1]], image_size=8)
    assert album.numbers == {pictures[1]: 0, pictures[0]: 1}
    assert album.pictures.dtype == torch.uint8
    for path, number in album.numbers.items():
        expected = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1) / 255
        torch.testing.assert_close(album.images([number])[0], expected)


def test_an_album_may_be_empty():
    album = Album([], image_size=8)
    assert album.images([]) is None


# Rows and batches


def test_conversations_about_the_same_pictures_share_a_row(pictures):
    album = Album(pictures, image_size=8)
    first, second, both = about(pictures[0]), about(pictures[1]), about(pictures[0], pictures[1])
    rows = rows_of([first, second, first, both, about(), about()], album)
    assert rows == [((0,), [first[1]] * 2), ((1,), [second[1]]), ((0, 1), [both[1]]), ((), [about()[1]] * 2)]


def test_long_rows_are_cut(pictures):
    album = Album(pictures, image_size=8)
    rows = rows_of([about(pictures[0], answer=f"a {n}") for n in range(2 * CONVERSATIONS_PER_ROW + 1)], album)
    assert [len(conversations) for _, conversations in rows] == [CONVERSATIONS_PER_ROW, CONVERSATIONS_PER_ROW, 1]


def test_a_batch_holds_texts_and_pictures_in_the_same_order(pictures):
    album = Album(pictures, image_size=8)
    rows = [((2,), [about(answer="a dog")[1]]), ((), [about()[1]]), ((4, 0), [about(answer="a pig")[1]] * 2)]
    batch = batch_of(rows, album, ENCODER)
    assert batch["count"] == 8  # answers
    torch.testing.assert_close(batch["images"], album.images([2, 4, 0]))
    turns = "<|user|>what?<|assistant|>a {}<|end|><|user|>sure?<|assistant|>yes<|end|>"
    assert text_of(batch, 0) == "<|image|>" * 3 + turns.format("dog")
    assert text_of(batch, 1) == turns.format("cat")
    assert text_of(batch, 2) == "<|image|>" * 6 + 2 * turns.format("pig")
    assert batch["segments"][2].unique().tolist() == [0, 1, 2]
    assert batch["segments"][0].unique().tolist() == [-1, 0, 1]
    assert (batch["labels"] != IGNORED).sum(1).tolist() == [10, 10, 20]  # 5 letters, 3 letters, and an end each


def test_a_batch_without_pictures_says_so(pictures):
    batch = batch_of([((), [about()[1]])], Album([], image_size=8), ENCODER)
    assert batch["images"] is None


# Streams


def stream(paths, batch_size=2, seed=0):
    conversations = [about(path, answer=f"a {path.stem}") for path in paths]
    return ConversationStream(conversations, Album(paths, image_size=8), ENCODER, batch_size, seed)


def answers(batch):
    return [text_of(batch, row).split("<|assistant|>")[1].split("<|end|>")[0] for row in range(len(batch["ids"]))]


def test_each_pass_shows_everything_once(pictures):
    source = stream(pictures, batch_size=2)
    seen = [answer for step in range(5) for answer in answers(source.batch(step))]  # two passes over five
    assert set(seen[:5]) == set(seen[5:]) == {f"a {number}" for number in range(5)}
    assert seen[:5] != seen[5:]


def test_a_batch_larger_than_the_data_goes_through_it_several_times(pictures):
    assert Counter(answers(stream(pictures[:3], batch_size=9).batch(0))) == {"a 0": 3, "a 1": 3, "a 2": 3}


def test_batches_are_a_function_of_seed_and_step(pictures):
    first, again, other = stream(pictures), stream(pictures), stream(pictures, seed=1)
    later = [first.batch(step) for step in (0, 3, 7)]
    for step, expected in zip((7, 0, 3), (later[2], later[0], later[1]), strict=True):
        for name, value in again.batch(step).items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(expected[name]))
    assert [answers(first.batch(step)) for step in range(5)] != [answers(other.batch(step)) for step in range(5)]


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_parts_make_up_the_whole(pictures, parts):
    source = stream(pictures, batch_size=4)
    whole = source.batch(1)
    pieces = [source.batch(1, part, parts) for part in range(parts)]
    assert [answer for piece in pieces for answer in answers(piece)] == answers(whole)
    torch.testing.assert_close(torch.cat([piece["images"] for piece in pieces]), whole["images"])
    assert sum(piece["count"] for piece in pieces) == whole["count"]


def test_a_stream_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no conversation to learn from"):
        ConversationStream([], Album([], image_size=8), ENCODER, 2, seed=0)


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_a_text_stream_gives_the_windows_of_its_dataset(parts):
    dataset = TextDataset(torch.arange(100), context_length=7)
    source = TextStream(dataset, batch_size=5, seed=3)
    inputs, targets = dataset.batch(4, 5, 3)
    pieces = [source.batch(4, part, parts) for part in range(parts)]
    assert torch.equal(torch.cat([piece["inputs"] for piece in pieces]), inputs)
    assert torch.equal(torch.cat([piece["targets"] for piece in pieces]), targets)
    assert sum(piece["count"] for piece in pieces) == 35
