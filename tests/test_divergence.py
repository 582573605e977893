"""divergence.py: what is said about the first number that is not finite, by what made it so."""

import math
import re

import pytest
import torch
from small_models import pictures, small_gpt4v
from torch import nn
from two_processes import text_stream, text_trainer

from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.datasets.streams import pack_batch, share
from minigpt4v.objectives import AnswerObjective
from minigpt4v.training import Trainer, TrainingSettings

RATES = "the learning rates (0.003, 0.02) are probably too high"
UNTOUCHED = "and the last checkpoint is untouched"


class Steep(torch.autograd.Function):
    """The same number, with a gradient that is none."""

    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * math.nan


def fault_of(trainer: Trainer) -> str:
    """What is said when the run stops in its next step; nothing is left of that step."""
    steps = trainer.step
    before = {name: weight.clone() for name, weight in trainer.objective.state_dict().items()}
    with pytest.raises(FloatingPointError) as caught:
        trainer.train_step()
    assert trainer.step == steps
    after = trainer.objective.state_dict()
    assert all(torch.equal(before[name].nan_to_num(7), after[name].nan_to_num(7)) for name in before)
    assert all(parameter.grad is None for parameter in trainer.objective.parameters())
    return str(caught.value)


def break_layer(trainer: Trainer, path: str, change) -> None:
    """Put `change` behind the outputs of a layer."""
    trainer.objective.get_submodule(path).register_forward_hook(lambda *call: change(call[-1]))


def test_a_broken_output_is_that_of_the_first_layer():
    trainer = text_trainer()
    break_layer(trainer, "model.blocks.0.feed_forward.hidden", lambda output: output * math.inf)
    assert fault_of(trainer) == (
        "the loss of step 1 is not a finite number: the first came out of the layer model.blocks.0.feed_forward.hidden;"
        f" {RATES}; its batch is stream.batch(0, 0, 1) of seed 0, {UNTOUCHED}"
    )


def test_a_broken_gradient_is_the_first_on_the_way_back():
    trainer = text_trainer(seed=5)
    trainer.train_step()  # the second matrix starts at zero, and lets nothing through
    break_layer(trainer, "model.blocks.0.feed_forward", Steep.apply)
    assert fault_of(trainer) == (
        "a gradient of step 2 is not a finite number: on the way back the first was in the gradient of"
        f" model.blocks.0.feed_forward.output.weight; {RATES}; its batch is stream.batch(1, 0, 1) of seed 5,"
        f" {UNTOUCHED}"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_broken_weight_is_named(value):
    trainer = text_trainer()
    with torch.no_grad():
        trainer.objective.get_parameter("model.blocks.0.attention.key.weight")[2, 3] = value
    assert (
        "the weight model.blocks.0.attention.key.weight was broken before, from the start or by an update; " + RATES
    ) in fault_of(trainer)


def test_rates_that_are_too_high_are_blamed():
    trainer = text_trainer(learning_rate=1e25, matrix_learning_rate=1e25, optimizer="adamw", warmup_steps=1)
    trainer.train_step()
    fault = fault_of(trainer)
    assert "of step 2 is not a finite number: the first came out of the layer model." in fault
    assert "the learning rates (1e+25, 1e+25) are probably too high" in fault


class Pictures:
    """Conversations about noise; the picture of one batch holds a number that is none."""

    def __init__(self, encoder: ConversationEncoder, broken: int):
        self.encoder, self.broken = encoder, broken

    def batch(self, step: int, part: int = 0, parts: int = 1) -> dict:
        mine = share(4, part, parts)
        images = pictures(4)
        if step == self.broken:
            images[2, 1, 5, 6] = math.nan
        about = [[(Turn("What?", "A cat."),)]] * len(mine)
        return pack_batch(about, self.encoder, torch.device("cpu")) | {"images": images[mine.start : mine.stop]}


def test_a_broken_picture_is_found_in_its_part_of_the_batch():
    """The third of four pictures is the first of the second part."""
    model = small_gpt4v("conv")
    stream = Pictures(ConversationEncoder(model.tokenizer, model.tokens_per_image), 1)
    trainer = Trainer(AnswerObjective(model), stream, TrainingSettings(steps=5, accumulate=2))
    trainer.train_step()
    assert fault_of(trainer) == (
        "the loss of step 2 is not a finite number: such a number stands in the batch's images[0, 1, 5, 6]; mend the"
        f" data; its batch is stream.batch(1, 1, 2) of seed 0, {UNTOUCHED}"
    )


def test_dropout_is_that_of_the_step_when_it_is_looked_at_again():
    """The layer breaks only where a certain token was dropped."""
    trainer = text_trainer(seed=1)
    dropout = trainer.objective.model.dropout
    dropout.p = 0.5
    masks = []

    def change(output: torch.Tensor) -> torch.Tensor:
        masks.append(output == 0)
        return output * math.inf

    break_layer(trainer, "model.dropout", change)
    assert "came out of the layer model.dropout" in fault_of(trainer)
    assert len(masks) == 2
    assert torch.equal(*masks)
    assert masks[0].any()


def test_finite_gradients_whose_size_is_none_are_blamed_on_the_rates():
    trainer = text_trainer()
    break_layer(trainer, "model.head", lambda logits: logits * 1e30)
    with torch.no_grad():
        trainer.objective.model.head.weight[0, 0] = 1e-30
    assert re.match(
        r"a gradient of step 1 is not a finite number: " + re.escape(RATES) + r"; its batch is stream.batch\(0, 0, 1\)",
        fault_of(trainer),
    )


def test_hooks_are_gone_and_the_run_can_go_on():
    trainer = text_trainer(stream=text_stream())
    hook = trainer.objective.model.head.register_forward_hook(lambda *call: call[-1] * math.nan)
    fault_of(trainer)
    hook.remove()
    assert not any(layer._forward_hooks for layer in trainer.objective.modules())
    assert not any(parameter._post_accumulate_grad_hooks for parameter in trainer.objective.parameters())
    healthy = text_trainer()
    for _ in range(2):
        assert torch.equal(trainer.train_step(), healthy.train_step())
    assert isinstance(trainer.objective, nn.Module)
