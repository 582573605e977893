"""What in a picture does an answer rest on? Four kinds of maps, and a test of any map (chapter 13).

A map has one number for each cell of a grid laid over the picture, more where the answer is said to rest more:

    attention  where the words of the answer looked, and `rollout`, which follows it through all layers
    gradient   how fast the answer's probability changes with the pixels of a cell
    occlusion  how far the answer's probability falls when a cell is covered

Only the last one does something to the picture and looks what comes of it. `rank_agreement` says how alike two maps
are; `deletion_curve` tests a map: cover the cells in its order, and see how fast the answer goes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import rearrange, reduce, repeat
from torch import Tensor

from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.gpt4v import GPT4V

GREY = 0.5  # what cells are covered with, unless told otherwise: no ground of a scene has it


def _ids(model: GPT4V, question: str, answer: str, history: Sequence[Turn]) -> tuple[Tensor, int]:
    """The ids of a whole conversation [t], and how many at its end are the answer and its `<|end|>`."""
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    said = [*model.tokenizer.encode(answer), encoder.end]
    return torch.tensor(encoder.prompt(question, history) + said, device=model.device), len(said)


def answer_log_probability(
    model: GPT4V, images: Tensor, question: str, answer: str, history: Sequence[Turn] = ()
) -> Tensor:
    """How likely the model is to give exactly this answer about each picture: [n] logarithms, with gradients.

    images: [n, 3, h, w] in 0..1. The answer's end mark counts too.
    """
    ids, length = _ids(model, question, answer, history)
    hidden = model.hidden(repeat(ids, "t -> n t", n=len(images)), images)
    chances = model.gpt.head(hidden[:, -length - 1 : -1]).log_softmax(dim=-1)  # token t is predicted from token t-1
    return chances[:, torch.arange(length, device=ids.device), ids[-length:]].sum(dim=1)


# -- covering -------------------------------------------------------------------------------------------------------


def cover(image: Tensor, covered: Tensor, fill: float | Tensor = GREY) -> Tensor:
    """The picture once for each pattern of covered cells.

    Args:
        image: [3, h, w].
        covered: bool [n, rows, columns], True = covered.
        fill: what they are covered with: a grey in 0..1, or a colour [3].

    Returns:
        [n, 3, h, w].

    Raises:
        ValueError: the cells do not tile the picture.
    """
    (height, width), (rows, columns) = image.shape[-2:], covered.shape[-2:]
    if height % rows or width % columns:
        raise ValueError(f"{rows} x {columns} cells do not tile a picture of {height} x {width} pixels: use divisors")
    mask = repeat(covered, "n r c -> n 1 (r p) (c q)", p=height // rows, q=width // columns)
    paint = torch.as_tensor(fill, dtype=image.dtype, device=image.device)
    paint = repeat(paint, "-> c", c=3) if paint.ndim == 0 else paint
    return torch.where(mask.to(image.device), rearrange(paint, "c -> c 1 1"), image)


# -- maps -----------------------------------------------------------------------------------------------------------


@torch.no_grad()
def occlusion_map(
    model: GPT4V, image: Tensor, question: str, answer: str, *, cells: int = 4, fill: float | Tensor = GREY
) -> Tensor:
    """By how much the log-probability of the answer falls when a cell is covered: [cells, cells].

    Below zero where the answer becomes likelier. Zeiler & Fergus 2014, section 4.2. image: [3, h, w].
    """
    patterns = rearrange(torch.eye(cells**2, dtype=torch.bool), "n (r c) -> n r c", r=cells)
    pictures = torch.cat([image[None], cover(image, patterns, fill)])
    chances = answer_log_probability(model, pictures, question, answer)
    return rearrange(chances[0] - chances[1:], "(r c) -> r c", r=cells).cpu()


def gradient_map(
    model: GPT4V, image: Tensor, question: str, answer: str, *, cells: int = 4, times_input: bool = False
) -> Tensor:
    """How strongly the log-probability of the answer depends on the pixels of each cell: [cells, cells].

    The mean size of the gradient (Simonyan et al. 2014). With `times_input` its product with the pixels' difference to
    grey, summed (Shrikumar et al. 2017): were the model linear, that is how far it falls when the cell is covered with
    grey. image: [3, h, w].
    """
    pixels = image.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(answer_log_probability(model, pixels[None], question, answer).sum(), pixels)
    if times_input:
        gradient = gradient * (image - GREY)
        return reduce(gradient, "c (r p) (q s) -> r q", "sum", r=cells, q=cells).cpu()
    return reduce(gradient.abs(), "c (r p) (q s) -> r q", "mean", r=cells, q=cells).cpu()


@torch.no_grad()
def attention_map(model: GPT4V, image: Tensor, question: str, answer: str, *, rollout: bool = False) -> Tensor:
    """Where in the picture the words of the answer looked: [rows, columns] of the picture's tokens.

    The attention weights at the places that wrote the answer, averaged over these, over heads, and over the layers from
    the second on. With `rollout` the layers are multiplied instead, each mixed half and half with staying where one is
    (Abnar & Zuidema 2020): what was looked at may itself have looked elsewhere. image: [3, h, w].
    """
    ids, length = _ids(model, question, answer, ())
    _, weights = model(ids[None], image[None], return_weights=True)
    layers = [reduce(layer, "1 h t s -> t s", "mean") for layer in weights]
    mixed = torch.stack(layers[1:] or layers).mean(dim=0)
    if rollout:
        mixed = stay = torch.eye(len(ids), device=ids.device)
        for layer in layers:
            mixed = (layer + stay) / 2 @ mixed
    looked = mixed[-length - 1 : -2].mean(dim=0)[: model.tokens_per_image]  # without the end mark
    return rearrange(looked, "(r c) -> r c", r=int(model.tokens_per_image**0.5)).cpu()


# -- tests of maps --------------------------------------------------------------------------------------------------


def rank_agreement(first: Tensor, second: Tensor) -> float:
    """Whether two maps put the cells in the same order: 1 the same, 0 unrelated, -1 the reverse (Spearman 1904).

    Raises ValueError where they differ in shape, or one is the same everywhere and orders nothing.
    """
    if first.shape != second.shape:
        raise ValueError(f"maps of shapes {list(first.shape)} and {list(second.shape)}: compare like with like")
    ranks = torch.stack([_ranks(first), _ranks(second)])
    if (ranks == ranks[:, :1]).all(dim=1).any():
        raise ValueError("a map that is the same in every cell puts none before another")
    return float(torch.corrcoef(ranks)[0, 1])


def _ranks(values: Tensor) -> Tensor:
    """How many are smaller, equals counting half: float64 [n]."""
    flat = values.detach().cpu().double().reshape(-1)
    return (flat[:, None] > flat).double().sum(dim=1) + 0.5 * (flat[:, None] == flat).double().sum(dim=1)


@torch.no_grad()
def deletion_curve(
    model: GPT4V, image: Tensor, question: str, answer: str, importance: Tensor, *, fill: float | Tensor = GREY
) -> Tensor:
    """The answer's probability when 0, 1, 2, ... cells are covered, the most important first: [cells + 1].

    A map that knows what the answer rests on makes it fall fast (Petsiuk et al. 2018). importance: [rows, columns],
    whose cells tile the picture; image: [3, h, w].
    """
    rows, columns = importance.shape
    order = importance.reshape(-1).argsort(descending=True, stable=True)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))  # when each cell is covered
    covered = place[None, :] < torch.arange(len(order) + 1)[:, None]
    patterns = rearrange(covered, "n (r c) -> n r c", r=rows, c=columns)
    return answer_log_probability(model, cover(image, patterns, fill), question, answer).exp().cpu()
