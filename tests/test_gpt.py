"""gpt.py against `transformers`' GPT-2 with the same weights, and against itself read another way."""

import dataclasses
import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from minigpt4v.gpt import GPT, POSITIONS, GPTConfig
from minigpt4v.position import sinusoidal_positions

SMALL = {"vocabulary_size": 31, "context_length": 12, "layers": 2, "heads": 3, "width": 24}
KINDS = {
    "modern": GPTConfig(**SMALL),
    "learned": GPTConfig(**SMALL, position="learned", activation="swiglu"),
    "sinusoidal, post-norm": GPTConfig(**SMALL, position="sinusoidal", norm="layer", norm_place="post", bias=True),
    "no positions": GPTConfig(**SMALL, position="none", qk_norm=False),
    "gpt2": GPTConfig.gpt2(**SMALL),
}


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, rtol=0, atol=tolerance)


def random_gpt(config: GPTConfig) -> GPT:
    """A GPT in which every parameter matters: no zeros, no ones."""
    model = GPT(config).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture(params=KINDS)
def model(request) -> GPT:
    return random_gpt(KINDS[request.param])


@pytest.fixture
def ids() -> torch.Tensor:
    return torch.randint(31, (3, 10))


# -- the oracle: GPT-2 ------------------------------------------------------------------------------------------------

GPT2_SIZES = {
    "small": {},
    "one layer, one head": {"n_layer": 1, "n_head": 1},
    "many thin heads": {"n_layer": 3, "n_head": 12, "n_embd": 24},
    "relu": {"activation_function": "relu"},
    "exact gelu": {"activation_function": "gelu"},
    "narrow feed-forward": {"n_inner": 48},
    "untied": {"tie_word_embeddings": False},
}
ACTIVATION_NAMES = {"gelu_new": "gelu_tanh", "gelu": "gelu", "relu": "relu"}


def their_gpt2(**changes):
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 31, "n_positions": 12, "n_layer": 2, "n_head": 3, "n_embd": 24}
    theirs = transformers.GPT2LMHeadModel(transformers.GPT2Config(**(sizes | changes))).eval()
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    return theirs


def same_config(theirs) -> GPTConfig:
    return GPTConfig.gpt2(
        vocabulary_size=theirs.vocab_size,
        context_length=theirs.n_positions,
        layers=theirs.n_layer,
        heads=theirs.n_head,
        width=theirs.n_embd,
        hidden_multiple=(theirs.n_inner or 4 * theirs.n_embd) // theirs.n_embd,
        activation=ACTIVATION_NAMES[theirs.activation_function],
        tie_embeddings=theirs.tie_word_embeddings,
    )


@pytest.mark.parametrize("size", GPT2_SIZES)
def test_with_the_weights_of_gpt2_the_logits_are_those_of_gpt2(size, ids):
    theirs = their_gpt2(**GPT2_SIZES[size])
    ours = GPT(same_config(theirs.config)).eval()
    ours.load_gpt2_weights(theirs.state_dict())
    with torch.no_grad():
        close(ours(ids), theirs(ids).logits, 1e-4)
    assert ours.parameter_count() == theirs.num_parameters()


def test_the_attention_of_gpt2_is_the_same_too(ids):
    theirs = their_gpt2(attn_implementation="eager")
    ours = GPT(same_config(theirs.config)).eval()
    ours.load_gpt2_weights(theirs.state_dict())
    _, weights = ours(ids, return_weights=True)
    for our_layer, their_layer in zip(weights, theirs(ids, output_attentions=True).attentions, strict=True):
        close(our_layer, their_layer)


def test_the_classic_form_is_gpt2_small():
    assert GPTConfig.gpt2() == same_config(pytest.importorskip("transformers").GPT2Config())


