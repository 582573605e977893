"""Training streams: every batch is a pure function of seed and step, however many processes share it."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scene_samples import sample, world_called

from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder
from minigpt4v.datasets.phrasings import FAMILIES, PLACE_ZH, vocabulary_texts
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import PLACES, load_world
from minigpt4v.datasets.streams import (
    ComparingStream,
    FirstWordsStream,
    NamingStream,
    PointingStream,
    SceneStream,
    pack_batch,
    scene_batch,
    share,
)
from minigpt4v.tokenizer import CharTokenizer

WORLD = load_world("core16")
LETTERS = CharTokenizer.train([*vocabulary_texts(WORLD.nouns), "abcdefghijklmnopqrstuvwxyz", "?!.,:T"])
ENCODER = ConversationEncoder(LETTERS, 4)


def seeing(batch_size: int = 6, seed: int = 0, **more) -> SceneStream:
    return SceneStream(WORLD, ENCODER, batch_size, seed, **more)


def naming(batch_size: int = 6, seed: int = 0) -> NamingStream:
    return NamingStream(WORLD, batch_size, seed)


def pointing(batch_size: int = 6, seed: int = 0) -> PointingStream:
    return PointingStream(WORLD, ENCODER, batch_size, seed)


def first_words(batch_size: int = 6, seed: int = 0) -> FirstWordsStream:
    return FirstWordsStream(WORLD, ENCODER, batch_size, seed)


def comparing(batch_size: int = 6, seed: int = 0) -> ComparingStream:
    return ComparingStream(WORLD, ENCODER, batch_size, seed)


STREAMS = {each.__name__: each for each in (seeing, naming, pointing, first_words, comparing)}
WORDS = ("ids", "labels", "positions", "segments")
FILL = {"ids": ENCODER.pad, "labels": IGNORED, "positions": 0, "segments": -1}


@pytest.fixture(params=STREAMS)
def make(request):
    return STREAMS[request.param]


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(a[k], b[k]) if isinstance(a[k], torch.Tensor) else a[k] == b[k] for k in a
    )


def questions(stream: SceneStream, step: int) -> list[str]:
    """Each row of a batch as text."""
    rows = []
    for ids, segments in zip(*(stream.batch(step)[name].tolist() for name in ("ids", "segments")), strict=True):
        said = [token for token, segment in zip(ids, segments, strict=True) if segment > 0]
        rows.append(LETTERS.decode(said, show_special=True))
    return rows


def test_short_rows_ask_what_one_long_row_asks():
    long, short = seeing(), seeing(row_length=60)
    packed, cut = long.batch(2), short.batch(2)
    assert cut["count"] == packed["count"]
    assert torch.equal(cut["images"], packed["images"])
    for picture in range(6):
        asked = [packed["labels"][picture], cut["labels"][cut["picture"] == picture]]
        first, second = (sorted(labels[labels != IGNORED].tolist()) for labels in asked)
        assert first == second
    assert cut["ids"].shape[1] < packed["ids"].shape[1]


# -- a pure function --------------------------------------------------------------------------------------------------


def test_a_batch_depends_on_seed_and_step_alone(make):
    stream = make()
    first = stream.batch(7)
    stream.batch(8)
    torch.rand(3)  # the global source of chance plays no part
    assert same(stream.batch(7), first)
    assert same(make().batch(7), first)


def test_other_steps_and_seeds_give_other_batches(make):
    batches = [make(seed=seed).batch(step) for seed in (0, 1) for step in (0, 1, 2)]
    pictures = [picture for batch in batches for picture in batch["images"]]
    different = {picture.numpy().tobytes() for picture in pictures}
    assert len(different) == len(pictures) == 36


def test_the_streams_show_different_scenes():
    shown = [make().batch(0)["images"].numpy().tobytes() for make in STREAMS.values()]
    assert len(set(shown)) == len(STREAMS)


def test_the_early_streams_ask_short_questions():
    asked = re.compile(r"<\|user\|>(.*?)<\|assistant\|>(.*?)<\|end\|>")
    places = [f" {place}" for place in PLACES] + list(PLACE_ZH.values())
    for row in questions(pointing(), 0):
        assert asked.findall(row)
        assert all(answer in places for _, answer in asked.findall(row))
    rows = [row for step in range(3) for row in questions(first_words(), step)]
    assert {" things", " biggest", " top left"} < {question for row in rows for question, _ in asked.findall(row)}
    rows = [row for step in range(3) for row in questions(comparing(), step)]
    assert {" same top left top right", " animals"} < {question for row in rows for question, _ in asked.findall(row)}
    only_chinese = FirstWordsStream(WORLD, ENCODER, 4, 0, languages=("zh",))
    assert not re.search("[a-z]", re.sub(r"<\|.*?\|>", "", "".join(questions(only_chinese, 0))))


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_parts_put_together_are_the_whole_batch(make, parts):
    whole = make().batch(3)
    shares = [make().batch(3, part, parts) for part in range(parts)]
    assert torch.equal(torch.cat([s["images"] for s in shares]), whole["images"])
    assert sum(s["count"] for s in shares) == whole["count"]
    for name in set(whole) - {"images", "count"}:
        rows = [row for s in shares for row in s[name]]
        assert len(rows) == len(whole[name])
        for row, expected in zip(rows, whole[name], strict=True):
            assert torch.equal(row, expected[: len(row)])
            if len(row) < len(expected):  # a part pads to its own longest row
                assert (expected[len(row) :] == FILL[name]).all()


@given(st.integers(1, 50), st.integers(1, 50))
def test_shares_are_contiguous_and_as_equal_as_can_be(size, parts):
    shares = [share(size, part, parts) for part in range(parts)]
    assert [i for s in shares for i in s] == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


# -- what a batch holds -----------------------------------------------------------------------------------------------


def test_a_batch_of_scenes_holds_pictures_and_conversations():
    batch = seeing(batch_size=8).batch(0)
    assert batch["images"].shape == (8, 3, 64, 64)
    assert batch["images"].device.type == "cpu"
    length = batch["ids"].shape[1]
    assert all(batch[name].shape == (8, length) and batch[name].dtype == torch.int64 for name in WORDS)
    assert (batch["ids"][:, :4] == ENCODER.image).all()
    answers = ((batch["labels"] == ENCODER.end) & (batch["segments"] > 0)).sum()
    assert batch["count"] == answers
    assert (batch["labels"] != IGNORED).any(1).all()


def test_pictures_are_augmented_and_scenes_are_not():
    batch = scene_batch(
        sample("core16", "seen", 3),
        conversations_about(WORLD, sample("core16", "seen", 3), "s"),
        ENCODER,
        Renderer(WORLD),
    )
    assert torch.equal(batch["images"], Renderer(WORLD)(sample("core16", "seen", 3)))
    stream = seeing(batch_size=3)
    scenes = sample("core16", "seen", 3)
    noisy = stream.pictures(scenes, step=0, part=0, parts=1)
    assert 0.002 < (noisy - batch["images"]).abs().mean() < 0.1
    assert torch.equal(noisy, stream.pictures(scenes, step=0, part=0, parts=1))
    assert not torch.equal(noisy, stream.pictures(scenes, step=1, part=0, parts=1))


def test_given_scenes_become_the_batch_of_their_conversations():
    scenes = sample("core16", "seen", 4)
    about = conversations_about(WORLD, scenes, "s")
    batch = scene_batch(scenes, about, ENCODER, Renderer(WORLD))
    expected = ENCODER.batch([ENCODER.pack(conversations) for conversations in about])
    assert all(torch.equal(batch[name], expected[name]) for name in WORDS)
    assert batch["count"] == sum(len(turns) for conversations in about for turns in conversations)
    words_only = pack_batch(about, ENCODER, torch.device("cpu"))
    assert set(batch) - set(words_only) == {"images"}


def test_families_and_languages_can_be_chosen():
    for row in questions(seeing(families=("how_many",), languages=("zh",)), 0):
        assert "几个东西" in row
        assert row.count("<|user|>") == 1
        assert not re.search("[a-zA-Z]", re.sub(r"<\|\w+\|>", "", row))


def test_a_number_of_conversations_is_drawn_from_the_families():
    families = ("how_many", "caption", "what")
    rows = [row for step in range(5) for row in questions(seeing(families=families, conversations=2), step)]
    assert {row.count("<|user|>") for row in rows} == {2}
    assert len({row.split("<|assistant|>")[0] for row in rows}) > 10
    assert all(row.count("<|user|>") > 8 for row in questions(seeing(families=FAMILIES), 0))


def test_names_are_labelled_at_their_places():
    stream = naming(batch_size=200)
    batch = stream.batch(0)
    assert batch["images"].shape == (200, 3, 64, 64)
    assert batch["labels"].shape == (200, len(PLACES))
    named = batch["labels"] != IGNORED
    assert batch["count"] == named.sum()
    assert set(batch["labels"][named].tolist()) == set(range(WORLD.trained))
    counts = named.sum(1)
    assert set(counts.tolist()) == {1, 2, 3, 4}
    assert (counts[named[:, PLACES.index("middle")]] == 1).all()  # a close-up is alone


def test_a_label_names_the_thing_whose_pixels_stand_there():
    """Without noise a picture changes only in the quarters that have a label."""
    stream = naming(batch_size=60)
    stream.pictures = lambda scenes, step, part, parts: stream.renderer(scenes)
    batch = stream.batch(1)
    ground = batch["images"][:, :, :1, :1]
    for number, (rows, columns) in enumerate([(0, 0), (0, 32), (32, 0), (32, 32)]):
        region = batch["images"][:, :, rows : rows + 32, columns : columns + 32]
        drawn = ((region - ground).abs() > 0.05).any(1).float().mean((1, 2)) > 0.02
        labelled = batch["labels"][:, number] != IGNORED
        close_up = batch["labels"][:, PLACES.index("middle")] != IGNORED
        assert torch.equal(drawn & ~close_up, labelled)


def test_shapes_can_be_streamed_too():
    stream = NamingStream(world_called("shapes"), 4, seed=0)
    assert stream.batch(0)["labels"].max() < 8
