"""What writing costs: `python -m bench.generation`.

Greedy, one text, one CPU thread: our `generate` beside `transformers`' GPT-2 with the same weights; the same through
the blocks that training uses; the matrix products of a token alone; and adding up all weights, which tells how fast
memory hands them over. Then a token's cost at several lengths, and an answer about a picture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from einops import rearrange
from torch import nn
from transformers import GPT2LMHeadModel

from bench import record
from bench.timing import Spread, in_turn, ratios, spread, threads
from bench.training_step import twins
from minigpt4v.datasets.rendering import Renderer
from minigpt4v.datasets.scenes import load_world, scenes_of
from minigpt4v.decoding import generate
from minigpt4v.gpt import GPT
from minigpt4v.gpt4v import GPT4V

SIZES = {"0.8 M": (4, 4, 128), "10 M": (6, 6, 384)}  # layers, heads, width
PROMPT, NEW_TOKENS = 8, 256
LENGTHS = (16, 64, 128, 256, 512)
QUESTIONS = ("What is at the top left?", "How many animals are there?", "What is in the picture?", "图里有什么？")


def main(rounds: int = 7) -> None:
    """Measure everything, print it, and write the file of results."""
    torch.manual_seed(0)
    with threads(1):
        writing = {name: compare(*shape, NEW_TOKENS, rounds) for name, shape in SIZES.items()}
        lengths = {name: by_length(*shape, LENGTHS, rounds) for name, shape in SIZES.items()}
        answers = asking(QUESTIONS, rounds)
    for name, found in writing.items():
        record.print_table(f"{name}, milliseconds a token", found["milliseconds"].items())
        record.print_table(f"{name}, times as fast", [("as transformers", found["times as fast as transformers"])])
    for name, found in lengths.items():
        record.print_table(f"{name}, milliseconds", [(f"token {length}", values) for length, values in found.items()])
    record.print_table("ask, milliseconds an answer", answers.items())
    about = record.about(
        threads=1, clock="CPU time", rounds=rounds, prompt=PROMPT, new_tokens=NEW_TOKENS, unit="milliseconds"
    )
    record.save("generation", {"about": about, "writing": writing, "token at length": lengths, "ask": answers})


def compare(layers: int, heads: int, width: int, new_tokens: int, rounds: int) -> dict[str, Any]:
    """Milliseconds a token of each way to write the same text, and how many times as fast as `transformers` ours is."""
    ours, theirs = writers(layers, heads, width, PROMPT + new_tokens)
    prompt = torch.randint(ours.config.vocabulary_size, (1, PROMPT))
    ways = {
        "transformers": lambda: their_text(theirs, prompt, new_tokens),
        "ours": lambda: generate(ours, prompt.tolist(), new_tokens)[0],
        "ours, through the blocks of training": lambda: write_through_blocks(ours, prompt, new_tokens),
    }
    texts = [write() for write in ways.values()]
    if any(text != texts[0] for text in texts):
        raise AssertionError("the candidates write different texts, so their speeds cannot be compared")
    matrices = [layer.weight.detach() for layer in ours.modules() if isinstance(layer, nn.Linear)]
    floors = {
        "matrix products alone": lambda: [
            torch.mv(matrix, matrix[0]) for _ in range(new_tokens) for matrix in matrices
        ],
        "adding up the weights": lambda: [matrix.sum() for _ in range(new_tokens) for matrix in matrices],
    }
    seconds = in_turn(ways | floors, rounds)
    return {
        "different tokens in the text": len(set(texts[0])),
        "times as fast as transformers": ratios(seconds["transformers"], seconds["ours"]),
        "milliseconds": {name: spread(values, 1000 / new_tokens) for name, values in seconds.items()},
    }


def writers(layers: int, heads: int, width: int, context: int) -> tuple[GPT, GPT2LMHeadModel]:
    """Two models with the same weights, spread wider than at GPT-2's start, where a text is one token over and over."""
    ours, theirs = twins(layers, heads, width, context)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.2)
    ours.load_gpt2_weights(theirs.state_dict())
    return ours.eval(), theirs.eval()


def their_text(model: GPT2LMHeadModel, prompt: torch.Tensor, new_tokens: int) -> list[int]:
    """The new tokens as `transformers` writes them, greedy and with its cache."""
    options = {"max_new_tokens": new_tokens, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    return model.generate(prompt, attention_mask=torch.ones_like(prompt), **options)[0, prompt.shape[1] :].tolist()


@torch.inference_mode()
def write_through_blocks(model: GPT, prompt: torch.Tensor, new_tokens: int) -> list[int]:
    """Greedy with the cache, every token through the `TransformerBlock`s, and nothing else around it."""
    cache = model.new_cache(1, prompt.shape[1] + new_tokens)
    logits, written = model(prompt, cache=cache), []
    for _ in range(new_tokens):
        ids = logits[:, -1:].argmax(dim=-1)
        written.append(ids)
        positions = model.next_positions(ids, cache)
        x = model.embed(ids, positions)
        for layer, block in enumerate(model.blocks):
            x = block(x, None, positions, cache, layer)
        logits = model.head(model.norm(x))
    return torch.cat(written, dim=1)[0].tolist()


def by_length(
    layers: int, heads: int, width: int, lengths: tuple[int, ...], rounds: int, steps: int = 8
) -> dict[int, Spread]:
    """Milliseconds to read one token, the mean of the last `steps` of a text this long."""
    model, _ = writers(layers, heads, width, max(lengths))
    ids = torch.randint(model.config.vocabulary_size, (1, max(lengths)))

    @torch.inference_mode()
    def reader(length: int) -> Callable[[], None]:
        cache = model.new_cache(1, max(lengths))
        model(ids[:, : length - steps], cache=cache)

        @torch.inference_mode()
        def read() -> None:
            for place in range(length - steps, length):
                model(ids[:, place : place + 1], cache=cache)
            cache.truncate(length - steps)

        return read

    seconds = in_turn({length: reader(length) for length in lengths}, 4 * rounds)
    return {length: spread(values, 1000 / steps) for length, values in seconds.items()}


def asking(questions: tuple[str, ...], rounds: int) -> dict[str, Spread]:
    """Milliseconds from a 64 x 64 picture and a question to the answer of the shipped laptop model, once it is warm."""
    model, world = GPT4V.from_pretrained("laptop"), load_world("core64")
    [drawn] = Renderer(world)(scenes_of(world, "seen", seed="ask", count=1))
    picture = rearrange(255 * drawn, "c h w -> h w c").byte().numpy()
    seconds = in_turn({question: lambda q=question: model.ask(picture, q) for question in questions}, rounds)
    return {question: spread(values, 1000) for question, values in seconds.items()}


if __name__ == "__main__":
    main()
