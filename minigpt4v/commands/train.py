"""`train`: a preset, or a model of one's own data, in a folder that is itself a model."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from minigpt4v.commands.data_files import read_conversations, report
from minigpt4v.commands.options import PRESETS, SEED, choose_device, device_option, examples, load_model
from minigpt4v.commands.output import note, say
from minigpt4v.commands.pictures import save_figure
from minigpt4v.commands.run_folder import (
    check_empty,
    check_place,
    is_main_process,
    new_record,
    progress_of,
    read_record,
    remove_litter,
    write_record,
)
from minigpt4v.commands.run_lock import only_run
from minigpt4v.commands.train_options import (
    check_unchanged,
    command_line,
    default_folder,
    merge_options,
    recorded_options,
    settle_options,
)

if TYPE_CHECKING:
    import torch

    from minigpt4v.own_data import ConversationRun, TextRun
    from minigpt4v.presets import PresetRun
    from minigpt4v.sort_of_clevr import SortOfClevrRun

    Run = PresetRun | SortOfClevrRun | ConversationRun | TextRun


@click.command(
    epilog=examples(
        "minigpt4v train --preset tiny",
        "minigpt4v train --preset laptop --minutes 20 --seed 1 --out runs/mine",
        "minigpt4v train --out runs/mine --resume",
        "minigpt4v train --dataset sort-of-clevr --minutes 90",
        "minigpt4v train --data my.jsonl --val my_val.jsonl --from laptop",
        "minigpt4v train --data shakespeare.txt --tokenizer char --minutes 3",
    )
)
@click.option("--preset", type=click.Choice(PRESETS), help="A ready-made size and recipe on EmojiScenes.")
@click.option("--dataset", type=click.Choice(("sort-of-clevr",)), help="A public benchmark, and its own model size.")
@click.option(
    "--labels", type=click.Choice(("fixed", "original")), help="With --dataset: which answers to learn; default: fixed."
)
@click.option("--data", metavar="FILE", help="Your own data: conversations (.jsonl) or a plain text (.txt).")
@click.option("--val", metavar="FILE", help="With --data: more of the kind, to measure on.")
@click.option("--from", "start", metavar="NAME|FOLDER", help="With --data x.jsonl: the model to go on from.")
@click.option("--tokenizer", type=click.Choice(("bpe", "char")), help="With --data x.txt; default: bpe.")
@click.option("--allow-outside", is_flag=True, help="With --data: pictures may lie outside the folder of the data.")
@click.option(
    "--minutes",
    type=float,
    metavar="M",
    help="How long to train; default: as the preset says, 60 for --dataset, 5 for your own data.",
)
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Train for so many steps instead (of each stage).")
@click.option("--seed", type=SEED, metavar="N", help="Of the weights and of the data; default: 0.")
@click.option("--out", metavar="FOLDER", help="Where the model goes; default: runs/NAME.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out from its newest checkpoint.")
@device_option
@click.pass_context
def train(context: click.Context, /, out: str | None, resume: bool, device: str, **options: Any) -> None:
    """Train a model: a preset, a benchmark, or your own data.

    Ctrl-C saves, and says how to resume; a run that is killed goes on from at most 500 steps before. The folder holds
    the model, its history (history.jsonl, history.png), and what was done (run.json).

    Your own data, line by line: {"images": ["cat.png"], "turns": [{"question": "What is it?", "answer": "a cat"}]};
    pictures are named from the folder of the file.
    """
    folder = Path(out) if out else default_folder(options, resume)
    if resume:
        options = merge_options(read_record(folder)["options"], options)
    options = settle_options(options)
    place = choose_device(device)
    if not is_main_process():
        _begin(context, folder, options, place, resume)
        return
    if not resume:
        check_place(folder)
    with only_run(folder):
        _begin(context, folder, options, place, resume)


def _begin(context: click.Context, folder: Path, options: dict[str, Any], device: torch.device, resume: bool) -> None:
    """Make the run and train it, in a folder that nobody else trains in."""
    if resume:
        record = read_record(folder)
        check_unchanged(options, record)
    elif is_main_process():
        check_empty(folder)
    run = _make_run(options, folder, device)
    if not resume:
        record = new_record(command_line(context), _world_of(options))
    if is_main_process():
        remove_litter(folder)
    _train(run, folder, record | {"options": recorded_options(options)}, resume)


def _make_run(options: dict[str, Any], folder: Path, device: torch.device) -> Run:
    steps, minutes = options["steps"], options["minutes"]
    # Steps alone end a run at the same weights on every machine; the default minutes would not.
    settings = {"steps": steps, "minutes": None} if steps else {}
    common = {"folder": folder, "seed": options["seed"], "device": device}
    if options["data"] or options["dataset"]:
        make = _own_data_run if options["data"] else _dataset_run
        return make(options, settings=settings | ({"minutes": minutes} if minutes else {}), **common)
    from minigpt4v.presets import PresetRun, find_preset

    preset = find_preset(options["preset"])
    if minutes:  # a preset shares them out among its stages
        preset, settings = replace(preset, minutes=minutes), {"steps": steps}
    return PresetRun(preset, settings=settings, **common)


def _world_of(options: dict[str, Any]) -> str | None:
    from minigpt4v.presets import PRESETS

    return PRESETS[options["preset"]].world if options["preset"] else None


def _dataset_run(options: dict[str, Any], **common: Any) -> Run:
    from minigpt4v.sort_of_clevr import SortOfClevrRun

    return SortOfClevrRun(labels=options["labels"], **common)


def _own_data_run(options: dict[str, Any], **common: Any) -> Run:
    from minigpt4v.datasets.folder import DataError, kind_of, load_plain_text
    from minigpt4v.own_data import TEXT_CONTEXT_LENGTH, ConversationRun, TextRun

    files = [options[name] for name in ("data", "val") if options[name]]
    if kind_of(options["data"]) == "txt":
        text, *more = (load_plain_text(path, context_length=TEXT_CONTEXT_LENGTH) for path in files)
        return TextRun(text, validation=more[0] if more else None, tokenizer=options["tokenizer"] or "bpe", **common)
    records, *held_out = read_conversations(*files, allow_outside=bool(options["allow_outside"]))
    start = load_model(options["start"]) if options["start"] else None
    try:
        return ConversationRun(records, validation=held_out[0] if held_out else (), start=start, **common)
    except DataError as error:
        report(error, "line")
        raise


def _train(run: Run, folder: Path, record: dict[str, Any], resume: bool) -> None:
    from minigpt4v.training import Interrupted

    writes = is_main_process()
    if writes:
        write_record(folder, record)
        if resume:
            done = progress_of(folder)
            note(f"Going on after {done}." if done else "Nothing was saved yet: beginning again.")
    started, before = time.perf_counter(), record["minutes"]
    try:
        history = run.train(resume=resume)
    except Interrupted:
        history = None
    except OSError:  # a full disk, above all
        note(_how_to_go_on(folder))
        raise
    record["minutes"] = round(before + (time.perf_counter() - started) / 60, 3)
    if history:
        record["steps"] = history[-1]["step"]
    if writes:
        write_record(folder, record)
    if history is None:
        _leave_interrupted(folder)
    if writes:
        from minigpt4v.plot import training_curves

        save_figure(lambda: training_curves(history), folder / "history.png")
        _sum_up(history, folder, record)


def _leave_interrupted(folder: Path) -> NoReturn:
    saved = "everything is saved" if progress_of(folder) else "it was too early to save anything"
    note(f"Stopped; {saved}. {_how_to_go_on(folder)}")
    click.get_current_context().exit(130)


def _how_to_go_on(folder: Path) -> str:
    return f"To go on: minigpt4v train --out {shlex.quote(str(folder))} --resume"


def _sum_up(history: list[dict[str, Any]], folder: Path, record: dict[str, Any]) -> None:
    last: dict[str, float] = {}
    for entry in history:
        last |= entry
    shown = [f"{last['step']} steps in {record['minutes']:.2g} minutes", f"loss {last['loss']:.3f}"]
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
