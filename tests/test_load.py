"""Nothing grows that should not: the short forms of `python -m bench.load`, by the memory of Python and of tensors."""

import sys

import pytest
import torch

from bench import load
from minigpt4v import evaluation
from minigpt4v.datasets.scenes import load_world
from minigpt4v.decoding import generate, generate_stream
from minigpt4v.evaluation import Prediction, evaluate_split
from minigpt4v.gpt import GPT, GPTConfig

TIMES = {"a conversation": 4, "a loaded model": 3, "a question": 6, "a picture file": 6, "two figures": 1}
"""How often each is repeated, after as many that do not count."""
LEAK = dict.fromkeys(TIMES, 4000) | {"two figures": 40_000, "a loaded model": 10_000}
"""Bytes a repetition: a picture of 64 x 64 pixels has 49,152, the smallest model 60,000, a figure several 100,000.

safetensors 0.8.0 keeps some 60 bytes for each tensor that it reads from a file.
"""


@pytest.fixture(scope="module")
def repetitions(tmp_path_factory):
    return load.repetitions(tmp_path_factory.mktemp("load"))


@pytest.mark.parametrize("name", TIMES)
def test_nothing_is_kept_of_what_is_over(repetitions, name):
    assert load.growth(repetitions[name], TIMES[name], looks=2)["python"] < LEAK[name]


def test_everything_that_is_repeated_is_tested(repetitions):
    """But for training, which loads half of PyTorch for it: in the long form only."""
    assert repetitions.keys() == {*TIMES, "a training run"}


@pytest.mark.parametrize("leak", [lambda: torch.zeros(1000), lambda: bytes(4000)], ids=["tensor", "bytes"])
def test_a_leak_would_be_seen(leak):
    kept = []
    found = load.growth(lambda _: kept.append(leak()), 10)
    assert found["python"] == pytest.approx(4000, rel=0.2)


def test_evaluation_keeps_nothing_of_the_scenes(monkeypatch):
    """At each part of 4 scenes the memory is what it was at the part before, but for the tally: 8 bytes a family."""
    memory, shown = [], []

    def answer(model, images, examples) -> list[Prediction]:
        memory.append(load.python_memory())
        shown.append(len(images))
        return [Prediction(example.turn.answer, 0.9) for example in examples]

    monkeypatch.setattr(evaluation, "_SCENES_AT_ONCE", 4)
    monkeypatch.setattr(evaluation, "predict", answer)
    model, world = load.silent_model(), load_world(load.WORLD)
    with load.traced():
        evaluate_split(model, world, "seen", 48, "load")
    assert shown == [4] * 12
    assert max(memory[4:]) - min(memory[4:]) < 20_000  # 32 scenes: their pictures alone would be 1,572,864


def test_writing_takes_its_memory_at_once(monkeypatch):
    """The cache is as large as documented, and nothing else grows."""
    made, new_cache = [], GPT.new_cache
    monkeypatch.setattr(GPT, "new_cache", lambda *given: made.append(new_cache(*given)) or made[-1])
    model = GPT(GPTConfig(vocabulary_size=20, context_length=301, layers=2, heads=2, width=8)).eval()
    with load.traced():
        generate(model, [1], 300)  # PyTorch keeps a few objects to use again
        stream = generate_stream(model, [1], 300)
        memory = [load.python_memory() for number, _ in enumerate(stream) if number % 60 == 59]
    cache = made[1]
    held = sum(tensor.nbytes for tensor in vars(cache).values() if isinstance(tensor, torch.Tensor))
    assert held == 2 * 2 * 8 * 301 * 4  # keys and values, layers, width, tokens, bytes of a float32
    assert len(memory) == 5
    assert memory[-1] - memory[0] < 100 * 240  # bytes a token: less than any tensor has


def test_a_text_that_does_not_fit_is_refused_before_its_first_token():
    model = GPT(GPTConfig(vocabulary_size=20, context_length=301, layers=1, heads=1, width=4))
    for use_cache in (True, False):
        with pytest.raises(ValueError, match="a prompt of 1 tokens and 10000 new ones do not fit into the context"):
            generate_stream(model, [1], 10_000, use_cache=use_cache)
    assert len(generate(model, [1], 300)[0]) == 300


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_long_form_measures_all(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(load, "alone", lambda work, *given: work(*given))
    monkeypatch.setattr(load.record, "save", lambda name, results: tmp_path.joinpath(name).write_text(str(results)))
    monkeypatch.setattr(load, "weigh_repetitions", lambda name, times: {"python": times, "process": 0})
    load.main(["--scenes", "100", "--tokens", "40", "--times", "2"])
    table = capsys.readouterr().out
    for line in (
        "evaluate, 1 scenes, most MiB",
        "writing 40 tokens: cache, MiB",
        "a conversation, bytes more each time",
    ):
        assert line in table
    assert "'questions'" in tmp_path.joinpath("load").read_text()
