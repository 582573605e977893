"""`info`: what is installed, which models there are, and what they can do."""

from __future__ import annotations

import json
import platform
from typing import Any

import click

from minigpt4v import __version__
from minigpt4v.commands.options import json_option
from minigpt4v.commands.output import say, say_json


@click.command()
@json_option
def info(as_json: bool) -> None:
    """Say what is installed.

    Version, models and their scores, device, data, fonts.
    """
    found = _gather()
    if as_json:
        say_json(found)
        return
    say(f"minigpt4v {found['version']}, Python {found['python']}, PyTorch {found['torch']}")
    say(f"device    {found['device']}")
    for model in found["models"]:
        scores = [f"{split} {accuracy:.1%}" for split, accuracy in model.get("accuracy", {}).items()]
        if "bits_per_byte" in model:
            scores.append(f"writes; {model['bits_per_byte']:.2f} bits per byte of held-out text")
        say(f"model     {model['name']}: {', '.join(scores) or 'not measured'}")
    if not found["models"]:
        say("model     none is shipped: train one with `minigpt4v train --preset laptop`")
    for world, count in found["nouns"].items():
        say(f"world     {world}: {count} things to draw")
    say(f"styles    {', '.join(found['styles'])}")
    say(f"data      {found['data']}")
    say(f"fonts     {', '.join(found['fonts'])}")


def _gather() -> dict[str, Any]:
    import torch

    from minigpt4v.datasets.emoji import HELD_OUT_STYLE, STYLES
    from minigpt4v.gpt4v import shipped_checkpoints
    from minigpt4v.paths import data_folder
    from minigpt4v.plot.fonts import font_families

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "version": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "device": f"GPU: {gpu}" if gpu else f"CPU, threads: {torch.get_num_threads()}",
        "models": [{"name": name} | _scores(name) for name in shipped_checkpoints()],
        "nouns": _nouns(),
        "styles": [*STYLES, f"{HELD_OUT_STYLE} (never seen in training)"],
        "data": str(data_folder()),
        "fonts": list(font_families()),
    }


def _nouns() -> dict[str, int]:
    from minigpt4v.datasets.scenes import load_world

    return {name: len(load_world(name).nouns) for name in ("core64", "all")}


def _scores(name: str) -> dict[str, Any]:
    """From the metrics.json of a model: accuracy over all families of each split, or how well it foretells text."""
    from minigpt4v.paths import data_folder

    path = data_folder() / "checkpoints" / name / "metrics.json"
    if not path.is_file():
        return {}
    metrics = json.loads(path.read_text(encoding="utf-8"))
    if "splits" not in metrics:
        return {"bits_per_byte": metrics["held_out"]["bits_per_byte"]}
    return {"accuracy": {split: result["accuracy"] for split, result in metrics["splits"].items()}}
