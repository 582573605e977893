"""A training step of the text GPT beside `transformers`' GPT-2: `python -m bench.training_step`.

Same shapes, same weights, same tokens; forward, backward and AdamW. The two are first shown to compute the same loss
and the same gradients. Measured with one thread, in CPU time, which other programs hardly disturb, and with every core,
by the clock.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from bench import record
from bench.timing import in_turn, ratios, spread, threads
from minigpt4v.gpt import GPT, GPTConfig

VOCABULARY = 512
SHAPES = {"0.8 M": (4, 4, 128, 64, 12), "10 M": (6, 6, 384, 256, 64)}  # layers, heads, width, context, batch
SHORT_BATCH = 8  # of the larger one, whose whole batch takes many seconds on two cores


def main(argv: list[str] | None = None) -> None:
    """Compare every shape, print a table, and write bench/results/training_step.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="the whole batch of 64 for the larger model; more rounds")
    long = parser.parse_args(argv).long
    measure({"0.8 M": 41 if long else 21, "10 M": 5 if long else 3}, None if long else SHORT_BATCH)


def measure(rounds: dict[str, int], largest_batch: int | None) -> None:
    found = {}
    for name, (*shape, batch) in SHAPES.items():
        batch = min(batch, largest_batch or batch) if name == "10 M" else batch
        found[name] = {"batch": batch} | {
            way: compare(*shape, batch, rounds[name], number, clock)
            for way, number, clock in (
                ("one thread, CPU time", 1, time.process_time),
                ("all cores, by the clock", os.cpu_count() or 1, time.perf_counter),
            )
        }
    record.print_table(
        "a training step, times as fast as transformers",
        [
            (f"{name}, batch {ways['batch']}, {way}", compared["times as fast"])
            for name, ways in found.items()
            for way, compared in ways.items()
            if way != "batch"
        ],
    )
    shapes = {name: f"{s[0]} layers, {s[1]} heads, width {s[2]}, context {s[3]}" for name, s in SHAPES.items()}
    record.save("training_step", {"about": record.about(rounds=rounds, shapes=shapes), "sizes": found})


def compare(
    layers: int, heads: int, width: int, context: int, batch: int, rounds: int, cores: int, clock: Callable[[], float]
) -> dict[str, Any]:
    """Milliseconds of a step of each, and their time divided by ours: above 1, ours is faster."""
    torch.manual_seed(0)
    ours, theirs = twins(layers, heads, width, context)
    ids = torch.randint(VOCABULARY, (batch, context))
    losses = {
        "ours": lambda: torch.nn.functional.cross_entropy(ours(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()),
        "transformers": lambda: theirs(ids, labels=ids).loss,
    }
    with threads(cores):
        check_equal(ours, theirs, losses)
        steps = {name: stepper(model, losses[name]) for name, model in (("ours", ours), ("transformers", theirs))}
        seconds = in_turn(steps, rounds, clock)
    return {
        "times as fast": ratios(seconds["transformers"], seconds["ours"]),
        "milliseconds": {name: spread(values, 1000) for name, values in seconds.items()},
    }


def twins(layers: int, heads: int, width: int, context: int) -> tuple[GPT, GPT2LMHeadModel]:
    """Two models that compute the same function."""
    shape = {"n_layer": layers, "n_head": heads, "n_embd": width, "n_positions": context, "vocab_size": VOCABULARY}
    theirs = GPT2LMHeadModel(
        GPT2Config(**shape, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0)
    )
    ours = GPT(
        GPTConfig.gpt2(vocabulary_size=VOCABULARY, context_length=context, layers=layers, heads=heads, width=width)
    )
    ours.load_gpt2_weights(theirs.state_dict())
    return ours, theirs


def check_equal(ours: GPT, theirs: GPT2LMHeadModel, losses: dict[str, Callable[[], torch.Tensor]]) -> None:
    """Raise AssertionError unless both give the same loss and the same gradient of the embedding."""
    found = [losses["ours"](), losses["transformers"]()]
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4, msg="the two losses differ: nothing to compare")
    tables = (ours.token_embedding.weight, theirs.transformer.wte.weight)
    gradients = [torch.autograd.grad(loss, table)[0] for loss, table in zip(found, tables, strict=True)]
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4, msg="the two gradients differ: nothing to compare")


def stepper(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
    """One update of the weights."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


if __name__ == "__main__":
    main()
