"""The server of a site answers what is asked, whatever is asked, and outlives who asks."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdbench_leaderboard.serve import make_server


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "index.html").write_text("<p>here")
    (tmp_path / "large.js").write_bytes(b"//" + bytes(5_000_000))
    with make_server(tmp_path, 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def status(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest("GET", path)
    connection.putheader("Accept-Encoding", "gzip")
    connection.endheaders()
    found = connection.getresponse().status
    connection.close()
    return found


def test_names_that_no_file_has_are_not_found(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    for path in ("/%00", "/%00.html", "/" + "a" * 300 + ".html", "/%ff.html", "/../../etc/passwd"):
        assert status(port, path) == 404, path
    assert status(port, "/index.html") == 200
    assert capfd.readouterr().err == ""


def test_a_client_that_hangs_up_is_no_news(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed with a reset
        client.send(b"GET /large.js HTTP/1.0\r\n\r\n")
        client.close()
    assert status(port, "/index.html") == 200
    assert "Traceback" not in capfd.readouterr().err
