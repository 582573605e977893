"""Freed memory stays with the process: counted in page faults, the pages that the operating system had to hand out."""

import ctypes
import json
import subprocess
import sys

import pytest

from minigpt4v import memory

PROGRAM = """
import json, resource, sys
import torch
from minigpt4v.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.full((5_000_000,), 1.0)  # 20 MB, freed at once
        torch.full((15_000_000,), 1.0)  # more than glibc ever keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.set_num_threads(1)
usual = faults()
done = keep_freed_memory()
faults()
print(json.dumps([usual, done, faults()]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts what glibc does")
def test_freed_memory_is_used_again():
    if not hasattr(ctypes.CDLL(None), "mallopt"):
        pytest.skip("this C library has no mallopt")
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    usual, done, kept = json.loads(found.stdout)
    assert done
    assert kept < 0.05 * usual


@pytest.mark.parametrize("trouble", [AttributeError, OSError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch, trouble):
    def library(name):
        raise trouble

    monkeypatch.setattr(memory.ctypes, "CDLL", library)
    assert memory.keep_freed_memory() is False
