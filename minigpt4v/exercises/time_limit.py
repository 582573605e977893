"""A limit on how long a piece of Python may run."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class TimeIsUp(BaseException):
    """Raised inside code that ran too long; not an `Exception`, so that the code's own handlers let it through."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `TimeIsUp` in this thread, wherever it then is, if what stands inside takes longer.

    Python looks for such an exception between two of its own instructions: an endless loop is stopped, one call into C
    (a sleep, a huge matrix product) ends first. The exception comes again until the thread has left, in case a bare
    `except:` caught the first.
    """
    thread, over = threading.get_ident(), threading.Event()
    lock = threading.Lock()

    def watch() -> None:
        pause = seconds
        while not over.wait(pause):
            pause = 0.2
            with lock:
                if not over.is_set():
                    _raise_in(thread, TimeIsUp)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        with lock:
            over.set()
        _raise_in(thread, None)  # one that was asked for but not yet raised is called off


def _raise_in(thread: int, exception: type[BaseException] | None) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread), ctypes.py_object(exception) if exception else None
    )
