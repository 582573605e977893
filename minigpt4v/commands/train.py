"""`train`: a preset, or a model of one's own data, in a folder that is itself a model."""

from __future__ import annotations

import io
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from minigpt4v.commands.data_files import read_conversations, report
from minigpt4v.commands.options import PRESETS, SEED, choose_device, device_option, load_model
from minigpt4v.commands.output import BadInput, note, say
from minigpt4v.commands.run_folder import check_new, digest, is_main_process, new_record, read_record, write_record

if TYPE_CHECKING:
    import torch

    from minigpt4v.own_data import ConversationRun, TextRun
    from minigpt4v.presets import PresetRun

    Run = PresetRun | ConversationRun | TextRun

_KEPT = ("preset", "data", "val", "start", "tokenizer", "allow_outside", "seed")  # a resumed run keeps these
_ONLY_WITH_DATA = ("val", "start", "tokenizer", "allow_outside")
_FLAGS = {"start": "--from", "allow_outside": "--allow-outside"}  # the others are called as they are


@click.command()
@click.option("--preset", type=click.Choice(PRESETS), help="A ready-made size and recipe on EmojiScenes.")
@click.option("--data", metavar="FILE", help="Your own data: conversations (.jsonl) or a plain text (.txt).")
@click.option("--val", metavar="FILE", help="With --data: more of the kind, to measure on.")
@click.option("--from", "start", metavar="NAME|FOLDER", help="With --data x.jsonl: the model to go on from.")
@click.option("--tokenizer", type=click.Choice(("bpe", "char")), help="With --data x.txt; default: bpe.")
@click.option("--allow-outside", is_flag=True, help="With --data: pictures may lie outside the folder of the data.")
@click.option("--minutes", type=float, help="How long to train; default: as the preset says, 5 for your own data.")
@click.option("--steps", type=click.IntRange(1), help="Train for so many steps instead (of each stage).")
@click.option("--seed", type=SEED, help="Of the weights and of the data; default: 0.")
@click.option("--out", metavar="FOLDER", help="Where the model goes; default: runs/NAME.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out from its newest checkpoint.")
@device_option
@click.pass_context
def train(context: click.Context, out: str | None, resume: bool, device: str, **options: Any) -> None:
    """Train a model, by a preset or on your own data.

    Ctrl-C saves, and says how to resume. The folder holds the model, its history (history.jsonl, history.png), and what
    was done (run.json).

    A line of your own data is {"images": ["cat.png"], "turns": [{"question": "What is it doing?", "answer": "sleeping"}]};
    pictures are named from the folder of the file.

    \b
    Examples:
      minigpt4v train --preset tiny
      minigpt4v train --preset laptop --minutes 20 --seed 1 --out runs/mine
      minigpt4v train --out runs/mine --resume
      minigpt4v train --data my.jsonl --val my_val.jsonl --from laptop
      minigpt4v train --data shakespeare.txt --tokenizer char --minutes 3
    """
    options["allow_outside"] = options["allow_outside"] or None  # not given
    folder = Path(out) if out else _default_folder(options, resume)
    if resume:
        record = read_record(folder)
        options = _merge(record["options"], options)
    _check(options)
    place = choose_device(device)
    if not resume and is_main_process():
        check_new(folder)
    run = _make_run(options, folder, place)
    if resume:
        _check_unchanged(options, record)
    else:
        record = new_record(_command(context), _recorded(options), getattr(getattr(run, "world", None), "name", None))
    _train(run, folder, record, resume)


def _default_folder(options: dict[str, Any], resume: bool) -> Path:
    if resume and not (options["preset"] or options["data"]):
        raise BadInput("--resume needs to know which run: name its folder with --out")
    return Path("runs") / (options["preset"] or Path(options["data"] or "").stem)


def _check(options: dict[str, Any]) -> None:
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


