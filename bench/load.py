"""Does anything grow that should not? `python -m bench.load --scenes 100000` does a lot of it, and looks at the memory.

- `evaluate` over so many scenes, a tenth and a hundredth of them, each in a process of its own: the most memory held.
  The model is as small as can be and says nothing, which costs the least time and the same memory.
- Writing so many tokens with the cache: the memory before and after, and the time of a token, early and late.
- 100 conversations, loaded models, pictures, figures and short training runs, and 1,000 questions: the slope of the
  memory over the repetitions, that of Python's objects (tracemalloc) and that of the process (RSS).

Linux only: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from bench import record
from bench.timing import threads
from minigpt4v import plot
from minigpt4v.datasets.folder_stream import TextStream
from minigpt4v.datasets.phrasings import vocabulary_texts
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world, scenes_of
from minigpt4v.datasets.text import TextDataset
from minigpt4v.decoding import generate_stream
from minigpt4v.evaluation import evaluate_split
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.gpt4v import GPT4V, GPT4VConfig
from minigpt4v.objectives import NextTokenObjective
from minigpt4v.processor import PictureProcessor
from minigpt4v.tokenizer import Tokenizer
from minigpt4v.training import Trainer, TrainingSettings
from minigpt4v.vision import VisionConfig

WORLD = "core16"
WRITER = {"layers": 4, "heads": 4, "width": 128}
QUESTIONS = ("What is in the picture?", "where is the cat", "图里有什么？")
_Result = TypeVar("_Result")


# -- memory -----------------------------------------------------------------------------------------------------------


def process_memory(field: str = "VmRSS") -> int:
    """Bytes that this process holds now, or held at most ("VmHWM")."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


@contextmanager
def traced() -> Iterator[None]:
    """`python_memory` can be asked inside, for what is made inside."""
    gc.collect()
    gc.freeze()  # what is older is not gone through at every look
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()
        gc.unfreeze()


def python_memory() -> int:
    """Bytes of Python objects made since `traced` began, and of the numbers of tensors, which tracemalloc misses."""
    gc.collect()
    tensors = [thing for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)]
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage().nbytes() for tensor in tensors}
    return tracemalloc.get_traced_memory()[0] + sum(storages.values())


def slope(values: list[int], between: int) -> float:
    """Bytes a repetition: a straight line through values that were taken after every `between` repetitions."""
    return float(np.polyfit(between * np.arange(len(values)), values, deg=1)[0])


