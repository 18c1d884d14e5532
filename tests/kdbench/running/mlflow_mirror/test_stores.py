"""Where the mirror may be: a file, a server. Whatever goes wrong with it costs one line and a few seconds."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from kdbench.running.mlflow_mirror import SETTINGS, Mirror, default_uri
from tests.kdbench.running.mlflow_mirror.conftest import cell, runs_of

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # MLflow keeps its connections


def refused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_the_default_is_a_sqlite_file_in_the_working_folder(suite, tmp_path, monkeypatch):
    entry = cell(tmp_path / "runs", suite)
    work = tmp_path / "work"
    work.mkdir()
    program = (
        "import sys, pathlib; from kdbench.records import store; from kdbench.running import mlflow_mirror as tracking;"
        "mirror = tracking.Mirror(None, print, 'run');"
        "assert 'mlflow' not in sys.modules;"
        "assert mirror.add(store.read_cell(pathlib.Path(sys.argv[1])));"
        "mirror.close()"
    )
    command = [sys.executable, "-c", program, str(entry.folder)]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")  # and MLflow is silent
    assert sorted(path.name for path in work.iterdir()) == ["mlflow.db", "mlruns"]
    assert [path.name for path in work.rglob("record.json")] == ["record.json"]

    assert default_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking.example")
    assert default_uri() == "http://tracking.example"


def test_a_kill_while_the_database_is_made_does_not_break_it(suite, notices, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    program = "import sys; from kdbench.running import mlflow_mirror as tracking; tracking.connect(sys.argv[1])"
    uri = f"sqlite:///{work}/tracking.db"
    with subprocess.Popen([sys.executable, "-c", program, uri], stderr=subprocess.DEVNULL) as process:
        while not list(work.rglob("*.db")):  # MLflow has begun, and has a second of migrations before it
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not (work / "tracking.db").exists()
    with Mirror(uri, notices.append, "run") as mirror:
        assert mirror.add(cell(tmp_path / "runs", suite))
    assert notices == []


def test_a_server_that_is_down_costs_one_line_and_a_few_seconds(suite, notices, tmp_path, capfd):
    entry = cell(tmp_path, suite)
    start = time.monotonic()
    with Mirror(f"http://me:secret@127.0.0.1:{refused_port()}", notices.append, "run") as mirror:
        assert not any(mirror.add(entry) for _ in range(50))
    assert time.monotonic() - start < 20
    assert len(notices) == 1
    assert "\n" not in notices[0]
    assert "http://***@127.0.0.1" in notices[0]
    assert "kdbench track runs/" in notices[0]
    assert "secret" not in notices[0]
    assert capfd.readouterr() == ("", "")


def test_a_server_that_does_not_answer_is_waited_for_as_long_as_the_user_says(suite, notices, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    attempts = 1 + int(SETTINGS["MLFLOW_HTTP_REQUEST_MAX_RETRIES"])
    assert attempts * int(SETTINGS["MLFLOW_HTTP_REQUEST_TIMEOUT"]) < 15  # where the user says nothing
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        mirror = Mirror(f"http://127.0.0.1:{silent.getsockname()[1]}", notices.append, "run")
        assert not mirror.add(cell(tmp_path, suite))
    assert time.monotonic() - start < 10
    assert len(notices) == 1
    assert "timed out" in notices[0]


@pytest.mark.parametrize(
    "uri",
    [
        "nonsense://x",
        "http://[",
        "sqlite:///{tmp_path}/a_file/tracking.db",
        "sqlite:///{tmp_path}",
        "sqlite:////dev/full",
    ],
)
def test_an_address_that_cannot_be_used_costs_one_line(uri, suite, notices, tmp_path, capfd):
    (tmp_path / "a_file").touch()
    uri = uri.format(tmp_path=tmp_path)
    start = time.monotonic()
    with Mirror(uri, notices.append, "run") as mirror:
        assert not mirror.add(cell(tmp_path, suite))
        assert not mirror.add(cell(tmp_path, suite, 1))
    assert time.monotonic() - start < 20
    assert len(notices) == 1
    assert "\n" not in notices[0]
    assert uri in notices[0]
    assert capfd.readouterr() == ("", "")


def test_a_store_that_fails_midway_switches_the_mirror_off(database, suite, notices, tmp_path, monkeypatch):
    entries = [cell(tmp_path, suite, seed) for seed in range(2)]
    with Mirror(database, notices.append, "run") as mirror:
        assert mirror.add(entries[0])
        monkeypatch.setattr(mlflow.MlflowClient, "log_batch", mock.Mock(side_effect=OSError(28, "No space left")))
        assert not mirror.add(entries[1])
        monkeypatch.undo()
        assert not mirror.add(entries[1])
    assert len(notices) == 1
    assert "No space left" in notices[0]
    with Mirror(database, notices.append, "later") as mirror:
        assert all(mirror.add(entry) for entry in entries)
    assert len(runs_of(database, suite)[0]) == 2


def test_without_mlflow_one_line_says_so(suite, notices, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with Mirror(None, notices.append, "run") as mirror:
        assert not any(mirror.add(cell(tmp_path, suite, seed)) for seed in range(2))
    assert len(notices) == 1
    assert "MLflow is not installed" in notices[0]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A real tracking server on loopback, killed with its children."""
    port = refused_port()
    uri = f"http://127.0.0.1:{port}"
    options = {"backend-store-uri": f"sqlite:///{tmp_path}/server.db", "artifacts-destination": tmp_path / "artifacts"}
    options |= {"host": "127.0.0.1", "port": port, "workers": 1}
    command = [sys.executable, "-m", "mlflow", "server", *(f"--{name}={value}" for name, value in options.items())]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )  # fmt: skip
    try:
        until = time.monotonic() + 240
        while not is_healthy(uri):
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            assert time.monotonic() < until, (tmp_path / "server.log").read_text()
            time.sleep(0.2)
        yield uri
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def is_healthy(uri: str) -> bool:
    try:
        with urllib.request.urlopen(f"{uri}/health", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.mark.skipif(os.name == "nt", reason="process groups of POSIX")
def test_a_real_server_is_mirrored_to(server, suite, notices, tmp_path, capfd):
    entries = [cell(tmp_path, suite, seed) for seed in range(2)]
    for written in (2, 0):
        with Mirror(server, notices.append, "run") as mirror:
            assert all(mirror.add(entry) for entry in entries)
        assert mirror.written == written
    assert notices == []
    assert capfd.readouterr() == ("", "")
    cells, parents = runs_of(server, suite)
    assert {run.info.status for run in [*cells, *parents]} == {"FINISHED"}
    assert len(cells) == 2
    assert len(list((tmp_path / "artifacts").rglob("record.json"))) == 2
