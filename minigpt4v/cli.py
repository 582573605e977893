"""The command line: `minigpt4v train | evaluate | ask | caption | chat | write | scene | info`.

Answers go to stdout, everything else to stderr. Exit codes: 0; 2 for input that cannot be used, with one sentence that
names it and the fix; 1 where the machine fails (a full disk) or training diverges; 130 after Ctrl-C.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any

import click

from minigpt4v import __version__
from minigpt4v.commands.evaluate import evaluate
from minigpt4v.commands.info import info
from minigpt4v.commands.options import examples
from minigpt4v.commands.output import one_line
from minigpt4v.commands.scene import scene
from minigpt4v.commands.talk import ask, caption, chat, write
from minigpt4v.commands.train import train

BAD_INPUT, FAILURE, INTERRUPTED = 2, 1, 130


class Program(click.Group):
    """A group of commands whose errors are single sentences, without a traceback and without control characters."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command and, in standalone mode, leave with its exit code."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # 猫 on a terminal that cannot show it
        code: Any = FAILURE
        try:
            code = super().main(args, prog_name, complete_var, standalone_mode=False, **extra) or 0
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            code = _fail(error.format_message(), error.exit_code, getattr(error, "ctx", None))
        except (click.Abort, KeyboardInterrupt):
            code = _fail("stopped", INTERRUPTED)
        except ValueError as error:
            code = _fail(str(error), BAD_INPUT)
        except (OSError, FloatingPointError) as error:
            code = _fail(str(error), FAILURE)
        sys.exit(code)


def _fail(message: str, code: int, context: click.Context | None = None) -> int:
    """Say what is wrong and, for a slip in the command line, where to read how it is written."""
    hint = f" (see {context.command_path} --help)" if context else ""
    click.echo(f"Error: {one_line(message)}{hint}", err=True)
    return code


@click.group(
    cls=Program,
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


for _command in (train, evaluate, ask, caption, chat, write, scene, info):
    main.add_command(_command)
