"""The texts of the course, how they are split, and windows as a function of (seed, step)."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt4v.datasets import text as text_module
from minigpt4v.datasets.folder import DataError
from minigpt4v.datasets.text import TEXTS, TextDataset, load_text, split_text

POEM = "静夜思\n李白\n床前明月光，疑是地上霜。\n举头望明月，低头思故乡。\n"


@pytest.fixture
def small_texts(tmp_path, monkeypatch):
    folder = tmp_path / "text"
    folder.mkdir()
    (folder / "shakespeare.txt").write_text("To be, or not to be.\n" * 30, encoding="utf-8")
    (folder / "tang_quatrains.txt").write_text("\n".join([POEM] * 300), encoding="utf-8")
    monkeypatch.setattr(text_module, "data_folder", lambda: tmp_path)
    return folder


@pytest.mark.parametrize("name", TEXTS)
def test_the_two_parts_of_a_text_make_the_whole(small_texts, name):
    whole, train, validation = (load_text(name, split) for split in ("all", "train", "validation"))
    assert load_text(name) == whole
    assert train + validation == whole
    assert 0.08 < len(validation) / len(whole) < 0.11


def test_a_poem_is_never_cut_in_two(small_texts):
    train, validation = load_text("tang", "train"), load_text("tang", "validation")
    assert validation.startswith("静夜思\n李白\n")
    assert train.endswith("低头思故乡。\n\n")


def test_the_committed_texts_are_about_what_they_say():
    shakespeare, tang = load_text("shakespeare"), load_text("tang")
    assert 800_000 < len(shakespeare) < 1_500_000
    assert shakespeare.lower().count(" thou ") > 1000
    assert "李白" in tang
    assert "明月" in tang
    assert sum("\u4e00" <= letter <= "\u9fff" for letter in tang) > 0.7 * len(tang)
    assert load_text("tang", "validation")[0] not in "\n，。"


def test_unknown_names_and_splits_are_refused_with_the_choices():
    with pytest.raises(ValueError, match=r"no text named 'hamlet': choose one of 'shakespeare', 'tang'"):
        load_text("hamlet")
    with pytest.raises(ValueError, match=r"split must be one of 'all', 'train', 'validation', not 'test'"):
        load_text("tang", "test")


def test_a_missing_text_file_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setattr(text_module, "data_folder", lambda: tmp_path)
    with pytest.raises(DataError, match=r"there is no file '.*shakespeare\.txt'"):
        load_text("shakespeare")


@given(st.text(alphabet="ab\n 字", min_size=10, max_size=2000))
def test_splitting_loses_nothing_and_holds_out_about_a_tenth(text):
    train, validation = split_text(text)
    assert train + validation == text
    assert 0.089 * len(text) - 1 <= len(validation) <= 0.1 * len(text) + 1
    assert train
    assert validation


def test_the_cut_prefers_a_blank_line_to_a_line_and_a_line_to_none():
    filler = "x" * 900
    assert split_text(filler + "\nxx\n\n" + "x" * 95) == (filler + "\nxx\n\n", "x" * 95)
    assert split_text(filler + "xx\nxx" + "x" * 95) == (filler + "xx\n", "xx" + "x" * 95)
    assert split_text("x" * 1000) == (filler, "x" * 100)
    start, end = "x" * 898 + "\n\n", "xxx\n\n" + "x" * 95
    assert split_text(start + end) == (start, end)  # the cut is right as it is, though a blank line follows
    assert split_text("x" * 950 + "\n\n" + "x" * 48) == (filler, "x" * 50 + "\n\n" + "x" * 48)  # too far away


def test_too_short_to_split():
    with pytest.raises(ValueError, match="a text of 9 characters has no tenth"):
        split_text("123456789")


def test_targets_are_the_inputs_one_token_later():
    dataset = TextDataset(range(100, 150), context_length=8)
    inputs, targets = dataset.batch(step=3, batch_size=5, seed=0)
    assert inputs.shape == targets.shape == (5, 8)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(targets, inputs + 1)  # the ids count up by one, so the next token is the next number
    assert inputs.min() >= 100
    assert targets.max() <= 149


def test_a_batch_is_a_function_of_seed_and_step_alone():
    dataset = TextDataset(range(10_000), 4)
    first = dataset.batch(7, 16, seed=1)
    for step in range(5):
        dataset.batch(step, 16, seed=9)
    np.random.default_rng().random(10)
    torch.rand(3)
    again = TextDataset(range(10_000), 4).batch(7, 16, seed=1)
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


def test_batches_stay_the_same_from_version_to_version():
    inputs, _ = TextDataset(range(1_000_000), 1).batch(step=2, batch_size=3, seed=5)
    # NumPy's documented recipe, spelled out: PCG64 seeded by the hashed pair.
    expected = np.random.Generator(np.random.PCG64(np.random.SeedSequence([5, 2]))).integers(999_999, size=3)
    assert inputs[:, 0].tolist() == expected.tolist() == [792833, 237720, 711030]


def test_no_two_pairs_of_seed_and_step_share_a_batch():
    dataset = TextDataset(range(100_000), 1)
    batches = {
        tuple(dataset.batch(step, 4, seed)[0][:, 0].tolist()) for seed in range(20) for step in range(20)
    }  # a generator seeded with seed + step would leave 39
    assert len(batches) == 400


def test_every_window_is_drawn_about_equally_often():
    dataset = TextDataset(range(14), 4)
    assert len(dataset) == 10
    starts, _ = dataset.batch(0, 20_000, seed=0)
    counts = torch.bincount(starts[:, 0], minlength=11)
    assert counts[10] == 0  # this start would leave the last input without a target
    assert (counts[:10] - 2000).abs().max() < 6 * (20_000 * 0.1 * 0.9) ** 0.5


@given(
    length=st.integers(2, 200),
    context_length=st.integers(1, 50),
    batch_size=st.integers(1, 9),
)
def test_validation_covers_each_token_once_in_order(length, context_length, batch_size):
    if length < context_length + 1:
        length = context_length + 1
    batches = list(TextDataset(range(length), context_length).validation_batches(batch_size))
    inputs = torch.cat([inputs.flatten() for inputs, _ in batches])
    targets = torch.cat([targets.flatten() for _, targets in batches])
    assert inputs.tolist() == list(range(length - 1))
    assert targets.tolist() == list(range(1, length))
    assert all(len(inputs) <= batch_size and inputs.shape[1] <= context_length for inputs, _ in batches)
    assert all(inputs.shape[1] == context_length for inputs, _ in batches[:-1])


@pytest.mark.parametrize("ids", [list(range(9)), np.arange(9, dtype=np.int32), torch.arange(9, dtype=torch.int16)])
def test_ids_may_be_a_list_an_array_or_a_tensor(ids):
    inputs, targets = next(TextDataset(ids, 8).validation_batches(4))
    assert inputs.tolist() == [list(range(8))]
    assert targets.tolist() == [list(range(1, 9))]
    assert inputs.dtype == targets.dtype == torch.int64


@pytest.mark.parametrize(
    ("ids", "context_length", "message"),
    [
        (range(8), 8, r"the text has 8 tokens, but a context of 8 needs at least 9"),
        ([], 1, r"the text has 0 tokens"),
        (range(8), 0, r"context_length must be at least 1, not 0"),
        ([0.5, 1.5, 2.5], 1, r"one row of whole numbers, not torch\.float32 of shape \[3\]"),
        ([[1, 2, 3]], 1, r"one row of whole numbers, not torch\.int64 of shape \[1, 3\]"),
    ],
)
def test_bad_ids_are_refused(ids, context_length, message):
    with pytest.raises(ValueError, match=message):
        TextDataset(ids, context_length)


def test_bad_steps_seeds_and_batch_sizes_are_refused():
    dataset = TextDataset(range(20), 4)
    with pytest.raises(ValueError, match="step -1, seed 0"):
        dataset.batch(-1, 2, 0)
    with pytest.raises(ValueError, match="step 0, seed -3"):
        dataset.batch(0, 2, -3)
    with pytest.raises(ValueError, match="batch_size must be at least 1, not 0"):
        dataset.batch(0, 0, 0)
    with pytest.raises(ValueError, match="batch_size must be at least 1, not -1"):
        next(dataset.validation_batches(-1))
