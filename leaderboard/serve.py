"""`kdbench serve`: a built site on this machine alone."""

from __future__ import annotations

import functools
import gzip
import io
import sys
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO

from kdbench.errors import KdbenchError

TEXTS = frozenset((".css", ".html", ".js", ".svg", ".xml"))


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without a line for each request, and text compressed, as hosts of static files do."""

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """The answer's head; what is to follow."""
        path = Path(self.translate_path(self.path))
        if not can_be(path):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        if path.suffix not in TEXTS or "gzip" not in self.headers.get("Accept-Encoding", "") or not path.is_file():
            return super().send_head()
        body = compressed(path, path.stat().st_mtime_ns)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        return io.BytesIO(body)


def can_be(path: Path) -> bool:
    """Whether the system knows files of such a name."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except (OSError, ValueError):
        return False
    return True


class Server(ThreadingHTTPServer):
    """A server that goes on when a client hangs up, or asks for what cannot be read."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that is gone."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


@functools.lru_cache(maxsize=256)
def compressed(path: Path, changed: int) -> bytes:
    """A file's content; `changed` is when it was last written."""
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server on loopback; port 0 takes a free one.

    Raises:
        KdbenchError: the port is taken.
    """
    try:
        return Server(("127.0.0.1", port), functools.partial(Quiet, directory=str(folder)))
    except OSError as error:
        said = error.strerror or str(error)
        raise KdbenchError(f"Cannot serve on port {port}: {said}. Choose another one with --port.") from error
