"""At the edges: tokens that may look nowhere, texts of no token and of as many as fit, batches of none and of one."""

import pytest
import torch
from small_models import close, pictures, small_gpt4v
from torch import Tensor

from minigpt4v.attention import MultiHeadAttention, scaled_dot_product_attention
from minigpt4v.fusion import CrossAttention
from minigpt4v.gpt import GPT, GPTConfig
from minigpt4v.objectives import NextTokenObjective
from minigpt4v.position import RotaryEmbedding

CONTEXT = 8


def small_gpt(**changes) -> GPT:
    """Every parameter matters."""
    sizes = {"vocabulary_size": 11, "context_length": CONTEXT, "layers": 2, "heads": 2, "width": 8}
    model = GPT(GPTConfig(**(sizes | changes))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model


def ids_of(batch: int, length: int) -> Tensor:
    return torch.arange(batch * length).view(batch, length) % 11


# -- tokens that may look nowhere -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("new", [1, 2])
def test_blind_tokens_behind_a_cache(new, dtype):
    """A token alone is read by `OneTokenReader`, two by the blocks; both look at nothing, and give the same."""
    model = small_gpt().to(dtype)
    mask = torch.ones(2, new, 3 + new, dtype=torch.bool)
    mask[0] = False
    with torch.no_grad():
        cache = model.new_cache(2)
        model(ids_of(2, 3), cache=cache)
        logits = model(ids_of(2, new), mask=mask, cache=cache)
        alone = model(ids_of(2, new), mask=torch.zeros(new, new, dtype=torch.bool), positions=torch.arange(3, 3 + new))
    assert logits.isfinite().all()
    close(logits[0].float(), alone[0].float(), 1e-4 if dtype == torch.float32 else 0.2)


@pytest.mark.parametrize("return_weights", [False, True])
@pytest.mark.parametrize("position", ["rotary", "learned"])
def test_a_text_in_which_nobody_sees_anything_has_finite_logits_and_gradients(position, return_weights):
    model = small_gpt(position=position)
    mask = torch.zeros(2, 5, 5, dtype=torch.bool)
    result = model(ids_of(2, 5), mask=mask, return_weights=return_weights)
    logits = result[0] if return_weights else result
    if return_weights:
        assert not any(weights.any() for weights in result[1])
    gradients = torch.autograd.grad(
        logits.square().sum(), list(model.parameters()), materialize_grads=True, allow_unused=True
    )
    assert logits.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_attention_to_no_keys_is_zero():
    query, nothing = torch.randn(2, 3, 4, requires_grad=True), torch.zeros(2, 0, 4)
    for mask in (None, torch.ones(3, 0, dtype=torch.bool)):
        output, weights = scaled_dot_product_attention(query, nothing, nothing, mask)
        assert weights.shape == (2, 3, 0)
        assert torch.equal(output, torch.zeros(2, 3, 4))
        output.sum().backward()
    assert not query.grad.any()
    layer = CrossAttention(4, 2)
    close(layer(torch.randn(2, 3, 4), nothing), layer.output.bias.expand(2, 3, 4))


# -- lengths ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("position", ["rotary", "learned", "sinusoidal", "none"])
def test_texts_of_one_token_and_of_a_whole_context(position):
    model = small_gpt(position=position)
    whole = model(ids_of(2, CONTEXT))
    assert whole.isfinite().all()
    close(model(ids_of(2, CONTEXT)[:, :1]), whole[:, :1])


@pytest.mark.parametrize(("batch", "length"), [(0, 3), (2, 0), (0, 0)])
def test_nothing_in_nothing_out(batch, length):
    """Layers and models pass an empty batch or text through; whoever learns or writes refuses it."""
    model = small_gpt()
    for return_weights in (False, True):
        result = model(ids_of(batch, length), return_weights=return_weights)
        assert (result[0] if return_weights else result).shape == (batch, length, 11)
    ids = ids_of(batch, length)
    with pytest.raises(ValueError, match="no label of this batch counts"):
        NextTokenObjective(model)({"inputs": ids, "targets": ids})


def test_a_batch_of_one_and_of_no_picture():
    model = small_gpt4v("conv")
    ids = torch.tensor([[model.image_id] * 4 + [7, 8]])
    one, two = pictures(1), pictures(2)
    close(model(ids, one), model(ids.expand(2, -1), torch.cat([one, two[:1]]))[:1], 1e-4)
    assert model(ids[:0], one[:0]).shape == (0, 6, model.config.text.vocabulary_size)
    with pytest.raises(ValueError, match="0 pictures make 0 tokens but the text has room for 4"):
        model(ids, one[:0])


# -- odd sizes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 3, 7])
@pytest.mark.parametrize(("width", "heads"), [(1, 1), (3, 1), (3, 3), (9, 3), (10, 5), (10, 1)])
def test_odd_lengths_widths_and_heads(width, heads, length):
    """With rotary positions wherever a head has pairs of channels."""
    head_width = width // heads
    rotary = RotaryEmbedding(head_width) if head_width % 2 == 0 else None
    layer, x = MultiHeadAttention(width, heads, qk_norm=True, rotary=rotary), torch.randn(2, length, width)
    output, weights = layer(x, return_weights=True)
    close(layer(x), output, 1e-5)
    close(weights.sum(-1), torch.ones(2, heads, length), 1e-5)


def test_sizes_that_do_not_fit_are_refused():
    for width in (0, -4):
        with pytest.raises(ValueError, match=f"width {width} cannot be split among 2 heads"):
            MultiHeadAttention(width, 2)
    with pytest.raises(ValueError, match="every text needs a picture of its own, got 2 texts and 1 pictures"):
        CrossAttention(4, 2)(torch.zeros(2, 3, 4), torch.zeros(1, 3, 4))