def growth(repeat: Callable[[int], object], times: int, looks: int = 10) -> dict[str, float]:
    """Slopes of the memory, bytes a repetition: "python" and "process". `repeat` gets the number of the repetition.

    As many repetitions come before and do not count: caches fill, and PyTorch keeps a few objects to use again.
    """
    between = max(1, times // looks)
    python, process = [], []
    with traced():
        for number in range(2 * times + 1):
            if number >= times and (number - times) % between == 0:
                python.append(python_memory())
                process.append(process_memory())
            if number < 2 * times:
                repeat(number)
    return {"python": slope(python, between), "process": slope(process, between)}


# -- what is done again and again -------------------------------------------------------------------------------------


def silent_model() -> GPT4V:
    """A model as small as can be, that ends every answer at once: all its tokens are equally likely."""
    tokenizer = Tokenizer.train(vocabulary_texts(load_world(WORLD).nouns), vocabulary_size=600)
    text = GPTConfig(layers=1, heads=1, width=8, vocabulary_size=tokenizer.vocabulary_size, context_length=256)
    vision = VisionConfig(width=8, image_size=64, patch_size=16, channels=(4, 4, 4))
    return GPT4V(GPT4VConfig(text, vision), tokenizer).eval()


def repetitions(folder: Path) -> dict[str, Callable[[int], object]]:
    """Name -> what is repeated, with a new picture each time. folder: for a model and picture files.

    Words come again after a while: the tokenizer keeps up to 65,536 of them, which is no leak.
    """
    model = silent_model()
    model.save_pretrained(folder / "model")
    renderer = Renderer(model_world := load_world(WORLD))

    def picture(number: int) -> torch.Tensor:
        return renderer(scenes_of(model_world, "seen", seed="load", count=1, start=number))[0]

    def converse(number: int) -> None:
        chat = model.chat(picture(number))
        for question in QUESTIONS:
            chat.looked(chat.ask(f"{question[:-1]} {number % 7}?"))

    def open_picture(number: int) -> None:
        path = folder / "picture.png"
        Image.fromarray((255 * picture(number)).byte().permute(1, 2, 0).numpy()).save(path)
        PictureProcessor(64)(path)

    def draw(number: int) -> None:
        plot.show_pictures([picture(number)] * 2, [str(number), "狗"]).canvas.draw()
        plot.training_curves([{"step": 1, "loss": 3.0 + number}, {"step": 5, "loss": 1.0}]).canvas.draw()
        plt.close("all")

    def train(number: int) -> None:
        sizes = {"vocabulary_size": 10, "context_length": 12, "layers": 1, "heads": 2, "width": 16}
        stream = TextStream(TextDataset(list(range(10)) * 4, 12), 4, seed=number)
        Trainer(NextTokenObjective(GPT(GPTConfig(**sizes))), stream, TrainingSettings(steps=2)).run()

    return {
        "a conversation": converse,
        "a loaded model": lambda _: GPT4V.from_pretrained(folder / "model"),
        "a question": lambda number: model.ask(picture(number), f"What is {number % 7}?"),
        "a picture file": open_picture,
        "two figures": draw,
        "a training run": train,
    }


# -- what is measured, each in a process of its own -------------------------------------------------------------------


def alone(work: Callable[..., _Result], *given: Any) -> _Result:
    """The result of work(*given) in a new process; said at once, since all together take a while."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(work, given)
    print(work.__name__, *given, found, flush=True)
    return found


def weigh_evaluation(scenes: int) -> dict[str, float]:
    """Most MiB held while so many scenes are evaluated, baselines left out; seconds and questions."""
    model, world = silent_model(), load_world(WORLD)
    started = time.perf_counter()
    with threads(1):
        questions = evaluate_split(model, world, "seen", scenes, "load")["questions"]
    seconds = time.perf_counter() - started
    return {"MiB": round(process_memory("VmHWM") / 2**20, 1), "seconds": round(seconds, 1), "questions": questions}


def weigh_writing(tokens: int) -> dict[str, float]:
    """A text of so many tokens: MiB of the cache and of the growth, milliseconds of a token early and late."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocabulary_size=256, context_length=tokens + 1, **WRITER)).eval()
    clocks, memory = [], []
    with threads(1):
        for number, _ in zip(count(), generate_stream(model, [1], tokens), strict=False):
            clocks.append(time.process_time())
            if number % 100 == 0:
                memory.append(process_memory())
    part = tokens // 10
    return {
        "cache, MiB": round(2 * WRITER["layers"] * WRITER["width"] * (tokens + 1) * 4 / 2**20, 1),
        "growth, MiB": round((memory[-1] - memory[0]) / 2**20, 1),
        "first tenth, milliseconds a token": round(1000 * (clocks[part] - clocks[0]) / part, 3),
        "last tenth, milliseconds a token": round(1000 * (clocks[-1] - clocks[-1 - part]) / part, 3),
    }


def weigh_repetitions(name: str, times: int) -> dict[str, float]:
    """`growth` of one of the repetitions."""
    with tempfile.TemporaryDirectory() as folder, threads(1):
        return {kind: round(bytes_) for kind, bytes_ in growth(repetitions(Path(folder))[name], times).items()}


def measure(scenes: int, tokens: int, times: int) -> dict[str, Any]:
    """Everything, one process after the other."""
    evaluation = {number: alone(weigh_evaluation, number) for number in (scenes // 100, scenes // 10, scenes)}
    writing = alone(weigh_writing, tokens)
    names = {"a conversation": 1, "a loaded model": 1, "a question": 10, "a picture file": 10, "two figures": 1}
    names["a training run"] = 1
    repeated = {name: alone(weigh_repetitions, name, each * times) for name, each in names.items()}
    return {"evaluation": evaluation, "writing": writing, "bytes a repetition": repeated}


def main(argv: list[str] | None = None) -> None:
    """Measure everything, print it, and write bench/results/load.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=10_000)
    parser.add_argument("--tokens", type=int, default=2_000)
    parser.add_argument("--times", type=int, default=100, help="conversations; of what is quick, ten times as many")
    options = parser.parse_args(argv)
    found = measure(options.scenes, options.tokens, options.times)
    rows = [(f"evaluate, {number:,} scenes, most MiB", row["MiB"]) for number, row in found["evaluation"].items()]
    rows += [(f"writing {options.tokens:,} tokens: {name}", value) for name, value in found["writing"].items()]
    for name, slopes in found["bytes a repetition"].items():
        rows += [(f"{name}, bytes more each time, {kind}", value) for kind, value in slopes.items()]
    record.print_table("load", rows)
    record.save("load", {"about": record.about(threads=1, **vars(options))} | found)


if __name__ == "__main__":
    main()
