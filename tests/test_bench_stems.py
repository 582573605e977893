"""The comparison of stems is fair: same shapes, votes that can be exact, pictures that depend on their names alone."""

import json

import pytest
import torch

from bench import named_start, stems
from minigpt4v.datasets.scenes import load_world


@pytest.mark.parametrize("name", stems.STEMS)
def test_every_stem_makes_a_grid_of_tokens(name):
    tokens = stems.STEMS[name][0]()(torch.rand(2, 3, 64, 64))
    assert tokens.shape == (2, round(tokens.shape[1] ** 0.5) ** 2, stems.WIDTH)


def test_votes_for_one_patch_give_its_middle_and_the_offset():
    model = stems.Sight(torch.nn.Identity(), nouns=16)
    with torch.no_grad():
        model.vote.weight.zero_()
        model.vote.weight[0, 0] = 100  # the token with a 1 in channel 0 counts, the others do not
        model.vote.bias.copy_(torch.tensor([0.0, 0.25, -0.5]))
    tokens = torch.zeros(1, 16, stems.WIDTH)
    tokens[0, 6, 0] = 1  # row 1, column 2 of 4 x 4
    torch.testing.assert_close(model.centres(tokens), torch.tensor([[40.0 + 4, 24.0 - 8]]))


def test_pictures_of_different_sources_differ_and_of_one_do_not():
    world = load_world("core16")
    first, again, other = (stems.wandering(world, source, 5, world.styles) for source in ("a", "a", "b"))
    assert first == again != other
    assert {thing.style for scene in stems.wandering(world, "a", 50, ("noto",)) for thing in scene.objects} == {"noto"}


def test_the_stored_results_are_those_of_the_programs():
    stored = json.loads(stems.RESULTS.read_text(encoding="utf-8"))["stems"]
    assert list(stored) == list(stems.STEMS)
    for name, row in stored.items():
        make, rate, steps = stems.STEMS[name]
        assert row["parameters"] == sum(parameter.numel() for parameter in make().parameters())
        assert (row["learning_rate"], row["steps"], len(row["seeds"])) == (rate, steps, len(stems.SEEDS))
    for name in stems.EQUAL_TIME:
        equal = stored[name]["equal_time"]
        assert (equal["steps"], len(equal["seeds"])) == (
            round(stems.STEPS / stored[name]["time_per_step"]),
            len(stems.SEEDS),
        )
    curves = json.loads(named_start.RESULTS.read_text(encoding="utf-8"))
    assert curves["steps"][-1] == named_start.STEPS
    assert all(len(seeds) == len(named_start.SEEDS) for seeds in curves["accuracy"].values())
