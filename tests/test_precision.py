"""bfloat16 and float16 beside float32, on the processor: every layer, model and loss, and the shipped model.

Two ways: autocast, as training in "bf16" does it (weights stay float32), and everything in the smaller type. The
distance is that of all outputs together, as a share of their size; bfloat16 keeps 8 binary digits, float16 keeps 11.
"""

from copy import deepcopy

import pytest
import torch
from layer_cases import CASES, attention, gpt
from torch import Tensor, nn

from minigpt4v.attention import scaled_dot_product_attention, unit_scale
from minigpt4v.datasets.conversation import ConversationEncoder
from minigpt4v.datasets.questions import conversations_about
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world, scenes_of
from minigpt4v.datasets.streams import scene_batch
from minigpt4v.gpt4v import GPT4V
from minigpt4v.objectives import AnswerObjective

TOLERANCES = {torch.bfloat16: 0.02, torch.float16: 0.003}
GRADIENT_TOLERANCE = 0.05  # of bfloat16, the only one of the two that training offers


def outputs(result: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [output.float() for output in (result if isinstance(result, tuple) else (result,))]


def distance(rough: list[Tensor], exact: list[Tensor]) -> float:
    """|rough - exact| / |exact|; NaN where anything is NaN."""
    difference = torch.cat([(a - b).flatten() for a, b in zip(rough, exact, strict=True)])
    return (difference.norm() / torch.cat([b.flatten() for b in exact]).norm()).item()


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_small_types_come_close_to_float32(name, dtype):
    case = CASES[name]()
    with torch.no_grad():
        exact = outputs(case.call(case.layer, *case.inputs))
        with torch.autocast("cpu", dtype):
            mixed = outputs(case.call(case.layer, *case.inputs))
        whole = outputs(case.call(case.layer.to(dtype), *(x.to(dtype) for x in case.inputs)))
    assert distance(mixed, exact) < TOLERANCES[dtype]
    assert distance(whole, exact) < TOLERANCES[dtype]


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("loss", "gpt"))])
def test_gradients_of_mixed_precision_come_close_too(name):
    case = CASES[name]()
    parameters = list(case.layer.parameters())

    def gradients() -> list[Tensor]:
        total = sum(output.sum() for output in outputs(case.call(case.layer, *case.inputs)))
        return list(torch.autograd.grad(total, parameters, allow_unused=True, materialize_grads=True))

    exact = gradients()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = gradients()
    assert {gradient.dtype for gradient in mixed} == {torch.float32}
    assert distance(mixed, exact) < GRADIENT_TOLERANCE


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith("loss")])
def test_the_losses_are_computed_in_float32(name):
    """Where the logits are rough numbers, the sums of their logarithms must not be."""
    case = CASES[name]()
    with torch.autocast("cpu", torch.bfloat16):
        assert case.call(case.layer, *case.inputs).dtype == torch.float32
    assert case.call(case.layer.bfloat16(), *(x.bfloat16() for x in case.inputs)).dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_masks_and_zeros_fit_into_every_type(dtype):
    """Neither what may not be seen nor what has no size becomes a number that is none."""
    assert not unit_scale(torch.zeros(2, 4, dtype=dtype)).any()
    largest = torch.finfo(dtype).max
    query = torch.full((2, 4), largest**0.5 / 2, dtype=dtype)
    mask = torch.tensor([[True, False], [False, False]])
    output, _ = scaled_dot_product_attention(query, -query, torch.ones(2, 3, dtype=dtype), mask)
    assert output.tolist() == [[1] * 3, [0] * 3]
    for case in (attention(qk_norm=True), gpt()):
        layer: nn.Module = case.layer.to(dtype)
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
        assert all(
            output.isfinite().all() for output in outputs(case.call(layer, *(0 * x.to(dtype) for x in case.inputs)))
        )


@pytest.fixture(scope="module")
def answers():
    """What the shipped model is asked, and its own exact logits and loss."""
    model, world = GPT4V.from_pretrained("laptop"), load_world("core64")
    scenes = scenes_of(world, "seen", seed="precision", count=4)
    encoder = ConversationEncoder(model.tokenizer, model.tokens_per_image)
    return model, scene_batch(scenes, conversations_about(world, scenes, "precision"), encoder, Renderer(world))


@pytest.mark.parametrize("dtype", TOLERANCES, ids=str)
def test_the_shipped_model_answers_alike(answers, dtype):
    """Every answer that is right in float32 is right, and the loss as small, within 2%."""
    model, batch = answers
    objective = AnswerObjective(model)
    with torch.no_grad():
        exact, right = objective(batch)
        with torch.autocast("cpu", dtype):
            mixed, right_too = objective(batch)
        whole, right_again = AnswerObjective(deepcopy(model).to(dtype))(batch | {"images": batch["images"].to(dtype)})
    assert right > 25
    assert right_too == right_again == right
    for loss in (mixed, whole):
        assert loss.item() == pytest.approx(exact.item(), rel=0.02)
