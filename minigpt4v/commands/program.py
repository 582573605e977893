"""How a program ends: with a single sentence and an exit code, never with a traceback or a raw control character."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Sequence
from typing import Any

import click

from minigpt4v.commands.output import is_full, one_line

BAD_INPUT, FAILURE, INTERRUPTED = 2, 1, 130


class Program(click.Command):
    """A command whose errors are single sentences, without a traceback and without control characters."""

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
        except OSError as error:
            code = _fail(_of_the_system(error), FAILURE)
        except FloatingPointError as error:
            code = _fail(str(error), FAILURE)
        sys.exit(code)


def _of_the_system(error: OSError) -> str:
    """What the operating system refused, and why."""
    if is_full(error):
        return "the disk is full: make room, and try again"
    if error.errno == errno.EROFS:
        return f"{error.filename!r} may not be written to: its disk is read-only"
    return f"{error.filename!r}: {error.strerror}" if error.filename and error.strerror else str(error)


def _fail(message: str, code: int, context: click.Context | None = None) -> int:
    """Say what is wrong and, for a slip in the command line, where to read how it is written."""
    hint = f" (see {context.command_path} --help)" if context else ""
    click.echo(f"Error: {one_line(message)}{hint}", err=True)
    return code


class Programs(Program, click.Group):
    """A group of such commands."""
