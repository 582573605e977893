"""recipe.py: settings that make sense, the schedule of the rate, and which optimiser gets which parameter."""

import dataclasses
import json
import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_models import small_gpt4v
from torch import nn

from minigpt4v.objectives import AnswerObjective
from minigpt4v.recipe import TrainingSettings, has_fast_bfloat16, make_optimizers, rate_at


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"steps": None}, "nothing says when training ends: give steps or minutes"),
        ({"steps": 0}, "steps is 0: give a whole number above 0"),
        ({"steps": 2.5}, "steps is 2.5: give a whole number above 0"),
        ({"steps": True}, "steps is True"),
        ({"minutes": 0}, "minutes is 0: give a number above 0"),
        ({"minutes": -1.0}, "minutes is -1.0"),
        ({"minutes": math.inf}, "minutes is inf"),
        ({"minutes": 10**400}, "minutes is 1000"),
        ({"minutes": math.nan}, "minutes is nan"),
        ({"enough": 0.0}, "enough is 0.0: give a share of right answers, above 0 and at most 1"),
        ({"enough": 1.5}, "enough is 1.5"),
        ({"enough": math.nan}, "enough is nan"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"warmup_steps": 0}, "warmup_steps is 0: give a whole number above 0"),
        ({"log_every": 0}, "log_every is 0"),
        ({"evaluate_every": -3}, "evaluate_every is -3"),
        ({"checkpoint_every": 1.5}, "checkpoint_every is 1.5"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: give a number above 0"),
        ({"learning_rate": -1e-3}, "learning_rate is -0.001"),
        ({"matrix_learning_rate": math.nan}, "matrix_learning_rate is nan"),
        ({"encoder_rate": -1}, "encoder_rate is -1"),
        ({"decay_share": 0}, "decay_share is 0: give a number above 0"),
        ({"decay_share": 1.5}, "decay_share is 1.5: give a share of the training, at most 1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1: give 0 or a number above it"),
        ({"clip": 0}, "clip is 0"),
        ({"precision": "fp16"}, "unknown precision 'fp16': choose 'no' or 'bf16'"),
        ({"optimizer": "sgd"}, "unknown optimizer 'sgd': choose 'muon' or 'adamw'"),
        ({"seed": -1}, "seed is -1: give a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"seed": 1.0}, "seed is 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        TrainingSettings(**({"steps": 1} | changes))


SCHEDULE = TrainingSettings(steps=100, warmup_steps=10, decay_share=0.5)


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (4, 0.5), (9, 1.0), (10, 1.0), (50, 1.0), (51, 0.98), (75, 0.5), (90, 0.2), (98, 0.04), (100, 0.02)],
)
def test_the_schedule(step, rate):
    assert rate_at(step / 100, step, SCHEDULE) == pytest.approx(rate)


@given(st.integers(1, 40), st.integers(1, 60), st.floats(0.01, 1))
def test_the_rate_rises_then_falls_and_never_ends(warmup, steps, decay):
    settings = TrainingSettings(steps=steps, warmup_steps=warmup, decay_share=decay)
    rates = [rate_at(step / steps, step, settings) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    flat = [later - earlier for earlier, later in pairwise(rates[warmup:])]
    assert all(change <= 1e-12 for change in flat)
    decay_free = [rate for step, rate in enumerate(rates) if step < min(warmup, steps * (1 - decay))]
    assert decay_free == pytest.approx([(step + 1) / warmup for step in range(len(decay_free))])


@pytest.mark.parametrize("kind", ["patch", "conv"])
def test_every_parameter_has_one_role(kind):
    """Roles by what a parameter *is* in the model, not by its name."""
    objective = AnswerObjective(small_gpt4v(kind))
    settings = TrainingSettings(steps=1, learning_rate=0.01, encoder_rate=0.25, matrix_learning_rate=0.5)
    adamw, muon = make_optimizers(objective, settings)
    assert isinstance(adamw, torch.optim.AdamW)
    assert isinstance(muon, torch.optim.Muon)

    matrices = {
        id(layer.weight)
        for block in objective.model.gpt.blocks
        for layer in block.modules()
        if isinstance(layer, nn.Linear)
    }
    encoder = {id(parameter) for parameter in objective.model.encoder.parameters()}
    found = [
        (id(parameter), type(optimizer), group["lr"], group["weight_decay"])
        for optimizer in (adamw, muon)
        for group in optimizer.param_groups
        for parameter in group["params"]
    ]
    expected = []
    for parameter in objective.parameters():
        if id(parameter) in matrices:
            expected.append((id(parameter), torch.optim.Muon, 0.5, settings.weight_decay))
        elif id(parameter) in encoder:
            expected.append((id(parameter), torch.optim.AdamW, 0.0025, 0.0))
        else:
            expected.append((id(parameter), torch.optim.AdamW, 0.01, 0.0))
    assert sorted(found, key=lambda each: each[0]) == sorted(expected, key=lambda each: each[0])
    assert len(matrices) == 2 * 6  # two layers of query, key, value, output and two of the feed-forward


def test_adamw_can_have_the_matrices_too():
    """The same roles and rates as with Muon; only what moves the matrices is another."""
    objective, settings = AnswerObjective(small_gpt4v("conv")), TrainingSettings(steps=1, optimizer="adamw")
    (alone,) = make_optimizers(objective, settings)
    adamw, muon = make_optimizers(objective, dataclasses.replace(settings, optimizer="muon"))
    assert isinstance(alone, torch.optim.AdamW)
    assert len(alone.param_groups) == 3
    for mine, theirs in zip(alone.param_groups, [*adamw.param_groups, *muon.param_groups], strict=True):
        assert [id(each) for each in mine["params"]] == [id(each) for each in theirs["params"]]
        assert (mine["lr"], mine["weight_decay"]) == (theirs["lr"], theirs["weight_decay"])


def test_the_settings_are_plain_numbers():
    assert json.loads(json.dumps(dataclasses.asdict(SCHEDULE))) == dataclasses.asdict(SCHEDULE)


@pytest.mark.parametrize(
    ("device", "able", "fast"),
    [
        ("cpu", {"avx512_bf16": True, "amx_bf16": False}, True),
        ("cpu", {"avx512_bf16": False, "amx_bf16": True}, True),
        ("cpu", {"bf16": True}, True),  # as ARM processors name it
        ("cpu", {"avx512_bf16": False, "avx512_f": True}, False),
        ("cuda", {}, True),
    ],
)
def test_bfloat16_is_fast_where_there_are_instructions_for_it(monkeypatch, device, able, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert has_fast_bfloat16(device) is fast
