"""`ask`, `caption` and `chat`: talking about a picture; `write`: going on with a text."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from minigpt4v.commands.options import examples, json_option, load_model, model_option, sampling, sampling_options
from minigpt4v.commands.output import note, one_line, say, say_json

if TYPE_CHECKING:
    from minigpt4v.chat import Answer, Chat

_LEAVE, _FORGET = ("exit", "quit"), "new"


@click.command(
    epilog=examples(
        'minigpt4v ask cat.png "Where is the cat?"',
        'minigpt4v ask cat.png "猫在哪里？"',
        'minigpt4v ask cat.png "What is in the middle?" --json',
        'minigpt4v ask cat.png "What is this?" --model runs/tiny --temperature 0.8 --seed 1',
    )
)
@click.argument("picture")
@click.argument("question")
@model_option
@sampling_options
@json_option
def ask(picture: str, question: str, model: str, as_json: bool, **options: Any) -> None:
    """Answer a question about a picture.

    PICTURE is a picture file of any size and common format.
    """
    chosen = sampling(**options)
    chat = _open_chat(picture, model)
    _report(chat, chat.ask(question, **chosen), picture, as_json)


@click.command(
    epilog=examples(
        "minigpt4v caption cat.png",
        "minigpt4v caption cat.png --lang zh",
    )
)
@click.argument("picture")
@click.option("--lang", default="en", show_default=True, type=click.Choice(("en", "zh")), help="English or Chinese.")
@model_option
@sampling_options
@json_option
def caption(picture: str, lang: str, model: str, as_json: bool, **options: Any) -> None:
    """Say what is in a picture.

    PICTURE is a picture file of any size and common format.
    """
    chosen = sampling(**options)
    chat = _open_chat(picture, model)
    _report(chat, chat.caption(lang, **chosen), picture, as_json)


@click.command(
    epilog=examples(
        "minigpt4v chat cat.png",
        r"printf 'Where is the cat?\nAnd what is below it?\n' | minigpt4v chat cat.png",
    )
)
@click.argument("picture")
@model_option
@sampling_options
@json_option
def chat(picture: str, model: str, as_json: bool, **options: Any) -> None:
    """Talk about a picture, remembering what was said.

    Ask one question a line. "new" forgets the conversation; "exit" or Ctrl-D ends it. Questions may also be piped in;
    then the first that cannot be answered ends the program. With --json each answer is one line of JSON.
    """
    chosen = sampling(**options)
    conversation = _open_chat(picture, model)
    by_hand = sys.stdin.isatty()
    if by_hand:
        note('Ask about the picture, in English or Chinese. "new" starts again, "exit" ends.')
    for line in _lines(prompt="> " if by_hand else ""):
        if line.lower() in _LEAVE:
            break
        if line.lower() == _FORGET:
            conversation.history.clear()
            continue
        try:
            _answer(conversation, line, picture, as_json, chosen)
        except ValueError as error:
            if not by_hand:
                raise
            note(f"Error: {one_line(str(error))}")


def _lines(prompt: str) -> Iterator[str]:
    """What is typed or piped in, line by line, without empty lines."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # a stray byte is no reason to end a conversation
    while True:
        click.echo(prompt, nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            break
        if line.strip():
            yield line.strip()


def _answer(chat: Chat, question: str, picture: str, as_json: bool, chosen: dict[str, Any]) -> None:
    if as_json:
        answer = _as_json(chat, chat.ask(question, **chosen), picture)
        say_json({name: answer[name] for name in ("question", "answer", "confidence")}, indent=None)
        return
    for piece in chat.stream(question, **chosen):
        say(piece, end="")
    say("")


def _open_chat(picture: str, model: str) -> Chat:
    """A conversation about a picture. What was done to the picture is told on stderr."""
    if not Path(picture).is_file():
        from minigpt4v.processor import PictureProcessor

        PictureProcessor()(picture)  # raises: says what is wrong before the seconds that a model takes to load
    chat = load_model(model).chat(picture)
    for text in chat.notes:
        note(f"picture: {text}")
    return chat


def _report(chat: Chat, answer: Answer, picture: str, as_json: bool) -> None:
    if as_json:
        say_json(_as_json(chat, answer, picture))
    else:
        say(answer.text)
        note(f"{answer.confidence:.0%} sure")


def _as_json(chat: Chat, answer: Answer, picture: str) -> dict[str, Any]:
    piece = chat.model.tokenizer.piece
    tokens = [
        {
            "text": piece(step.token),
            "probability": round(step.probability, 6),
            "runners_up": [[piece(token), round(probability, 6)] for token, probability in step.runners_up],
        }
        for step in answer.steps
    ]
    return {
        "picture": picture,
        "notes": list(chat.notes),
        "question": answer.question,
        "answer": answer.text,
        "confidence": round(answer.confidence, 6),
        "tokens": tokens,
    }


@click.command(
    epilog=examples(
        'minigpt4v write "ROMEO:" --temperature 0.8',
        "minigpt4v train --data my.txt --out runs/mine",
        'minigpt4v write "Once upon" --model runs/mine --temperature 0.8',
    )
)
@click.argument("beginning")
@click.option(
    "--model",
    default="shakespeare",
    show_default=True,
    metavar="NAME|FOLDER",
    help="A shipped language model, or a folder that train --data text.txt wrote.",
)
@click.option(
    "--tokens", type=click.IntRange(1), metavar="N", default=100, show_default=True, help="How much to write at most."
)
@sampling_options
@json_option
def write(beginning: str, model: str, tokens: int, as_json: bool, **options: Any) -> None:
    """Go on with a text, by a language model.

    The text begins with BEGINNING.
    """
    from minigpt4v.language_model import LanguageModel

    chosen = sampling(**options)
    writer = LanguageModel.load(model)
    pieces = writer.write(beginning, tokens, **chosen)
    if as_json:
        say_json({"beginning": beginning, "text": "".join(pieces)})
        return
    say(beginning, end="")
    for piece in pieces:
        say(piece, end="")
    say("")
