"""`export`: a model for programs without PyTorch."""

from __future__ import annotations

from pathlib import Path

import click

from minigpt4v.commands.options import examples, load_model, model_option
from minigpt4v.commands.output import BadInput, note, say


@click.command(epilog=examples("minigpt4v export web", "minigpt4v export web --model runs/mine"))
@click.argument("folder", type=click.Path(path_type=Path))
@model_option
def export(folder: Path, model: str) -> None:
    """Write a model as ONNX, for a web page or another language.

    FOLDER gets see.onnx, read.onnx, tokenizer.json and reader.json. What goes in and what comes out: the first lines of
    minigpt4v/export.py. A program that uses them: book/live/reader.js.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise click.ClickException(f'ONNX needs more packages: pip install "minigpt4v[onnx]" ({error})') from error
    from minigpt4v.export import export as write

    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{str(folder)!r} is a file: name a folder")
    loaded = load_model(model)
    note("tracing the model, half a minute ...")
    for name, size in write(loaded, folder).items():
        say(f"{folder / name}  {size / 1e6:.2f} MB")
