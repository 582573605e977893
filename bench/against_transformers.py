"""The text GPT beside `transformers`' GPT-2 with the same shapes and weights: a training step, and greedy decoding."""

from __future__ import annotations

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from bench.timing import medians
from minigpt4v.decoding import generate
from minigpt4v.gpt import GPT, GPTConfig

_VOCABULARY = 512


def _twins(layers: int, heads: int, width: int, context: int) -> tuple[GPT, GPT2LMHeadModel]:
    shape = {"n_layer": layers, "n_head": heads, "n_embd": width, "n_positions": context, "vocab_size": _VOCABULARY}
    theirs = GPT2LMHeadModel(
        GPT2Config(**shape, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0)
    )
    ours = GPT(
        GPTConfig.gpt2(vocabulary_size=_VOCABULARY, context_length=context, layers=layers, heads=heads, width=width)
    )
    ours.load_gpt2_weights(theirs.state_dict())
    return ours, theirs


def training_step(layers: int, heads: int, width: int, context: int, batch: int) -> float:
    """Their time divided by ours for forward, backward and AdamW: above 1, ours is faster."""
    ours, theirs = _twins(layers, heads, width, context)
    ids = torch.randint(_VOCABULARY, (batch, context))
    optimizers = [torch.optim.AdamW(model.parameters(), lr=1e-4) for model in (ours, theirs)]

    def learn_ours() -> None:
        loss = torch.nn.functional.cross_entropy(ours(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())
        _update(loss, optimizers[0])

    def learn_theirs() -> None:
        _update(theirs(ids, labels=ids).loss, optimizers[1])

    seconds = medians({"ours": learn_ours, "theirs": learn_theirs})
    return round(seconds["theirs"] / seconds["ours"], 2)


def greedy_decoding(layers: int, heads: int, width: int, new_tokens: int) -> float:
    """Their time divided by ours for writing after one prompt with a cache; checks that both write the same."""
    ours, theirs = _twins(layers, heads, width, context=new_tokens + 8)
    theirs.eval()
    prompt = torch.randint(_VOCABULARY, (1, 8))
    options = {"max_new_tokens": new_tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    written = theirs.generate(prompt, attention_mask=torch.ones_like(prompt), **options)[0, 8:].tolist()
    if generate(ours, prompt[0].tolist(), new_tokens) != [written]:
        raise AssertionError("the two models write different texts, so their speeds cannot be compared")
    seconds = medians(
        {
            "ours": lambda: generate(ours, prompt[0].tolist(), new_tokens),
            "theirs": lambda: theirs.generate(prompt, attention_mask=torch.ones_like(prompt), **options),
        },
        rounds=3,
    )
    return round(seconds["theirs"] / seconds["ours"], 2)


def _update(loss: torch.Tensor, optimizer: torch.optim.Optimizer) -> None:
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