def _merge(recorded: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
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


def _recorded(options: dict[str, Any]) -> dict[str, Any]:
    """The options as run.json keeps them: files by their whole path, with a digest."""
    kept = options | {name: str(Path(options[name]).absolute()) for name in ("data", "val") if options[name]}
    return kept | {f"{name}_sha256": digest(options[name]) for name in ("data", "val") if options[name]}


def _check_unchanged(options: dict[str, Any], record: dict[str, Any]) -> None:
    for name in ("data", "val"):
        if options[name] and digest(options[name]) != record["options"].get(f"{name}_sha256"):
            raise BadInput(
                f"{options[name]!r} has changed since the run began: put the old file back, "
                "or begin a new run with --from and this run's folder"
            )


def _make_run(options: dict[str, Any], folder: Path, device: torch.device) -> Run:
    seed, length = options["seed"] or 0, {}
    if options["steps"]:
        length = {"steps": options["steps"], "minutes": None}
    if options["data"]:
        if options["minutes"]:
            length["minutes"] = options["minutes"]
        return _own_data_run(options, folder=folder, seed=seed, device=device, settings=length)
    from minigpt4v.presets import PresetRun, find_preset

    preset = find_preset(options["preset"])
    if options["minutes"]:
        preset = replace(preset, minutes=options["minutes"])
        length.pop("minutes", None)
    return PresetRun(preset, folder=folder, seed=seed, device=device, settings=length)


def _own_data_run(options: dict[str, Any], **common: Any) -> Run:
    from minigpt4v.datasets.folder import DataError, kind_of, load_plain_text
    from minigpt4v.own_data import TEXT_CONTEXT_LENGTH, ConversationRun, TextRun

    files = [options[name] for name in ("data", "val") if options[name]]
    if kind_of(options["data"]) == "txt":
        text, *more = (load_plain_text(path, context_length=TEXT_CONTEXT_LENGTH) for path in files)
        return TextRun(text, validation=more[0] if more else None, tokenizer=options["tokenizer"] or "bpe", **common)
    records, *more = read_conversations(*files, allow_outside=bool(options["allow_outside"]))
    start = load_model(options["start"]) if options["start"] else None
    try:
        return ConversationRun(records, validation=more[0] if more else (), start=start, **common)
    except DataError as error:
        report(error, "line")
        raise


def _train(run: Run, folder: Path, record: dict[str, Any], resume: bool) -> None:
    from minigpt4v.training import Interrupted

    writes = is_main_process()
    if writes:
        write_record(folder, record)
    started, before = time.perf_counter(), record["minutes"]
    try:
        history = run.train(resume=resume)
    except Interrupted:
        history = None
    record["minutes"] = round(before + (time.perf_counter() - started) / 60, 2)
    if history:
        record["steps"] = history[-1]["step"]
    if writes:
        write_record(folder, record)
    if history is None:
        _leave_interrupted(folder)
    if writes:
        _draw(history, folder)
        _sum_up(history, folder, record)


def _leave_interrupted(folder: Path) -> NoReturn:
    from minigpt4v.checkpoint import checkpoints_in

    saved = "everything is saved" if checkpoints_in(folder) else "it was too early to save anything"
    note(f"Stopped; {saved}. To go on: minigpt4v train --out {shlex.quote(str(folder))} --resume")
    click.get_current_context().exit(130)


def _draw(history: list[dict[str, Any]], folder: Path) -> None:
    import matplotlib

    matplotlib.use("agg")  # no window, wherever this runs
    from matplotlib import pyplot

    from minigpt4v.paths import write_atomically
    from minigpt4v.plot import training_curves

    figure, file = training_curves(history), io.BytesIO()
    figure.savefig(file, format="png")
    pyplot.close(figure)
    write_atomically(folder / "history.png", file.getvalue())


def _sum_up(history: list[dict[str, Any]], folder: Path, record: dict[str, Any]) -> None:
    last: dict[str, float] = {}
    for entry in history:
        last |= entry
    shown = [f"{last['step']} steps in {record['minutes']:g} minutes", f"loss {last['loss']:.3f}"]
    if "held_out_accuracy" in last:
        shown.append(f"{last['held_out_accuracy']:.1%} of the held-out answers right")
    if "held_out_loss" in last:
        shown.append(f"held-out loss {last['held_out_loss']:.3f}")
    note(", ".join(shown))
    quoted = shlex.quote(str(folder))
    if record["options"]["data"] and "held_out_loss" in last:
        note(f'To see it write: minigpt4v write "Once" --model {quoted} --temperature 0.8')
    else:
        note(f'To ask it: minigpt4v ask PICTURE "What is in the picture?" --model {quoted}')
    say(str(folder))


def _command(context: click.Context) -> str:
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
