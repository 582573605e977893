"""What other systems would trip over, as far as one machine can tell; docs/portability.md says how far that is."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from minigpt4v.commands.options import choose_device
from minigpt4v.training import _new_accelerator

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = [path for folder in ("minigpt4v", "book", "bench", "data", "lab") for path in (ROOT / folder).rglob("*.py")]
# Without `encoding`, Windows reads and writes these in the code page of the country.
IN_TEXT = ("open", "read_text", "write_text", "NamedTemporaryFile", "TemporaryFile", "TextIOWrapper")
NO_TEXT = ("os", "io", "Image", "tarfile", "safe_open")  # whose `open` opens no text
UNIX_ONLY = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty")
NOT_ON_WINDOWS = {
    "os": ("fork", "forkpty", "getuid", "geteuid", "killpg", "mkfifo", "setsid", "sched_getaffinity", "uname"),
    "signal": ("SIGKILL", "SIGALRM", "SIGHUP", "alarm", "setitimer", "pthread_kill"),
}
RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def without_encoding(source: str) -> list[str]:
    """The calls that read or write text, and leave its encoding to the system."""
    found = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        named = {keyword.arg for keyword in call.keywords}
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        whose = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        if name == "read_text" and not whose:  # ours, which is always UTF-8
            continue
        words = [
            node.value
            for node in call.args + [keyword.value for keyword in call.keywords]
            if type(node) is ast.Constant
        ]
        binary = any(re.fullmatch(r"[rwxa]\+?b\+?", str(word)) for word in words)
        in_text = name in IN_TEXT and whose not in NO_TEXT and not binary
        if (in_text or ("text" in named and whose == "subprocess")) and "encoding" not in named:
            found.append(ast.unparse(call))
    return found


def test_every_text_names_its_encoding() -> None:
    assert len(PROGRAMS) > 100
    found = {path.name: calls for path in PROGRAMS if (calls := without_encoding(path.read_text(encoding="utf-8")))}
    assert found == {}


def test_texts_without_an_encoding_are_found() -> None:
    for call in ("open(p)", "p.open('w')", "p.read_text()", "p.write_text(x)", "subprocess.run(c, text=True)"):
        assert without_encoding(call) == [call]
    for call in ("p.open('rb')", "os.open(p, f)", "Image.open(p)", "p.read_text(encoding='utf-8')", "plot(text=True)"):
        assert without_encoding(call) == []


def test_every_file_can_have_its_name_everywhere() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, encoding="utf-8", check=True
    ).stdout
    names = [name for name in listing.split("\0") if name]
    assert len({name.lower() for name in names}) == len(names) > 400, "two names differ in their case alone"
    parts = {part for name in names for part in name.split("/")}
    assert [part for part in parts if RESERVED.match(part) or re.search(r'[<>:"\\|?*\0-\x1f]|[. ]$', part)] == []
    assert max(map(len, names)) < 150  # the whole path may have 260 characters


def test_every_module_loads_where_windows_lacks_what_unix_has(tmp_path: Path) -> None:
    """A stand-in: the modules and functions are gone once PyTorch and Jupyter are loaded."""
    names = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "minigpt4v").rglob("*.py")
        if path.stem not in ("__init__", "__main__")
    )
    program = f"""
import importlib, os, signal, sys
import accelerate, IPython, matplotlib.pyplot, nbclient, torch
for name in {UNIX_ONLY}: sys.modules[name] = None
for module, names in {NOT_ON_WINDOWS}.items():
    for name in names:
        if hasattr(sys.modules[module], name): delattr(sys.modules[module], name)
for name in {names}: importlib.import_module(name)
from pathlib import Path
from minigpt4v.classroom import inside, limited_kernel
from minigpt4v.paths import write_atomically
write_atomically("written.txt", "x")
limited_kernel._end(0, Path("scratch"))
inside._use_reserve()
print(len([name for name in {names} if name in sys.modules]))
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(names) > 80


def test_a_mac_computes_on_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apple's GPU is never chosen unasked: nothing here was measured on one."""
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    assert _new_accelerator("no", torch.device("cpu")).device.type == "cpu"
