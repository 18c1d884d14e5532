"""`kdbench site` and `kdbench serve`, as typed; both without torch."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from kdbench_leaderboard.serve import make_server

WITHOUT_TORCH = (
    "import sys; sys.modules['torch'] = sys.modules['timm'] = None; from kdbench.cli.app import main; main()"
)


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-c", WITHOUT_TORCH, *map(str, arguments)]


def test_site_builds_where_torch_cannot_be_imported(results: Path, tmp_path: Path):
    done = subprocess.run(
        command("site", "--out", tmp_path / "site", "--results", results),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Open" in done.stdout
    assert (tmp_path / "site" / "index.html").is_file()


def test_a_folder_that_is_no_site_is_one_line_and_exit_code_2(results: Path, tmp_path: Path):
    done = subprocess.run(
        command("site", "--out", results, "--results", results),
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "no site of kdbench" in done.stderr


def test_serve_listens_on_loopback_alone_and_ends_on_interrupt(results: Path, tmp_path: Path):
    arguments = command("serve", "--out", tmp_path / "site", "--results", results, "--port", "0")
    with subprocess.Popen(
        arguments,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as server:
        assert server.stdout
        found = re.search(r"http://127\.0\.0\.1:(\d+)/index\.html", server.stdout.readline())
        assert found
        with urllib.request.urlopen(found[0], timeout=10) as page:
            assert b"kdbench" in page.read()
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 130


def test_a_taken_port_is_one_line(tmp_path: Path):
    import pytest

    from kdbench.errors import KdbenchError

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(KdbenchError, match="Choose another one with --port"):
            make_server(tmp_path, port)
