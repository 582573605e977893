"""The command line: `minigpt4v train`, `ask`, `chat`, `write`, `check` and others (`minigpt4v --help`).

Answers go to stdout, everything else to stderr. Exit codes: 0; 2 for input that cannot be used, with one sentence that
names it and the fix; 1 where the machine fails (a full disk) or training diverges; 130 after Ctrl-C.
"""

from __future__ import annotations

import click

from minigpt4v import __version__
from minigpt4v.commands.copies import handout, start
from minigpt4v.commands.evaluate import evaluate
from minigpt4v.commands.exercises import check, progress
from minigpt4v.commands.export import export
from minigpt4v.commands.grade import grade
from minigpt4v.commands.info import info
from minigpt4v.commands.options import examples
from minigpt4v.commands.program import Programs
from minigpt4v.commands.scene import scene
from minigpt4v.commands.talk import ask, caption, chat, write
from minigpt4v.commands.train import train


@click.group(
    cls=Programs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=examples(
        "minigpt4v scene                               draw a picture",
        'minigpt4v ask scene.png "What do you see?"    ask about it',
        "minigpt4v train --preset tiny                 train a model of your own, under a minute",
    ),
)
@click.version_option(__version__, prog_name="minigpt4v")
def main() -> None:
    """A GPT that sees: train it, ask it about pictures, measure it."""


_COMMANDS = (train, evaluate, ask, caption, chat, write, scene, info, export, start, progress, check, handout, grade)
for _command in _COMMANDS:
    main.add_command(_command)
