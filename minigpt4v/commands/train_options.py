"""The options of `train`: which go together, and how a resumed run finds those it began with."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from minigpt4v.commands.output import BadInput
from minigpt4v.commands.run_folder import digest
from minigpt4v.foreign_files import shown

_FILES = ("data", "val", "start")
_LENGTHS = ("steps", "minutes")
_TYPES = {"seed": int, "steps": int, "minutes": int | float, "allow_outside": bool}  # the others are texts
_SUBJECTS = ("preset", "dataset", "data")  # what to train on
_KEPT = (*_SUBJECTS, "labels", "val", "start", "tokenizer", "allow_outside", "seed")  # a resumed run keeps these
_ONLY_WITH_DATA = ("val", "start", "tokenizer", "allow_outside")
_FLAGS = {"start": "--from", "allow_outside": "--allow-outside"}  # the others are called as they are


def default_folder(options: dict[str, Any], resume: bool) -> Path:
    """runs/NAME. Raises `BadInput` where a run is to be resumed and nothing says which."""
    if resume and not any(options[name] for name in _SUBJECTS):
        raise BadInput("--resume needs to know which run: name its folder with --out")
    return Path("runs") / (options["preset"] or options["dataset"] or Path(options["data"] or "").stem)


def settle_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options with their defaults.

    Raises `BadInput` or ValueError where they do not go together, or are out of range.
    """
    given = [_flag(name) for name in _SUBJECTS if options[name]]
    if not given:
        raise BadInput(
            "nothing says what to train: give --preset tiny, or your own data with --data FILE, "
            "or --dataset sort-of-clevr"
        )
    if len(given) > 1:
        raise BadInput(f"{' and '.join(given)} each say what to train on: give one of them")
    if not options["data"] and (idle := [name for name in _ONLY_WITH_DATA if options[name]]):
        raise BadInput(f"{_flag(idle[0])} goes with --data, not with {given[0]}: leave it out")
    if options["labels"] and not options["dataset"]:
        raise BadInput(f"--labels goes with --dataset, not with {given[0]}: leave it out")
    from minigpt4v.training import TrainingSettings

    TrainingSettings(steps=options["steps"], minutes=options["minutes"] if options["minutes"] is not None else 1)
    options = options | {"seed": options["seed"] or 0, "allow_outside": options["allow_outside"] or None}
    if options["dataset"]:
        return options | {"labels": options["labels"] or "fixed"}
    return options | _settle_data(options) if options["data"] else options


def _settle_data(options: dict[str, Any]) -> dict[str, Any]:
    """What has to be said of one's own data besides its name."""
    from minigpt4v.datasets.folder import kind_of

    kind = kind_of(options["data"])
    if options["val"] and kind_of(options["val"]) != kind:
        raise BadInput(f"--val {options['val']!r} is of another kind than --data: both must end in .{kind}")
    if kind == "jsonl" and options["tokenizer"]:
        raise BadInput("--tokenizer is for a plain text (--data x.txt): leave it out")
    if kind == "txt" and options["start"]:
        raise BadInput("--from is for conversations about pictures (--data x.jsonl): leave it out")
    return {"tokenizer": options["tokenizer"] or "bpe"} if kind == "txt" else {}


def recorded_options(options: dict[str, Any]) -> dict[str, Any]:
    """The options as run.json keeps them: files by their whole path, and with a digest."""
    digests = {f"{name}_sha256": digest(options[name]) for name in ("data", "val") if options[name]}
    return options | {name: _whole_path(options[name]) for name in _FILES} | digests


def _whole_path(name: str | None) -> str | None:
    """The path of a file or a folder from wherever one looks; the name of a shipped model stays as it is."""
    return str(Path(name).resolve()) if name and Path(name).exists() else name


def merge_options(recorded: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The options of a run that goes on: as it began, but it may be made longer.

    Raises `BadInput` where another option is given than the run began with, or the record holds no options.
    """
    for name in (*_KEPT, *_LENGTHS):
        if not isinstance(recorded.get(name), _TYPES.get(name, str) | None):
            raise BadInput(
                f"run.json of this run is damaged: {name!r} cannot be {shown(recorded[name])}; begin a new run"
            )
    for name in _KEPT:
        same = recorded.get(name)
        wanted = _whole_path(given[name]) if name in _FILES else given[name]
        if wanted is not None and wanted is not False and wanted != same:
            was = "without it" if same is None else f"with {same!r}"
            raise BadInput(f"{_flag(name)} {wanted!r}: the run began {was}; leave the option out, or begin a new run")
    length = given if any(given[name] is not None for name in _LENGTHS) else recorded
    return {name: recorded.get(name) for name in _KEPT} | {name: length.get(name) for name in _LENGTHS}


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
