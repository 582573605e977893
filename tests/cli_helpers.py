"""What the tests of the command line share: how to call it, and a small data set of one's own."""

import json
import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner, Result
from PIL import Image

from minigpt4v.cli import main

COLOURS = {"red": (220, 30, 30), "blue": (30, 60, 220)}


def invoke(*arguments: object, stdin: str | None = None) -> Result:
    """Call the program in this process; whatever it raises but an exit is an error of the test."""
    result = CliRunner().invoke(main, [str(each) for each in arguments], input=stdin)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def succeed(*arguments: object, stdin: str | None = None) -> Result:
    """`invoke`, and it goes well."""
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.stderr
    return result


def refuse(*arguments: object, code: int = 2, stdin: str | None = None) -> str:
    """`invoke`, and it is refused with one sentence on stderr, which is returned, and nothing else."""
    result = invoke(*arguments, stdin=stdin)
    assert result.exit_code == code, (result.exit_code, result.output)
    assert result.stdout == ""
    *before, error = result.stderr.rstrip("\n").split("\n")
    assert error.startswith("Error: "), result.stderr
    assert not any(line.startswith(("Traceback", "Usage")) for line in before)
    assert_harmless(result.stderr)
    return error


def assert_harmless(text: str) -> None:
    """Nothing in the text could steer a terminal."""
    unfit = [letter for letter in text if not letter.isprintable() and letter != "\n"]
    assert not unfit, unfit


def program(*arguments: object, cwd: Path, **options: object) -> subprocess.Popen:
    """The program in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("env", {})
    return subprocess.Popen(
        [sys.executable, "-m", "minigpt4v", *(str(each) for each in arguments)],
        cwd=cwd,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def write_own_data(folder: Path) -> Path:
    """Conversations about two plain pictures, which a model learns by heart in seconds. Returns the file."""
    lines = []
    for name, colour in COLOURS.items():
        Image.new("RGB", (30, 20), colour).save(folder / f"{name}.png")
        turns = [
            {"question": "What colour is it?", "answer": name, "family": "colour"},
            {"question": "And what is it?", "answer": f"a {name} wall", "family": "thing"},
        ]
        lines.append({"images": [f"{name}.png"], "turns": turns})
        lines.append(
            {
                "images": [f"{name}.png"],
                "turns": [{"caption": f"only {name}"}, {"caption": {"red": "红色", "blue": "蓝色"}[name]}],
            }
        )
        lines.append({"images": [f"{name}.png"], "turns": [{"answer": {"red": "红色", "blue": "蓝色"}[name]}]})
    path = folder / "my.jsonl"
    path.write_text("\n".join(json.dumps(line, ensure_ascii=False) for line in lines), encoding="utf-8")
    return path