def test_weights_that_do_not_fit_are_named():
    state = their_gpt2().state_dict()
    with pytest.raises(ValueError, match=r"head\.weight is missing"):
        GPT(GPTConfig.gpt2(**SMALL)).load_gpt2_weights({k: v for k, v in state.items() if k != "lm_head.weight"})
    with pytest.raises(ValueError, match=r"transformer\.extra\.weight is left over"):
        GPT(GPTConfig.gpt2(**SMALL)).load_gpt2_weights(state | {"transformer.extra.weight": torch.zeros(1)})
    with pytest.raises(ValueError, match=r"transformer\.h\.1\.\S+ is left over; .*; and \d+ more"):
        GPT(GPTConfig.gpt2(**(SMALL | {"layers": 1}))).load_gpt2_weights(state)
    with pytest.raises(ValueError, match=r"token_embedding\.weight is \[31, 24\] instead of \[30, 24\]"):
        GPT(GPTConfig.gpt2(**(SMALL | {"vocabulary_size": 30}))).load_gpt2_weights(state)
    with pytest.raises(ValueError, match=r"try GPTConfig\.gpt2"):
        GPT(GPTConfig(**SMALL)).load_gpt2_weights(state)


def test_weights_that_do_not_fit_change_nothing():
    ours = GPT(GPTConfig.gpt2(**SMALL))
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    with pytest.raises(ValueError, match="left over"):
        ours.load_gpt2_weights(their_gpt2().state_dict() | {"extra.weight": torch.zeros(1)})
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items())


# -- the parts --------------------------------------------------------------------------------------------------------


def test_a_gpt_is_embeddings_blocks_norm_and_head(model, ids):
    positions = torch.arange(10)
    x = F.embedding(ids, model.token_embedding.weight)
    if model.config.position == "learned":
        x = x + model.position_embedding.table.weight[:10]
    if model.config.position == "sinusoidal":
        x = x * math.sqrt(24) + sinusoidal_positions(10, 24)
    close(model.embed(ids), x)
    for block in model.blocks:
        x = block(x, positions=positions)
    x = x if model.config.norm_place == "post" else model.norm(x)
    close(model.hidden(ids), x)
    close(model.transform(model.embed(ids)), x)
    close(model(ids), x @ model.head.weight.T)


def test_weights_come_layer_by_layer_and_change_nothing(model, ids):
    logits, weights = model(ids, return_weights=True)
    close(logits, model(ids))
    assert [layer.shape for layer in weights] == [(3, 3, 10, 10)] * 2
    for layer in weights:
        close(layer.sum(-1), torch.ones(3, 3, 10))
        assert not layer.triu(1).any()
    hidden, same = model.hidden(ids, return_weights=True)
    close(model.head(hidden), logits)
    close(same, weights)


def test_no_token_sees_a_later_one(model, ids):
    with torch.no_grad():
        before = model(ids)
        for t in range(10):
            changed = ids.clone()
            changed[:, t] = (ids[:, t] + 1) % 31
            moved = (model(changed) - before).abs().amax(dim=(0, 2)) > 1e-6
            assert not moved[:t].any()
            assert moved[t]


def test_every_earlier_token_can_be_felt(model, ids):
    x = model.embed(ids).detach().requires_grad_()
    (gradient,) = torch.autograd.grad(model.transform(x)[:, 6].square().sum(), x)
    assert (gradient.abs().amax(dim=(0, 2)) > 0).tolist() == [t <= 6 for t in range(10)]


def test_a_mask_of_each_text(model, ids):
    mask = (torch.rand(3, 10, 10) < 0.6) | torch.eye(10, dtype=torch.bool)
    together = model(ids, mask=mask)
    for row in range(3):
        close(together[row], model(ids[row : row + 1], mask=mask[row])[0], 1e-4)


@pytest.mark.parametrize("position", POSITIONS)
def test_positions_given_are_the_positions_used(position, ids):
    model = random_gpt(dataclasses.replace(KINDS["modern"], position=position))
    close(model(ids, positions=torch.arange(10)), model(ids))
    close(model(ids, positions=torch.arange(10).expand(3, 10)), model(ids))
    backwards = (model(ids, positions=torch.arange(10).flip(0)) - model(ids)).abs().max()
    assert (backwards < 1e-5) if position == "none" else (backwards > 1e-2)


def test_without_positions_the_last_token_sees_a_bag_of_words():
    model, ids = random_gpt(KINDS["no positions"]), torch.randint(31, (1, 8))
    shuffled = torch.cat([ids[:, torch.randperm(7)], ids[:, 7:]], dim=1)
    # Through one block; in a second block the others have already noticed who stands before them.
    first = nn.ModuleList([model.blocks[0]])
    model.blocks = first
    close(model(ids)[:, -1], model(shuffled)[:, -1], 1e-4)


