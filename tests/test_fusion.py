"""fusion.py: cross-attention against PyTorch's, who sees whom in each way, and that all three can be trained alike."""

import json

import pytest
import torch
from small_models import TOKENIZER, close, pictures, small_gpt4v
from torch import nn

from bench import fusion as bench
from minigpt4v.attention import MultiHeadAttention, causal_mask
from minigpt4v.datasets.conversation import ConversationEncoder, Turn
from minigpt4v.fusion import (
    CausalGPT4V,
    CrossAttention,
    CrossGPT4V,
    FrozenStream,
    causal_segments_mask,
    see,
    three_ways,
)
from minigpt4v.gpt4v import prefix_mask
from minigpt4v.objectives import AnswerObjective
from minigpt4v.training import Trainer, TrainingSettings

ENCODER = ConversationEncoder(TOKENIZER, 4)
TURNS = [[Turn("What is the cat?", " cat")], [Turn("What?", " dog")]]


def conversation(rows: int = 2, images: int = 1) -> dict:
    batch = ENCODER.batch([ENCODER.pack(TURNS, images=images) for _ in range(rows)])
    return batch | {"images": pictures(rows * images), "count": 2 * rows}


def noisy(model: nn.Module) -> nn.Module:
    """Every parameter matters: no zeros, no ones."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.eval()


@pytest.fixture
def named():
    return small_gpt4v()


@pytest.fixture
def cross(named):
    return noisy(CrossGPT4V(named.config, named.tokenizer))


# -- cross-attention --------------------------------------------------------------------------------------------------


def test_cross_attention_is_pytorchs():
    ours = noisy(CrossAttention(16, heads=4))
    theirs = nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.in_proj_weight.data = torch.cat([ours.query.weight, ours.key.weight, ours.value.weight])
    theirs.in_proj_bias.data = torch.cat([ours.query.bias, ours.key.bias, ours.value.bias])
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    text, picture = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    expected, weights = theirs(text, picture, picture, average_attn_weights=False)
    output, own_weights = ours(text, picture, return_weights=True)
    close(output, expected)
    close(own_weights, weights)
    close(ours(text, picture), expected)


@pytest.mark.parametrize("qk_norm", [False, True])
def test_cross_attention_is_the_words_rows_of_self_attention(qk_norm):
    cross = noisy(CrossAttention(16, heads=2, qk_norm=qk_norm))
    whole = MultiHeadAttention(16, heads=2, qk_norm=qk_norm)
    whole.load_state_dict(cross.state_dict())
    text, picture = torch.randn(2, 5, 16), torch.randn(2, 3, 16)
    only_the_picture = (torch.arange(8) < 3).expand(8, 8)
    close(cross(text, picture), whole(torch.cat([picture, text], dim=1), only_the_picture)[:, 3:])


def test_tokens_of_another_width_are_refused():
    layer = CrossAttention(16, heads=2)
    with pytest.raises(ValueError, match="width 16, got width 8"):
        layer(torch.randn(1, 2, 16), torch.randn(1, 2, 8))
    with pytest.raises(ValueError, match=r"\[b, t, 16\], got \[2, 16\]"):
        layer(torch.randn(2, 16), torch.randn(1, 2, 16))


# -- who sees whom ----------------------------------------------------------------------------------------------------


def test_a_causal_mask_with_segments():
    ids, segments = torch.tensor([[7, 7, 7, 7]]), torch.tensor([[0, 1, 1, 2]])
    assert torch.equal(causal_segments_mask(ids)[0], causal_mask(4))
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 0, 0, 1]]
    assert causal_segments_mask(ids, segments)[0].int().tolist() == expected


def test_pictures_are_read_like_words_in_the_causal_way(named):
    model = CausalGPT4V(named.config, named.tokenizer).eval()
    model.load_state_dict(named.state_dict())
    batch = conversation(rows=1)
    hidden, weights = model.hidden(batch["ids"], batch["images"], return_weights=True)
    for layer in weights:
        assert torch.equal(layer[0] > 0, causal_mask(batch["ids"].shape[1]).expand_as(layer[0]))
    close(hidden, model.hidden(batch["ids"], batch["images"]))
    assert not torch.allclose(hidden, named.hidden(batch["ids"], batch["images"]), atol=1e-2)


def test_without_pictures_the_causal_way_is_the_gpt(named):
    model = CausalGPT4V(named.config, named.tokenizer).eval()
    model.load_state_dict(named.state_dict())
    ids = torch.randint(5, 280, (2, 7))
    close(model(ids), named.gpt(ids))


def test_words_hear_their_own_pictures_and_earlier_words_of_their_segment(cross):
    batch = conversation(rows=2, images=2)
    keys = ("segments", "positions")

    def read(images, ids=batch["ids"]):
        return cross.hidden(ids, images, **{key: batch[key] for key in keys})

    before = read(batch["images"])
    assert before.shape == (*batch["ids"].shape, 16)
    assert not before[:, :8].any(), "there is nothing at the places of the pictures"
    for number in range(4):
        images = batch["images"].clone()
        images[number] = 1 - images[number]
        moved = (read(images) - before).abs().amax(-1) > 1e-5
        assert torch.equal(moved[:, 8:], (torch.arange(2) == number // 2)[:, None].expand(2, moved.shape[1] - 8))
    ids = batch["ids"].clone()
    ids[:, 9] -= 1
    moved = ((read(batch["images"], ids) - before).abs().amax(-1) > 1e-5)[0]
    same_segment = batch["segments"][0] == 1
    assert torch.equal(moved, same_segment & (torch.arange(len(moved)) >= 9))


def test_positions_go_on_behind_the_pictures(cross):
    batch = conversation()
    ids = batch["ids"]
    positions = torch.arange(ids.shape[1])
    close(cross.hidden(ids, batch["images"]), cross.hidden(ids, batch["images"], positions=positions))


def test_a_new_looking_layer_changes_nothing(named):
    model = CrossGPT4V(named.config, named.tokenizer).eval()
    batch = conversation()
    hidden = model.hidden(batch["ids"], batch["images"])
    positions = torch.arange(4, batch["ids"].shape[1])
    close(hidden[:, 4:], model.gpt.hidden(batch["ids"][:, 4:], positions=positions))


@pytest.mark.parametrize("ids", [[[7, 3, 3, 3, 3]], [[3, 3, 3, 3, 7, 3]], [[3, 3, 3, 7, 7]]])
def test_pictures_that_are_not_in_front_are_refused(cross, ids):
    with pytest.raises(ValueError, match="1 pictures for 1 rows"):
        cross.hidden(torch.tensor(ids), pictures(1))


def test_rows_with_different_numbers_of_pictures_are_refused(cross):
    with pytest.raises(ValueError, match="3 pictures for 2 rows"):
        cross.hidden(conversation()["ids"], pictures(3))


# -- training all three -----------------------------------------------------------------------------------------------


def test_the_three_ways_start_from_one_set_of_weights(named):
    ways = three_ways(named)
    assert list(ways) == ["prefix", "causal", "cross-attention"]
    batch = conversation()
    tokens = named.encoder(batch["images"])
    for way in ways.values():
        close(way.gpt.head.weight, named.gpt.head.weight, 0)
        assert way.gpt.head.weight is not named.gpt.head.weight
    close(ways["prefix"](batch["ids"], tokens), named(batch["ids"], batch["images"]))
    assert isinstance(named.encoder, nn.Module)
    assert not isinstance(named.encoder, nn.Identity)


def test_one_trainer_trains_all_three(named):
    class Same:
        def batch(self, step, part=0, parts=1):
            return conversation()

    stream = FrozenStream(Same(), named.encoder, 2)
    assert stream.batch(0)["images"].shape == (2, 4, 16)
    for way in three_ways(named).values():
        objective = AnswerObjective(way)
        before = {name: parameter.clone() for name, parameter in objective.named_parameters()}
        Trainer(objective, stream, TrainingSettings(steps=2, log_every=1)).run()
        still = [name for name, parameter in objective.named_parameters() if torch.equal(parameter, before[name])]
        assert [name for name in still if "token_embedding" not in name and "looking" not in name] == []
        assert len(still) < 8


def test_batches_come_round(named):
    class Counting:
        def batch(self, step, part=0, parts=1):
            return {"images": pictures(1), "step": step}

    stream = FrozenStream(Counting(), named.encoder, 3)
    assert [stream.batch(step)["step"] for step in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    with pytest.raises(ValueError, match="part 1 of 2"):
        stream.batch(0, 1, 2)


def test_seeing_replaces_pictures_by_tokens(named):
    batch = conversation()
    seen = see(named.encoder, batch)
    close(seen["images"], named.encoder(batch["images"]))
    assert not seen["images"].requires_grad
    assert seen["ids"] is batch["ids"]
    assert torch.equal(prefix_mask(batch["ids"], 3, 4), prefix_mask(seen["ids"], 3, 4))


# -- the recorded comparison ------------------------------------------------------------------------------------------


def test_the_comparison_runs(monkeypatch):
    monkeypatch.setattr(bench, "SCENES", 4)
    measured = bench.measure(0, bench.RECIPE | {"naming_steps": 1, "batches": 1, "pictures": 2, "steps": 1})
    assert list(measured["ways"]) == ["prefix", "causal", "cross-attention"]
    assert measured["ways"]["prefix"]["time"] == 1
    for way in measured["ways"].values():
        assert set(way["families"]) == set(bench.FAMILIES)
        assert all(0 <= way[what] <= 1 for what in ("seen", "style", "blind", "shuffled"))


def test_what_is_recorded_is_of_this_recipe():
    recorded = json.loads(bench.RESULTS.read_text())
    assert list(recorded["seeds"]) == ["0", "1", "2"]
    assert bench.RECIPE.items() <= recorded["recipe"].items()
    assert bench.RATES.items() <= recorded["recipe"].items()
    for seed in recorded["seeds"].values():
        for way in seed["ways"].values():
            assert way["curve"][-1][0] == bench.RECIPE["steps"]
            assert way["blind"] < seed["guess"]["seen"] + 0.03 < way["seen"]
