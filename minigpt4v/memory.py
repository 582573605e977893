"""Memory on a CPU: what a training step has freed stays with the process for the next one (chapter 12)."""

from __future__ import annotations

import ctypes

# parameters of glibc's mallopt(3), from its malloc.h
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1  # bytes: more than is ever free at the end of the heap


def keep_freed_memory() -> bool:
    """Keep freed memory in this process; returns whether that could be asked for (Linux with glibc).

    A step frees what it has computed and soon asks for as much again. By default much of it goes back to the operating
    system meanwhile, which then hands out empty pages, each to be filled with zeros: a tenth of a step of `laptop`.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library: macOS, Alpine; no such thing at all: Windows
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
