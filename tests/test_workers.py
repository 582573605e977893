"""The same batches in the same order, whoever makes them: worker processes, a thread in the background, anybody else.

The library makes its batches in the process that trains. Since a batch depends on seed and step alone, PyTorch's
`DataLoader` may make them ahead of time in as many processes as it likes.
"""

import multiprocessing
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import minigpt4v
from minigpt4v.classification import PictureStream
from minigpt4v.datasets import folder_stream
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.phrasings import vocabulary_texts
from minigpt4v.datasets.scenes import load_world
from minigpt4v.datasets.sort_of_clevr import generate
from minigpt4v.datasets.sort_of_clevr_stream import SingleThingStream, SortOfClevrStream, all_sentences
from minigpt4v.datasets.streams import NamingStream, PointingStream, SceneStream
from minigpt4v.datasets.text import TextDataset
from minigpt4v.tokenizer import CharTokenizer
from minigpt4v.training import Stream

STEPS = 4


@pytest.fixture(scope="module")
def streams() -> dict[str, Stream]:
    """One of each kind."""
    world = load_world("core16")
    letters = CharTokenizer.train(
        [*vocabulary_texts(world.nouns), *all_sentences(), "abcdefghijklmnopqrstuvwxyz?!.,:T"]
    )
    encoder = ConversationEncoder(letters, 4)
    clevr = SortOfClevrStream(generate(12, seed=6), ConversationEncoder(letters, 25), 3, 0)
    told = [((), (Turn("what?", answer),)) for answer in "abcdefghijk"]
    return {
        "seeing": SceneStream(world, encoder, 3, 0),
        "short rows": SceneStream(world, encoder, 3, 0, row_length=60),
        "pointing": PointingStream(world, encoder, 3, 0),
        "naming": NamingStream(world, 3, 0),
        "text": folder_stream.TextStream(TextDataset(list(range(30)) * 4, 8), 4, 0),
        "own conversations": folder_stream.ConversationStream(told, folder_stream.Album([], 8), encoder, 4, 0),
        "pictures": PictureStream(torch.rand(7, 3, 4, 4), torch.arange(7), 4, 0),
        "sort of clevr": clevr,
        "single things": SingleThingStream(clevr),
    }


class Steps(Dataset):
    """The batches of several streams by step, as a `DataLoader` asks for them."""

    def __init__(self, streams: dict[str, Stream]):
        self.streams = streams

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, step: int) -> dict:
        return {name: stream.batch(step) for name, stream in self.streams.items()}


def flat(batches: dict) -> dict[str, bytes | object]:
    """All numbers of a step's batches, bit by bit."""
    return {
        f"{name}, {key}": value.numpy().tobytes() if isinstance(value, torch.Tensor) else value
        for name, batch in batches.items()
        for key, value in batch.items()
    }


@pytest.fixture(scope="module")
def expected(streams) -> list[dict]:
    made = [flat(Steps(streams)[step]) for step in range(STEPS)]
    pictures = [name for name in made[0] if name.endswith(", images") and made[0][name] is not None]
    assert len(pictures) == 7
    assert all(made[0][name] != made[1][name] for name in pictures)
    return made


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="streams are not pickled")
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_workers_make_the_same_batches_in_the_same_order(streams, expected, workers):
    """Each worker has global sources of chance of its own, and makes every third batch, say."""
    loader = DataLoader(
        Steps(streams), batch_size=None, num_workers=workers, multiprocessing_context="fork" if workers else None
    )
    assert [flat(batches) for batches in loader] == expected


def test_threads_may_make_batches_together(streams, expected):
    """In any order, and while others use the same streams."""
    steps = [step for _ in range(3) for step in reversed(range(STEPS))]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda step: flat(Steps(streams)[step]), steps))
    assert made == [expected[step] for step in steps]


def test_no_batch_touches_the_global_sources_of_chance(streams):
    """So that data and dropout do not disturb each other."""
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002
    Steps(streams)[3]
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before  # noqa: NPY002


def test_every_stream_of_the_library_is_here(streams):
    """But for those that differ from one here in what is asked alone, and `FrozenStream`, which keeps its batches."""
    here = {type(stream).__name__ for stream in streams.values()}
    sources = "".join(path.read_text(encoding="utf-8") for path in Path(minigpt4v.__path__[0]).rglob("*.py"))
    named = {line.split()[1].split("(")[0].rstrip(":") for line in sources.splitlines() if line.startswith("class ")}
    others = {"Stream", "FrozenStream", "FirstWordsStream", "ComparingStream"}
    assert {name for name in named if name.endswith("Stream")} - others - here == set()
