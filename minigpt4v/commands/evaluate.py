"""`evaluate`: how often a model is right, on fresh scenes or on one's own data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from minigpt4v.commands.data_files import read_conversations
from minigpt4v.commands.options import (
    SEED,
    SPLITS,
    WORLDS,
    choose_device,
    device_option,
    examples,
    json_option,
    load_model,
    model_option,
)
from minigpt4v.commands.output import BadInput, note, say, say_json
from minigpt4v.commands.run_folder import world_of

if TYPE_CHECKING:
    import torch

_DEFAULT_SPLITS = ("seen", "style")
_TEXT_KEYS = ("loss", "perplexity", "bits_per_byte", "tokens")


@click.command(
    epilog=examples(
        "minigpt4v evaluate",
        "minigpt4v evaluate --model runs/mine --split style --scenes 2000 --json",
        "minigpt4v evaluate --model runs/mine --data my_val.jsonl",
    )
)
@model_option
@click.option(
    "--split",
    "splits",
    multiple=True,
    type=click.Choice(SPLITS),
    help="Fresh scenes like the training scenes, of a style, of pairs, or of concepts never seen; may be repeated. "
    "Default: seen and style.",
)
@click.option(
    "--scenes", type=click.IntRange(2), metavar="N", default=200, show_default=True, help="How many, of each split."
)
@click.option("--seed", type=SEED, metavar="N", default=1, show_default=True, help="Of the scenes.")
@click.option("--world", type=click.Choice(WORLDS), help="Default: the one the model was trained on, else core64.")
@click.option(
    "--baselines/--no-baselines", default=True, show_default=True, help="Also measure what not looking gives."
)
@click.option("--data", metavar="FILE", help="Your own conversations (.jsonl), or a text (.txt) for a language model.")
@click.option("--allow-outside", is_flag=True, help="With --data: pictures may lie outside the folder of the data.")
@device_option
@json_option
@click.pass_context
def evaluate(
    context: click.Context, /, model: str, data: str | None, device: str, as_json: bool, **options: Any
) -> None:
    """Measure how often a model is right.

    Answers are decoded greedily, and count as right if they match the truth exactly. On scenes, four
    baselines stand beside the accuracy: the most frequent answer of the family ("guess") and of the question
    ("text_only"), and the model itself with an empty picture ("blind") and with that of another scene ("shuffled").
    """
    place = choose_device(device)
    if data is None:
        if options["allow_outside"]:
            raise BadInput("--allow-outside goes with --data: leave it out")
        _evaluate_scenes(model, place, as_json, **options)
        return
    for name in ("splits", "scenes", "seed", "world", "baselines"):
        if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE:
            raise BadInput(
                f"--{name.rstrip('s') if name == 'splits' else name} is for scenes: leave it out with --data"
            )
    _evaluate_data(model, data, options["allow_outside"], place, as_json)


def _evaluate_scenes(
    model: str,
    device: torch.device,
    as_json: bool,
    splits: tuple[str, ...],
    scenes: int,
    seed: int,
    world: str | None,
    baselines: bool,
    **_: Any,
) -> None:
    from minigpt4v.datasets.scenes import load_world
    from minigpt4v.evaluation import TextOnly, evaluate_split
    from minigpt4v.gpt4v import find_checkpoint

    loaded = load_model(model, device)
    chosen = load_world(world or world_of(find_checkpoint(model)) or "core64")
    text_only = TextOnly(chosen) if baselines else None
    results = {}
    for split in dict.fromkeys(splits or _DEFAULT_SPLITS):
        note(f"{scenes} scenes of the split {split!r} of {chosen.name} ...")
        results[split] = evaluate_split(loaded, chosen, split, scenes, str(seed), text_only)
    if as_json:
        say_json({"model": model, "world": chosen.name, "scenes": scenes, "seed": seed, "splits": results})
        return
    for split, result in results.items():
        _show_split(split, result)


def _show_split(split: str, result: dict[str, Any]) -> None:
    """The table of one split."""
    measured = result.get("baselines", {})
    extra = list(measured)
    say(f"{split}: {result['accuracy']:.1%} over all families, {result['questions']} questions")
    say(_row("family", "right", "95% interval", "count", *extra))
    for family, row in result["families"].items():
        _show_family(family, row, extra)
    if measured:
        say(_row("all families", f"{result['accuracy']:.1%}", "", "", *(f"{measured[name]:.1%}" for name in extra)))
    languages = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in result["languages"].items())
    error = result["calibration"]["expected_calibration_error"]
    say(f"by language: {languages}; confidence is off by {error:.1%} on average\n")


def _show_family(family: str, row: dict[str, Any], extra: list[str]) -> None:
    interval = f"{row['low']:.1%} to {row['high']:.1%}"
    others = [f"{row[name]:.1%}" if name in row else "" for name in extra]
    say(_row(family, f"{row['accuracy']:.1%}", interval, str(row["count"]), *others))


def _row(first: str, right: str, interval: str, count: str, *others: str) -> str:
    return (f"  {first:<18}{right:>7}  {interval:<17}{count:>6}" + "".join(f"{other:>11}" for other in others)).rstrip()


def _evaluate_data(model: str, data: str, allow_outside: bool, device: torch.device, as_json: bool) -> None:
    from minigpt4v.datasets.folder import kind_of

    if kind_of(data) == "txt":
        _evaluate_text(model, data, device, as_json)
        return
    from minigpt4v.own_data import evaluate_records

    (records,) = read_conversations(data, allow_outside=allow_outside)
    result = evaluate_records(load_model(model, device), records)
    if as_json:
        say_json({"model": model, "data": data} | result)
        return
    say(f"{result['accuracy']:.1%} of {result['questions']} answers right")
    say(_row("family", "right", "95% interval", "count"))
    for family, row in result["families"].items():
        _show_family(family, row, [])


def _evaluate_text(model: str, data: str, device: torch.device, as_json: bool) -> None:
    from minigpt4v.datasets.folder import load_plain_text
    from minigpt4v.language_model import LanguageModel

    text = load_plain_text(data)
    result = LanguageModel.load(model, device).measure(text)
    if as_json:
        say_json({"model": model, "data": data} | result)
        return
    for name in _TEXT_KEYS:
        say(f"{name.replace('_', ' '):<15}{result[name]:>12,.6g}")
