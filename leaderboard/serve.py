"""`kdbench serve`: a built site on this machine alone."""

from __future__ import annotations

import functools
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kdbench.errors import KdbenchError


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each request."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server on loopback; port 0 takes a free one.

    Raises:
        KdbenchError: the port is taken.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), functools.partial(Quiet, directory=str(folder)))
    except OSError as error:
        said = error.strerror or str(error)
        raise KdbenchError(f"Cannot serve on port {port}: {said}. Choose another one with --port.") from error
