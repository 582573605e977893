"""one_token.py against the full forward pass of the readable blocks: the same logits, and the same text."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from minigpt4v.decoding import generate
from minigpt4v.gpt import GPT, POSITIONS, GPTConfig
from minigpt4v.one_token import OneTokenReader, RowProduct
from tests.small_models import pictures, small_gpt4v

VOCABULARY, CONTEXT = 19, 16
CONFIGS = st.builds(
    GPTConfig,
    vocabulary_size=st.just(VOCABULARY),
    context_length=st.just(CONTEXT),
    layers=st.integers(1, 2),
    heads=st.sampled_from([1, 2, 3]),
    width=st.just(12),
    norm=st.sampled_from(["layer", "rms"]),
    norm_place=st.sampled_from(["pre", "post"]),
    activation=st.sampled_from(["relu", "gelu_tanh", "squared_relu", "swiglu"]),
    bias=st.booleans(),
    qk_norm=st.booleans(),
    position=st.sampled_from(POSITIONS),
    tie_embeddings=st.booleans(),
    dropout=st.sampled_from([0.0, 0.5]),
)


def random_gpt(config: GPTConfig) -> GPT:
    """A GPT in which every parameter matters; in double precision, so that no rounding decides between tokens."""
    model = GPT(config).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model


def greedy(model: GPT, prompt: list[int], count: int) -> list[int]:
    """Every token from the full forward pass over the whole text, without a cache."""
    text = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            text.append(int(model(torch.tensor([text]))[0, -1].argmax()))
    return text[len(prompt) :]


@settings(max_examples=60)
@given(config=CONFIGS, lengths=st.lists(st.integers(1, 6), min_size=1, max_size=3))
def test_the_text_is_the_one_of_the_full_forward_pass(config, lengths):
    model = random_gpt(config)
    prompts = [torch.randint(VOCABULARY, (length,)).tolist() for length in lengths]
    assert generate(model, prompts, 8) == [greedy(model, prompt, 8) for prompt in prompts]


@settings(max_examples=60)
@given(config=CONFIGS, batch=st.integers(1, 3), own_positions=st.booleans(), masked=st.booleans())
def test_logits_token_by_token(config, batch, own_positions, masked):
    model, ids = random_gpt(config), torch.randint(VOCABULARY, (batch, 6))
    positions = torch.randint(CONTEXT, (batch, 6)) if own_positions else torch.arange(6)
    mask = (torch.rand(batch, 6, 6) < 0.6) | torch.eye(6, dtype=torch.bool) if masked else None
    mask = None if mask is None else mask.tril()
    cache = model.new_cache(batch)
    with torch.no_grad():
        for t in range(6):
            row = None if mask is None else mask[:, t : t + 1, : t + 1]
            logits = model(ids[:, t : t + 1], mask=row, positions=positions[..., t : t + 1], cache=cache)
            expected = model(ids, mask=mask, positions=positions)[:, t : t + 1]
            torch.testing.assert_close(logits, expected, rtol=0, atol=1e-9)
    assert isinstance(cache.reader, OneTokenReader)


@pytest.mark.parametrize("kind", ["patch", "conv"])
@pytest.mark.parametrize("changes", [{}, {"position": "learned", "qk_norm": False, "activation": "swiglu"}])
def test_texts_about_pictures(kind, changes):
    model = small_gpt4v(kind, **changes).double()
    image = pictures(2).double()
    prompts = [[model.image_id] * 4 + [65, 66], [model.image_id] * 4 + [67]]
    written = generate(model, prompts, 6, images=image, forbidden_tokens=[model.image_id])
    for prompt, one, row in zip(prompts, image, written, strict=True):
        text = list(prompt)
        for token in row:
            with torch.no_grad():
                logits = model(torch.tensor([text]), one[None])[0, -1]
            logits[model.image_id] = -torch.inf
            assert token == int(logits.argmax())
            text.append(token)


def test_several_linear_layers_side_by_side():
    for bias in (True, False):
        layers = [nn.Linear(5, out, bias=bias) for out in (3, 2, 4)]
        x = torch.randn(2, 5)
        torch.testing.assert_close(RowProduct(*layers)(x), torch.cat([layer(x) for layer in layers], dim=-1))


CONFIG = GPTConfig(vocabulary_size=VOCABULARY, context_length=CONTEXT, layers=2, heads=2, width=12)


def read_two(model: GPT, **given: bool):
    """A cache into which a token was read, then another."""
    cache, ids = model.new_cache(), torch.tensor([[3, 5]])
    model(ids[:, :1], cache=cache)
    return cache, model(ids[:, 1:], cache=cache, **given)


def test_where_gradients_dropout_or_weights_are_wanted_the_readable_blocks_are_used():
    model = random_gpt(dataclasses.replace(CONFIG, dropout=0.5))
    with torch.no_grad():
        assert read_two(model)[0].reader is not None
        cache, (_, weights) = read_two(model, return_weights=True)
        assert weights[1].shape == (1, 2, 1, 2)
        assert read_two(model.train())[0].reader is None
    model.eval()
    cache = model.new_cache()
    model(torch.tensor([[3]]), cache=cache)
    assert cache.reader is None


def test_a_cache_begun_anew_uses_the_weights_of_now():
    model = random_gpt(CONFIG)
    with torch.no_grad():
        cache, before = read_two(model)
        for parameter in model.parameters():
            nn.init.normal_(parameter, std=0.4)
        cache.truncate(0)
        model(torch.tensor([[3]]), cache=cache)
        after = model(torch.tensor([[5]]), cache=cache)
        torch.testing.assert_close(after, model(torch.tensor([[3, 5]]))[:, 1:])
    assert not torch.allclose(before, after)


def test_wrong_shapes_are_named_as_by_the_blocks():
    model, ids = random_gpt(CONFIG), torch.tensor([[3], [4]])
    with torch.no_grad():
        with pytest.raises(ValueError, match=r"positions \[t\] or \[b, t\], got \[3\]"):
            model(ids, positions=torch.arange(3), cache=model.new_cache(2))
        with pytest.raises(ValueError, match=r"end in \[1, 1\] .* got \[1, 2\]"):
            model(ids, mask=torch.ones(1, 2, dtype=torch.bool), cache=model.new_cache(2))
        with pytest.raises(ValueError, match="holds 1 texts, got 2"):
            model(ids, cache=model.new_cache(1))
