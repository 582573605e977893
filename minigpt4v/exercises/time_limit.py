"""A limit on how long a piece of Python may run."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

_GRACE = 0.5  # seconds in which a thread may notice that it is to stop


class TimeIsUp(BaseException):
    """It took too long; not an `Exception`, so that the handlers of what is stopped let it through."""


def within(seconds: float, function: Callable[[], Any]) -> Any:
    """What `function()` gives or raises, or `TimeIsUp` if that takes longer.

    It runs in a thread of its own, into which `TimeIsUp` is raised. Python looks for such an exception between two of
    its own instructions: that ends an endless loop, while a call into C (a sleep, a huge product) goes on until it is
    done, and a loop around a bare `except:` for ever. Nobody waits for those.
    """
    outcome: dict[str, Any] = {}
    ended = threading.Event()  # Python 3.11 and 3.12 take a thread for dead after Ctrl-C in `thread.join()`

    def work() -> None:
        try:
            outcome["result"] = function()
        except BaseException as error:
            outcome["error"] = error
        finally:
            ended.set()

    thread = threading.Thread(target=work, daemon=True)
    try:
        thread.start()
        ended.wait(seconds)
    finally:  # Ctrl-C too
        if not ended.is_set():
            _raise_in(thread, TimeIsUp)
            ended.wait(_GRACE)
    if "error" in outcome:
        raise outcome["error"]
    if "result" not in outcome:
        raise TimeIsUp
    return outcome["result"]


def _raise_in(thread: threading.Thread, exception: type[BaseException]) -> None:
    assert thread.ident is not None, "the thread has not started"
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(exception))
