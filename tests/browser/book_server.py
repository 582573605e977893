"""The web book, built once with its live model, and served to the browser from this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing: the tests' own output is enough."""


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address at which a folder is served, below a sub-path, as many hosts do it."""
    (folder.parent / "site").mkdir()
    folder.rename(folder.parent / "site" / "course")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=str(folder.parent / "site")))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/course/"
    server.shutdown()
    thread.join()
