"""A GPT4V as two ONNX graphs, to be run where there is no PyTorch: in a web page, on a phone, in another language.

`see.onnx` turns a picture into tokens, once; `read.onnx` reads text behind it and scores the next token. Keys and
values of what was read come out of one call and go into the next, as in `KeyValueCache`.

    see     image    [1, 3, h, w], float32 in 0..1      ->  picture  [1, n, d]
    read    ids      [1, t]                             ->  logits   [vocabulary], after the last token
            picture  [1, n, d]                              present  [layers, 2, heads, s + t, d / heads]
            past     [layers, 2, heads, s, d / heads]       looked   [rows, columns]

The picture stands in front: the first call's ids begin with `<|image|>`, n times, and its past has s = 0. `looked` is
the attention of the last token to the parts of the picture, as `Chat.looked` defines it.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from minigpt4v.datasets.conversation import ConversationEncoder
from minigpt4v.gpt4v import GPT4V
from minigpt4v.paths import write_atomically

OPSET = 20
"""Version of the ONNX operators: of 2023, which every runtime in use knows."""


class Past:
    """Keys and values of earlier tokens as plain tensors in and out: what a graph can hold in place of a cache."""

    def __init__(self, past: Tensor) -> None:
        self._past = past  # [layers, 2, h, s, d]
        self._present: list[Tensor] = []
        self.length = past.shape[3]
        self.lengths = [self.length] * past.shape[0]

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """As `KeyValueCache.append`: all keys and values of this layer, [1, h, s + t, d] each."""
        both = torch.stack([key[0], value[0]])  # [2, h, t, d]
        present = torch.cat([self._past[layer], both], dim=2)
        self._present.append(present)
        return present[None, 0], present[None, 1]

    def present(self) -> Tensor:
        """[layers, 2, h, s + t, d]."""
        return torch.stack(self._present)


class Reader(nn.Module):
    """The text half of a GPT4V, in the form of `read.onnx`."""

    def __init__(self, model: GPT4V) -> None:
        super().__init__()
        self.gpt, self.image_id, self.tokens_per_image = model.gpt, model.image_id, model.tokens_per_image

    def forward(self, ids: Tensor, picture: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One call of `read.onnx`; this module's first lines tell the shapes."""
        cache = Past(past)
        positions = torch.arange(ids.shape[1]) + cache.length
        is_image = ids[0] == self.image_id
        vectors = self.gpt.embed(ids, positions)
        part = (is_image.cumsum(0) - 1).clamp(min=0)  # which of the picture's tokens stands here
        vectors = torch.where(is_image[:, None], picture[:, part], vectors)
        columns = torch.arange(past.shape[3] + ids.shape[1])
        mask = columns <= positions[:, None]
        mask = mask | (is_image[:, None] & (columns < self.tokens_per_image))  # one picture sees all of itself
        options: Any = {"mask": mask, "positions": positions, "cache": cache, "return_weights": True}
        hidden, weights = self.gpt.transform(vectors, **options)
        return self.gpt.head(hidden[0, -1]), cache.present(), self._looked(weights)

    def _looked(self, weights: list[Tensor]) -> Tensor:
        layers = torch.stack(weights[1:] or weights)  # [layers, 1, h, t, s]
        over_picture = layers[:, 0, :, -1, : self.tokens_per_image].mean((0, 1))
        return rearrange(over_picture, "(y x) -> y x", y=int(self.tokens_per_image**0.5))


def export(model: GPT4V, folder: str | Path) -> dict[str, int]:
    """Write see.onnx, read.onnx, tokenizer.json and reader.json (what a program must know to use them) into a folder.

    Returns the sizes of the files in bytes. Needs the packages of `minigpt4v[onnx]`.

    Raises:
        ImportError: they are missing.
        OSError: the folder cannot be written, or is a file; each file of ours is whole or absent.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    was_training, device = model.training, model.device
    model = model.cpu().eval()
    try:
        graphs = {"see.onnx": _see_graph(model), "read.onnx": _read_graph(model)}
    finally:
        model.to(device).train(was_training)
    for name, graph in graphs.items():
        write_atomically(folder / name, graph)
    model.tokenizer.save(folder / "tokenizer.json")
    write_atomically(folder / "reader.json", json.dumps(facts(model), indent=2) + "\n")
    return {name: (folder / name).stat().st_size for name in (*graphs, "tokenizer.json", "reader.json")}


def facts(model: GPT4V) -> dict[str, Any]:
    """The numbers that a program needs beside the graphs."""
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    text = model.config.text
    return {
        "image_size": model.config.vision.image_size,
        "tokens_per_image": model.tokens_per_image,
        "context_length": text.context_length,
        "past_shape": [text.layers, 2, text.heads, 0, text.head_width],
        "parameters": model.parameter_count(),
        "never_said": list(encoder.never_said),
    }


def _see_graph(model: GPT4V) -> bytes:
    size = model.config.vision.image_size
    return _graph(model.encoder, (torch.zeros(1, 3, size, size),), ["image"], ["picture"], None)


def _read_graph(model: GPT4V) -> bytes:
    question = torch.arange(3) % model.config.text.vocabulary_size
    ids = torch.cat([repeat(torch.tensor([model.image_id]), "1 -> n", n=model.tokens_per_image), question])[None]
    layers, two, heads, _, width = facts(model)["past_shape"]
    past = torch.zeros(layers, two, heads, 5, width)  # five tokens: any number that is neither 0 nor 1 will do
    picture = torch.zeros(1, model.tokens_per_image, model.config.text.width)
    shapes = {"ids": {1: torch.export.Dim.DYNAMIC}, "picture": None, "past": {3: torch.export.Dim.DYNAMIC}}
    return _graph(Reader(model).eval(), (ids, picture, past), [*shapes], ["logits", "present", "looked"], shapes)


def _graph(
    module: nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], shapes: dict | None
) -> bytes:
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module, inputs, dynamo=True, input_names=names, output_names=outputs, dynamic_shapes=shapes,
            opset_version=OPSET, verbose=False,
        )  # fmt: skip
    assert program is not None, "the exporter gave nothing"
    return program.model_proto.SerializeToString()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks about its own insides."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
