"""One example, or several, of every layer and model of the library: a module, what it is given, and how it is called.

`test_gradients.py` and `test_precision.py` go through them. Every parameter matters: no zeros, no ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from small_models import TOKENIZER, VISIONS, small_gpt4v
from torch import Tensor, nn

from minigpt4v.adversarial import AdversarialObjective
from minigpt4v.attention import MultiHeadAttention
from minigpt4v.block import BlockConfig, TransformerBlock, make_norm
from minigpt4v.classification import ClassificationObjective
from minigpt4v.datasets.conversation import IGNORED, ConversationEncoder, Turn
from minigpt4v.datasets.streams import pack_batch
from minigpt4v.export import Reader
from minigpt4v.feedforward import ACTIVATIONS, FeedForward, SwiGLU
from minigpt4v.fusion import CausalGPT4V, CrossAttention, CrossGPT4V, LookingLayer
from minigpt4v.gpt import GPT, POSITIONS, GPTConfig
from minigpt4v.gpt4v import GPT4V
from minigpt4v.naming import NamingObjective
from minigpt4v.ngram import NeuralNGram
from minigpt4v.objectives import AnswerObjective, NextTokenObjective
from minigpt4v.position import LearnedPositions, LearnedPositions2d, RotaryEmbedding, SinusoidalPositions
from minigpt4v.sort_of_clevr import PooledAnswers
from minigpt4v.vision import VisionConfig, make_encoder

SOME_BLIND = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
"""Who may look at whom: the second of three tokens looks nowhere."""
IDS = torch.tensor([[1, 3, 0, 2], [4, 4, 1, 0]])


@dataclass(frozen=True)
class Case:
    """call(layer, *inputs): a tensor, or several."""

    layer: nn.Module
    inputs: tuple[Tensor, ...] = ()
    call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)


def randomise(layer: nn.Module) -> nn.Module:
    """Normal weights, spread enough that all of them are felt."""
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.4)
    return layer.eval()


def attention(*, heads: int = 2, masked: bool = True, weights: bool = False, **options: Any) -> Case:
    layer = randomise(MultiHeadAttention(4, heads, **options))
    mask = SOME_BLIND if masked else None
    return Case(layer, (torch.randn(2, 3, 4),), lambda layer, x: layer(x, mask, return_weights=weights))


def block(**options: Any) -> Case:
    config = BlockConfig(**({"width": 4, "heads": 2, "hidden_multiple": 1} | options))
    return Case(randomise(TransformerBlock(config, RotaryEmbedding(2))), (torch.randn(1, 3, 4),))


def gpt(**options: Any) -> Case:
    sizes = {"vocabulary_size": 5, "context_length": 4, "layers": 2, "heads": 1, "width": 4, "hidden_multiple": 1}
    return Case(randomise(GPT(GPTConfig(**(sizes | options)))), (), lambda model: model(IDS))


def encoder(kind: str, *, training: bool = False, size: int = 8, width: int = 6) -> Case:
    config = VisionConfig(width=width, image_size=size, patch_size=8, **VISIONS[kind])
    return Case(randomise(make_encoder(config)).train(training), (torch.rand(2, 3, size, size),))


def conversations(row_length: int | None = None) -> dict[str, Any]:
    """Two pictures of four tokens, two conversations about each."""
    about = [(Turn("What?", " cat"),), (Turn("What is the cat?", " dog"), Turn("What?", " cat"))]
    return pack_batch([about, about[::-1]], ConversationEncoder(TOKENIZER, 4), torch.device("cpu"), row_length)


def seeing(kind: type[GPT4V] = GPT4V) -> Case:
    model = small_gpt4v(width=8, layers=1)
    if kind is not GPT4V:
        model = randomise(kind(model.config, model.tokenizer))
    batch = conversations()

    def call(model: GPT4V, images: Tensor) -> Tensor:
        hidden = model.hidden(batch["ids"], images, segments=batch["segments"], positions=batch["positions"])
        return model.gpt.head(hidden[:, 4:])  # behind the pictures, which `CrossGPT4V` leaves out

    return Case(model, (torch.rand(2, 3, 16, 16),), call)


def reader() -> Case:
    """The text half, with one token behind a picture of four and two tokens read before."""
    model = small_gpt4v(width=8)
    ids = torch.tensor([[model.image_id] * 4 + [7]])
    return Case(Reader(model), (torch.randn(1, 4, 8), torch.randn(2, 2, 2, 2, 4)), lambda layer, *x: layer(ids, *x))


def objective(layer: nn.Module, batch: dict[str, Any], images: tuple[int, ...] | None = None) -> Case:
    """The summed loss alone; images: the shape of the pictures that the batch is given."""
    if images is None:
        return Case(layer, (), lambda layer: layer(batch)[0])
    return Case(layer, (torch.rand(images),), lambda layer, images: layer(batch | {"images": images})[0])


def naming(**options: Any) -> Case:
    labels = torch.full((2, 5), IGNORED)
    labels[0, 4], labels[1, 0], labels[1, 3] = 2, 1, 0
    layer = NamingObjective(encoder("conv", size=32).layer, 3, 6, **options)
    return objective(randomise(layer), {"labels": labels, "count": 3}, (2, 3, 32, 32))


def pooled_answers() -> Case:
    layer = randomise(PooledAnswers(encoder("patch").layer, 6))
    labels = torch.full((2, layer.answers.out_features // 10), IGNORED).unflatten(1, (6, 3))
    labels[:, 1:4, 0] = 1
    return objective(layer, {"labels": labels}, (2, 3, 8, 8))


def classifier() -> nn.Module:
    return randomise(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))


CLASSES = {"labels": torch.tensor([0, 2])}

CASES: dict[str, Callable[[], Case]] = {
    "norm, layer": lambda: Case(randomise(make_norm("layer", 4, bias=True)), (torch.randn(2, 4),)),
    "norm, rms": lambda: Case(randomise(make_norm("rms", 4)), (torch.randn(2, 4),)),
    "attention, causal": lambda: attention(masked=False),
    "attention, causal, readable": lambda: attention(masked=False, weights=True),
    "attention, one head": lambda: attention(heads=1),
    "attention, all variants": lambda: attention(qk_norm=True, rotary=RotaryEmbedding(2)),
    "attention, all variants, readable": lambda: attention(qk_norm=True, rotary=RotaryEmbedding(2), weights=True),
    "attention, as many heads as channels": lambda: attention(heads=4, bias=False),
    **{f"feed forward, {name}": lambda name=name: feed_forward(FeedForward(3, 4, name)) for name in ACTIVATIONS},
    "feed forward, swiglu": lambda: feed_forward(SwiGLU(3, 4, bias=True)),
    **{
        f"block, {place}, {norm}": lambda place=place, norm=norm: block(
            norm_place=place, norm=norm, activation="swiglu", bias=norm == "layer"
        )
        for place in ("pre", "post")
        for norm in ("layer", "rms")
    },
    "positions, rotary": lambda: Case(
        RotaryEmbedding(4), (torch.randn(1, 2, 3, 4),), lambda layer, x: layer(x, torch.tensor([0, 2, 5]))
    ),
    "positions, learned": lambda: Case(randomise(LearnedPositions(5, 3)), (), lambda layer: layer(IDS)),
    "positions, on a grid": lambda: Case(randomise(LearnedPositions2d(1, 2, 3)), (torch.randn(2, 2, 3),)),
    **{f"gpt, {position}": lambda position=position: gpt(position=position, width=4) for position in POSITIONS},
    "gpt, classic": lambda: gpt(
        position="learned", norm="layer", activation="gelu", bias=True, qk_norm=False, tie_embeddings=True
    ),
    "n-gram": lambda: Case(randomise(NeuralNGram(5, 2, 2, 4)), (), lambda layer: layer(IDS[:, :2])),
    "encoder, conv": lambda: encoder("conv"),
    "encoder, conv, in training": lambda: encoder("conv", training=True, size=16),
    "encoder, patch": lambda: encoder("patch", size=16),
    "cross-attention": lambda: Case(randomise(CrossAttention(4, 2)), (torch.randn(1, 3, 4), torch.randn(1, 2, 4))),
    "cross-attention, readable": lambda: Case(
        randomise(CrossAttention(4, 2, qk_norm=True)),
        (torch.randn(1, 3, 4), torch.randn(1, 2, 4)),
        lambda layer, x, seen: layer(x, seen, return_weights=True),
    ),
    "looking layer": lambda: Case(
        randomise(LookingLayer(BlockConfig(width=4, heads=2))), (torch.randn(1, 3, 4), torch.randn(1, 2, 4))
    ),
    "gpt4v": seeing,
    "gpt4v, causal": lambda: seeing(CausalGPT4V),
    "gpt4v, cross-attention": lambda: seeing(CrossGPT4V),
    "reader of the export": reader,
    "loss, answers": lambda: objective(
        AnswerObjective(small_gpt4v(width=8, layers=1)), conversations(), (2, 3, 16, 16)
    ),
    "loss, answers in short rows": lambda: objective(
        AnswerObjective(small_gpt4v(width=8, layers=1)), conversations(row_length=20), (2, 3, 16, 16)
    ),
    "loss, next token": lambda: objective(
        NextTokenObjective(gpt().layer), {"inputs": IDS, "targets": IDS.roll(-1, dims=1)}
    ),
    "loss, names": naming,
    "loss, names by every token": lambda: naming(every_token=True),
    "loss, pooled answers": pooled_answers,
    "loss, classes": lambda: objective(ClassificationObjective(classifier()), CLASSES, (2, 3, 2, 2)),
    "loss, attacked pictures": lambda: objective(
        AdversarialObjective(ClassificationObjective(classifier()), 0.1).eval(), CLASSES, (2, 3, 2, 2)
    ),
}
"""Name -> a new example, from the random numbers as they are."""


def feed_forward(layer: nn.Module) -> Case:
    return Case(randomise(layer), (torch.randn(2, 3),))


EXCEPTIONS = {
    "LookingLayers": "a list of LookingLayer without a forward of its own; CrossGPT4V goes through it",
    SinusoidalPositions.__name__: "a table of constants: it gets whole numbers and has nothing to learn",
}
"""Modules without a gradient of their own, and why."""
