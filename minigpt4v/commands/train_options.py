"""The options of `train`: which go together, and how a resumed run finds those it began with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from minigpt4v.commands.output import BadInput
from minigpt4v.commands.run_folder import digest

_KEPT = ("preset", "data", "val", "start", "tokenizer", "allow_outside", "seed")  # a resumed run keeps these
_ONLY_WITH_DATA = ("val", "start", "tokenizer", "allow_outside")
_FLAGS = {"start": "--from", "allow_outside": "--allow-outside"}  # the others are called as they are


def default_folder(options: dict[str, Any], resume: bool) -> Path:
    """runs/NAME. Raises `BadInput` where a run is to be resumed and nothing says which."""
    if resume and not (options["preset"] or options["data"]):
        raise BadInput("--resume needs to know which run: name its folder with --out")
    return Path("runs") / (options["preset"] or Path(options["data"] or "").stem)


def check_options(options: dict[str, Any]) -> None:
    """Raise `BadInput` or ValueError where the options do not go together, or are out of range."""
    if not options["preset"] and not options["data"]:
        raise BadInput("nothing says what to train: give --preset tiny, or your own data with --data FILE")
    if options["preset"] and options["data"]:
        raise BadInput("--preset trains on EmojiScenes and --data on your own data: give one of them")
    if not options["data"] and (idle := [name for name in _ONLY_WITH_DATA if options[name]]):
        raise BadInput(f"{_flag(idle[0])} goes with --data, not with --preset: leave it out")
    from minigpt4v.training import TrainingSettings

    TrainingSettings(steps=options["steps"], minutes=options["minutes"] if options["minutes"] is not None else 1)
    if not options["data"]:
        return
    from minigpt4v.datasets.folder import kind_of

    kind = kind_of(options["data"])
    if options["val"] and kind_of(options["val"]) != kind:
        raise BadInput(f"--val {options['val']!r} is of another kind than --data: both must end in .{kind}")
    if kind == "jsonl" and options["tokenizer"]:
        raise BadInput("--tokenizer is for a plain text (--data x.txt): leave it out")
    if kind == "txt" and options["start"]:
        raise BadInput("--from is for conversations about pictures (--data x.jsonl): leave it out")


def merge_options(recorded: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The options of a run that goes on: as it began, but it may be made longer."""
    for name in _KEPT:
        same = recorded.get(name)
        wanted = str(Path(given[name]).absolute()) if name in ("data", "val") and given[name] else given[name]
        if wanted is not None and wanted != same:
            was = "without it" if same is None else f"with {same!r}"
            raise BadInput(f"{_flag(name)} {wanted!r}: the run began {was}; leave the option out, or begin a new run")
    merged = {name: recorded.get(name) for name in (*_KEPT, "steps", "minutes")}
    if given["steps"] or given["minutes"]:
        merged |= {"steps": given["steps"], "minutes": given["minutes"]}
    return merged


def recorded_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options as run.json keeps them: files by their whole path, with a digest."""
    kept = options | {name: str(Path(options[name]).absolute()) for name in ("data", "val") if options[name]}
    return kept | {f"{name}_sha256": digest(options[name]) for name in ("data", "val") if options[name]}


def check_unchanged(options: dict[str, Any], record: dict[str, Any]) -> None:
    """Raise `BadInput` where the data of a run that is resumed is not what it was."""
    for name in ("data", "val"):
        if options[name] and digest(options[name]) != record["options"].get(f"{name}_sha256"):
            raise BadInput(
                f"{options[name]!r} has changed since the run began: put the old file back, "
                "or begin a new run with --from and this run's folder"
            )


def command_line(context: click.Context) -> str:
    """The command line that was given, as one could give it again."""
    words = ["minigpt4v", "train"]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if context.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE:
            words.append(parameter.opts[0])
            words += [] if value is True else [f"{value:g}" if isinstance(value, float) else str(value)]
    return shlex.join(words)


def _flag(name: str) -> str:
    return _FLAGS.get(name, f"--{name}")