# -- the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [[1] * 10, [6, 1, 1, 1, 1], [3, 7], [10]])
def test_with_a_cache_the_logits_are_the_same(model, ids, steps):
    cache = model.new_cache(3)
    with torch.no_grad():
        logits = torch.cat([model(part, cache=cache) for part in ids.split(steps, dim=1)], dim=1)
        close(logits, model(ids), 1e-4)
    assert cache.length == 10


def test_one_beginning_many_ends(model, ids):
    """The shared beginning is read once; repeat() gives every end its own copy."""
    ends = torch.randint(31, (4, 3))
    cache = model.new_cache(1)
    with torch.no_grad():
        model(ids[:1], cache=cache)
        for copies, rows in ((cache.repeat(4), range(4)), (cache.select([0, 0]), [3, 1])):
            chosen = ends[list(rows)]
            whole = torch.cat([ids[:1].expand(len(chosen), -1), chosen], dim=1)[:, :12]
            close(model(chosen[:, :2], cache=copies), model(whole)[:, 10:], 1e-4)
    assert cache.length == 10


def test_prompts_of_different_lengths_padded_on_the_left(model):
    """What `mask` and `positions` are for: a short prompt in a batch gives what it gives alone, cached too."""
    short, long = torch.randint(31, (1, 4)), torch.randint(31, (1, 7))
    ids = torch.cat([F.pad(short, (3, 0)), long])
    real = torch.tensor([[False] * 3 + [True] * 4, [True] * 7])
    positions = (real.cumsum(1) - 1).clamp(min=0)
    mask = torch.ones(7, 7, dtype=torch.bool).tril() & real[:, None, :]
    cache = model.new_cache(2)
    with torch.no_grad():
        logits = model(ids, mask=mask, positions=positions, cache=cache)
        assert logits.isfinite().all()
        close(logits[0, 3:], model(short)[0], 1e-4)
        close(logits[1], model(long)[0], 1e-4)
        new = torch.tensor([[5], [9]])
        seen = F.pad(real, (0, 1), value=True)[:, None, :]
        step = model(new, mask=seen, positions=positions[:, -1:] + 1, cache=cache)
        close(step[0], model(torch.cat([short, new[:1]], dim=1))[0, -1:], 1e-4)
        close(step[1], model(torch.cat([long, new[1:]], dim=1))[0, -1:], 1e-4)


def test_a_full_context_is_a_clear_error(model):
    with pytest.raises(ValueError, match="context holds 12 tokens, got 13"):
        model(torch.zeros(1, 13, dtype=torch.long))
    cache = model.new_cache(1)
    with torch.no_grad():
        model(torch.zeros(1, 12, dtype=torch.long), cache=cache)
        with pytest.raises(ValueError, match="context holds 12 tokens, got 13"):
            model(torch.zeros(1, 1, dtype=torch.long), cache=cache)
        small = model.new_cache(1, length=4)
        with pytest.raises(ValueError, match="room for 4 tokens: 0 are stored, 5 more"):
            model(torch.zeros(1, 5, dtype=torch.long), cache=small)
    for length in (0, 13):
        with pytest.raises(ValueError, match=f"1 to 12 tokens .* got {length}"):
            model.new_cache(1, length=length)


# -- the start --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_start_every_token_is_about_equally_likely(kind, ids):
    model = GPT(dataclasses.replace(KINDS[kind], width=96))
    logits = model(ids)
    loss = F.cross_entropy(logits.flatten(0, 1), ids.roll(-1, dims=1).flatten())
    exact = model.config.zero_init_outputs and not model.config.tie_embeddings
    assert loss.item() == pytest.approx(math.log(31), abs=1e-6 if exact else 0.1)


def test_the_parameter_count_by_hand():
    v, n, layers, d = 31, 12, 2, 24
    block = 4 * d * d + 8 * d * d
    modern = v * d + layers * (block + 2 * d + 3) + d + d * v  # two norms and three heads' sharpness in a block
    assert GPT(KINDS["modern"]).parameter_count() == modern
    gpt2 = v * d + n * d + layers * (block + 4 * d + 5 * d + 4 * d) + 2 * d  # biases, norms of 2 d each, a tied head
    assert GPT(KINDS["gpt2"]).parameter_count() == gpt2


