"""Options that several commands share.

The names to choose from are written out, since importing them would load PyTorch before `--help` can answer; a test
compares them with the library's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from minigpt4v.commands.output import BadInput

if TYPE_CHECKING:
    import torch

    from minigpt4v.gpt4v import GPT4V

PRESETS = ("tiny", "laptop", "gpu")
WORLDS = ("core16", "core64", "all")
SPLITS = ("seen", "style", "pairs", "concepts")
STYLES = ("noto", "blob", "fluent", "emojitwo", "twemoji")
DEFAULT_MODEL = "laptop"
MAX_SEED = 2**31 - 1

SEED = click.IntRange(0, MAX_SEED)

model_option = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="NAME|FOLDER",
    help="A shipped model or a run's folder.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Machine-readable output.")
device_option = click.option(
    "--device", type=click.Choice(("auto", "cpu", "cuda")), default="auto", show_default=True, help="Where to compute."
)


def examples(*lines: str) -> str:
    """The examples at the end of a help page."""
    # the mark in front tells click not to fill the lines into a paragraph
    return "\b\n" + "\n".join(("Examples:", *(f"  {line}" for line in lines)))


def sampling_options(command: Callable) -> Callable:
    """--temperature, --top-k, --top-p and --seed."""
    options = (
        click.option(
            "--temperature",
            type=float,
            metavar="T",
            default=0.0,
            show_default=True,
            help="0 takes the likeliest token.",
        ),
        click.option("--top-k", type=int, metavar="K", help="Draw from the K likeliest tokens."),
        click.option("--top-p", type=float, metavar="P", help="Draw from the likeliest tokens that share P, 0 to 1."),
        click.option("--seed", type=SEED, metavar="N", help="Draw the same again; needs a --temperature above 0."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def sampling(temperature: float, top_k: int | None, top_p: float | None, seed: int | None) -> dict[str, Any]:
    """The options as decoding takes them. Raises ValueError where one is out of range, or would do nothing."""
    import torch

    from minigpt4v.sampling import Sampling

    Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
    idle = [name for name, value in (("--top-k", top_k), ("--top-p", top_p), ("--seed", seed)) if value is not None]
    if temperature == 0 and idle:
        raise BadInput(
            f"{idle[0]} does nothing at temperature 0, where the likeliest token is taken: add --temperature 0.8"
        )
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return {"temperature": temperature, "top_k": top_k, "top_p": top_p, "generator": generator}


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is the GPU where there is one.

    Raises `BadInput` where "cuda" is asked for and there is none.
    """
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise BadInput("no CUDA device was found: use --device cpu, or install a PyTorch build for your GPU")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # one process of torchrun for each GPU
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return torch.device(name)


def load_model(name: str, device: str | torch.device = "cpu") -> GPT4V:
    """A model that sees. Raises ValueError where there is none, or its files do not fit each other."""
    from minigpt4v.gpt4v import GPT4V, find_checkpoint
    from minigpt4v.language_model import is_language_model

    folder = find_checkpoint(name)
    if is_language_model(folder):
        raise BadInput(f"{name!r} is a language model and cannot see: use it with `minigpt4v write`")
    return GPT4V.from_pretrained(folder, device)
