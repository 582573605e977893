"""No writing outside some folders, and no signals to other programs: what Linux calls Landlock.

A process puts this on itself, and neither it nor what it starts can take it off again. Linux has it from 5.13 on
(signals: 6.12), without special rights. Source: https://docs.kernel.org/userspace-api/landlock.html
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # numbers of system calls
_ASK_VERSION, _PATH_BENEATH, _NO_NEW_PRIVILEGES = 1, 1, 38
_WRITE_FILE, _REFER, _TRUNCATE, _SIGNALS = 1 << 1, 1 << 13, 1 << 14, 1 << 1
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))  # folders, files, devices, sockets, pipes and links


def version() -> int:
    """Which version of Landlock this machine has; 0 where it has none."""
    if not sys.platform.startswith("linux"):
        return 0
    return max(0, _library().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_ASK_VERSION)))


def write_only_in(*places: Path) -> None:
    """From now on this thread, and all that it starts, writes to nothing but these files and what is in these folders.

    Signals go to nobody else either. Older versions leave out what they do not know; without Landlock nothing happens.
    Raises OSError where the system refuses.
    """
    here = version()
    if not here:
        return
    moving = (_REFER if here >= 2 else 0) | (_TRUNCATE if here >= 3 else 0)
    to_files = _WRITE_FILE | (moving & _TRUNCATE)
    in_folders = _WRITE_FILE | _REMOVE_AND_MAKE | moving
    no_network, scoped = 0, _SIGNALS if here >= 6 else 0
    attributes = struct.pack("QQQ", in_folders, no_network, scoped)
    rules = _call(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    try:
        for place in places:
            allowed = in_folders if place.is_dir() else to_files
            opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
            _call(_ADD_RULE, ctypes.c_int(rules), _PATH_BENEATH, struct.pack("=Qi", allowed, opened), ctypes.c_uint(0))
            os.close(opened)
        _library().prctl(_NO_NEW_PRIVILEGES, *(ctypes.c_ulong(number) for number in (1, 0, 0, 0)))
        _call(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint(0))
    finally:
        os.close(rules)


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(*arguments: object) -> int:
    result: int = _library().syscall(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock refuses: {os.strerror(ctypes.get_errno())}")
    return result