def test_a_tied_head_is_the_embedding():
    model = GPT(KINDS["gpt2"])
    assert model.head.weight is model.token_embedding.weight
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_gpt2_small_has_its_124_million_parameters():
    with torch.device("meta"):
        assert GPT(GPTConfig.gpt2()).parameter_count() == 124_439_808


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind, ids):
    model = random_gpt(KINDS[kind])
    model(ids).square().mean().backward()
    silent = [name for name, parameter in model.named_parameters() if not parameter.grad.any()]
    # Rows of the last positions get no gradient, but no tensor is left out as a whole. A key's bias is the exception:
    # it adds the same number to all scores of a query, and softmax does not see that.
    assert [name for name in silent if not name.endswith("key.bias")] == []


def test_a_few_steps_learn_a_text_by_heart():
    model, ids = GPT(KINDS["modern"]), torch.randint(31, (1, 12))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_dropout_works_in_training_only(ids):
    model = random_gpt(dataclasses.replace(KINDS["modern"], dropout=0.5))
    close(model(ids), model(ids), 0)
    model.train()
    assert (model.embed(ids) == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_bfloat16_is_close_and_works_with_a_cache(ids):
    model = random_gpt(KINDS["modern"])
    with torch.no_grad():
        exact = model(ids)
        with torch.autocast("cpu", torch.bfloat16):
            cache = model.new_cache(3)
            rough = torch.cat([model(part, cache=cache) for part in ids.split([6, 4], dim=1)], dim=1)
            readable, _ = model(ids, return_weights=True)
        whole = model.bfloat16()(ids)
    for logits in (rough, readable, whole):
        assert logits.dtype == torch.bfloat16
        assert F.cosine_similarity(logits.float(), exact, dim=-1).min() > 0.98


# -- shapes, configs, errors ------------------------------------------------------------------------------------------


@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 6),
    heads=st.integers(1, 3),
    layers=st.integers(1, 2),
    vocabulary_size=st.integers(1, 9),
    position=st.sampled_from(POSITIONS),
    tie=st.booleans(),
)
def test_shapes(batch, length, heads, layers, vocabulary_size, position, tie):
    config = GPTConfig(
        vocabulary_size=vocabulary_size,
        context_length=6,
        layers=layers,
        heads=heads,
        width=4 * heads,
        position=position,
        tie_embeddings=tie,
    )
    model, ids = GPT(config), torch.randint(vocabulary_size, (batch, length))
    assert model.hidden(ids).shape == (batch, length, 4 * heads)
    logits, weights = model(ids, return_weights=True)
    assert logits.shape == (batch, length, vocabulary_size)
    assert [layer.shape for layer in weights] == [(batch, heads, length, length)] * layers


def test_a_config_survives_json():
    for config in KINDS.values():
        assert GPTConfig(**json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"vocabulary_size": 0}, "vocabulary_size must be a positive whole number, got 0"),
        ({"context_length": 2.5}, r"context_length must be a positive whole number, got 2\.5"),
        ({"layers": -1}, "layers must be a positive whole number, got -1"),
        ({"heads": 5}, "width 24 cannot be split among 5 heads"),
        ({"tie_embeddings": None}, "tie_embeddings must be True or False, got None"),
        ({"position": "alibi"}, "unknown position 'alibi': choose one of rotary, learned, sinusoidal, none"),
        ({"heads": 8}, "a head of width 3 is odd"),
        ({"width": 9, "position": "sinusoidal"}, "width 9 is odd"),
    ],
)
def test_a_wrong_config_is_named(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        GPTConfig(**(SMALL | changes))


def test_wrong_inputs_are_named(model):
    with pytest.raises(ValueError, match=r"token ids must be \[b, t\], got \[5\]"):
        model(torch.zeros(5, dtype=torch.long))
    with pytest.raises(ValueError, match=r"token id 31 is outside 0\.\.30"):
        model(torch.tensor([[0, 31]]))
    with pytest.raises(TypeError, match=r"token id must be a whole number, got torch\.float32"):
        model(torch.zeros(1, 5))
    with pytest.raises(ValueError, match=r"position 12 is outside 0\.\.11"):
        model(torch.zeros(1, 1, dtype=torch.long), positions=torch.tensor([12]))
    with pytest.raises(ValueError, match="GPT was built for tokens of width 24, got width 23"):
        model.transform(torch.zeros(1, 5, 23))
    with pytest.raises(ValueError, match=r"GPT reads tokens \[b, t, 24\], got \[5, 24\]"):
        model.transform(torch.zeros(5, 24))
