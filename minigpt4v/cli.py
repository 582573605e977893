"""The command line: `minigpt4v train | evaluate | ask | caption | chat | write | scene | info`.

Answers go to stdout, everything else to stderr. Exit codes: 0; 2 for input that cannot be used, with one sentence that
names it and the fix; 1 where the machine fails (a full disk) or training diverges; 130 after Ctrl-C.
"""

from __future__ import annotations

import io
import sys
from typing import Any

import click

from minigpt4v import __version__
from minigpt4v.commands.evaluate import evaluate
from minigpt4v.commands.info import info
from minigpt4v.commands.output import one_line
from minigpt4v.commands.scene import scene
from minigpt4v.commands.talk import ask, caption, chat, write
from minigpt4v.commands.train import train

BAD_INPUT, FAILURE, INTERRUPTED = 2, 1, 130


class Program(click.Group):
    """A group of commands whose errors are single sentences, without a traceback and without control characters."""

    def main(self, *arguments: Any, standalone_mode: bool = True, **options: Any) -> Any:
        """Run a command and leave with its exit code."""
        if not standalone_mode:
            return super().main(*arguments, standalone_mode=False, **options)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # 猫 on a terminal that cannot show it
        try:
            code = super().main(*arguments, standalone_mode=False, **options)
        except click.ClickException as error:
            error.message = one_line(error.message)
            error.show()
            code = error.exit_code
        except (click.Abort, KeyboardInterrupt):
            click.echo("stopped", err=True)
            code = INTERRUPTED
        except ValueError as error:
            code = _fail(error, BAD_INPUT)
        except (OSError, FloatingPointError) as error:
            code = _fail(error, FAILURE)
        sys.exit(code if isinstance(code, int) else 0)


def _fail(error: Exception, code: int) -> int:
    click.echo(f"Error: {one_line(str(error))}", err=True)
    return code


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="minigpt4v")
def main() -> None:
    """A GPT that sees: train it, ask it about pictures, measure it.

    \b
    Start here:
      minigpt4v scene --out scene.png               draw a picture
      minigpt4v ask scene.png "What do you see?"    ask about it
      minigpt4v train --preset tiny                 train a model of your own, under a minute
    """


for _command in (train, evaluate, ask, caption, chat, write, scene, info):
    main.add_command(_command)
