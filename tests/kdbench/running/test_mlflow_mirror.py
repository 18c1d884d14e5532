"""MLflow mirrors records: each once, and whatever goes wrong with it costs one line and a few seconds."""

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

import numpy as np
import pytest
from PIL import Image

from kdbench.records.evidence import Evidence, evidence_from_logits
from kdbench.records.metrics import metrics
from kdbench.records.record import Cost, MethodInfo, Network, Record, TeacherRef
from kdbench.records.store import Entry, finish_cell
from kdbench.running.mlflow_mirror import SETTINGS, Mirror, default_uri
from kdbench.suite import digest

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")  # MLflow keeps its connections

LABELS = np.arange(40) % 4
PROTOCOL = {"suite": "toy"}


def evidence(seed: int) -> Evidence:
    return evidence_from_logits(np.random.default_rng(seed).normal(size=(40, 4)), LABELS)


def cell(folder: Path, suite: str, seed: int = 0, **changes) -> Entry:
    """A valid record of a cell, on disk."""
    seen = evidence(seed)
    numbers = metrics(seen, LABELS, 4)
    method = MethodInfo(
        name="kd", version=2, title=None, authors=None, year=None, arxiv=None, scheme="offline", knowledge=["response"],
        families=[], requires=["student.logits"], deviations=[], docstring="",
        distribution="kdbench", distribution_version="0.1.0", source_sha256=digest("source"),
    )  # fmt: skip
    student = Network(
        role="student", model="small", timm_name="s", arguments={}, metrics=numbers, parameters=10, macs=20
    )
    peer = student.model_copy(update={"role": "peer 1", "evidence_sha256": seen.sha256()})
    values = {
        "kind": "cell", "status": "done", "reason": None, "key": digest([suite, seed]), "suite": suite,
        "fingerprint": digest(PROTOCOL), "protocol": PROTOCOL, "off_protocol": ["2 epochs instead of 20"],
        "student": "small", "seed": seed, "method": method, "params": {"temperature": 4.0, "seed": "odd"},
        "variant": {"temperature": 4.0}, "params_source": "user", "trials": 0,
        "teachers": [TeacherRef(model="large", sha256=digest("teacher"), outputs="live")], "recipe": {"epochs": 2},
        "matching": [], "networks": [student, peer],
        "curve": {"loss": [2.0, 1.0], "kd (T²)": [0.5, 0.25]},
        "cost": Cost(train_seconds=8.0, steps=6, method_parameters=0), "environment": {},
        "finished": "2026-01-02T03:04:05+00:00", "evidence_sha256": seen.sha256(), **changes,
    }  # fmt: skip
    record = Record(**values).sealed()
    kept = seen if record.evidence_sha256 else None
    place = folder / suite / "kd" / record.key[:16]
    others = {"peer 1": seen} if kept and record.others else {}
    finish_cell(place, record, kept, others)
    return Entry(record, kept, place, others)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Each test has the environment to itself, without settings of MLflow."""
    with mock.patch.dict(os.environ):
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            del os.environ[name]
        yield


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database for all tests: each has a suite, and so an experiment, of its own."""
    folder = tmp_path_factory.mktemp("tracking")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield f"sqlite:///{folder}/tracking.db"


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def suite(request: pytest.FixtureRequest) -> str:
    return request.node.name.partition("[")[0]


def runs_of(uri: str, suite: str) -> tuple[list, list]:
    """The runs of cells of a suite, and those of invocations."""
    client = mlflow.MlflowClient(uri)
    runs = client.search_runs([client.get_experiment_by_name(f"kdbench/{suite}").experiment_id])
    cells = [run for run in runs if "kdbench.key" in run.data.tags]
    return cells, [run for run in runs if run not in cells]


def refused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_a_grid_of_synthetic_images_is_attached_to_the_run(database, suite, notices, tmp_path):
    entry = cell(tmp_path, suite)
    Image.new("L", (3, 3)).save(entry.folder / "synthetic.png")
    with Mirror(database, notices.append, "kdbench run toy") as mirror:
        assert mirror.add(entry)
    assert notices == []
    ((run,), _) = runs_of(database, suite)
    names = {file.path for file in mlflow.MlflowClient(database).list_artifacts(run.info.run_id)}
    assert names == {"record.json", "synthetic.png"}


def test_a_run_says_what_the_record_says(database, suite, notices, tmp_path):
    entry = cell(tmp_path, suite)
    teacher = evidence(7)
    with Mirror(database, notices.append, "kdbench run toy") as mirror:
        assert mirror.add(entry, teacher)
    assert notices == []

    ((run,), (parent,)) = runs_of(database, suite)
    assert parent.info.run_name == "kdbench run toy"
    assert {run.info.status, parent.info.status} == {"FINISHED"}
    assert run.info.end_time - run.info.start_time == 8000
    assert run.info.end_time == 1767323045000
    assert run.data.params == {
        "student": "small", "teacher": "large", "seed": "0", "epochs": "2", "temperature": "4.0", "method.seed": "odd"
    }  # fmt: skip
    tags = {name.removeprefix("kdbench."): v for name, v in run.data.tags.items() if name.startswith("kdbench.")}
    assert tags == {
        "key": entry.record.key, "record": entry.record.sha256, "method": "kd", "row": "kd[temperature=4.0]",
        "version": "2", "distribution": "kdbench 0.1.0", "scheme": "offline", "knowledge": "response",
        "pair": "large:small", "student": "small", "teacher": "large", "seed": "0", "status": "done",
        "fingerprint": entry.record.fingerprint, "off_protocol": "2 epochs instead of 20",
    }  # fmt: skip
    assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id

    expected = entry.record.main.metrics
    final = {"top1": expected.top1, "nll": expected.nll, "ece": expected.ece, "parameters": 10, "macs": 20}
    same = 100 * np.mean(entry.evidence.predicted == teacher.predicted)
    assert run.data.metrics == pytest.approx(
        final | {f"peer_1/{name}": value for name, value in final.items()}
        | {"train_seconds": 8.0, "agreement": same, "curve/loss": 1.0, "curve/kd__T__": 0.25}
    )  # fmt: skip
    client = mlflow.MlflowClient(database)
    history = client.get_metric_history(run.info.run_id, "curve/loss")
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.0)]
    written = client.download_artifacts(run.info.run_id, "record.json", str(tmp_path))
    assert Path(written).read_text() == (entry.folder / "record.json").read_text()


def test_a_cell_is_mirrored_once(database, suite, notices, tmp_path):
    entries = [cell(tmp_path, suite, seed) for seed in range(3)]
    with Mirror(database, notices.append, "first") as mirror:
        assert all(mirror.add(entry) for entry in [*entries[:2], *entries[:2]])
        assert mirror.written == 2
    with Mirror(database, notices.append, "second") as mirror:
        assert all(mirror.add(entry) for entry in entries)
        assert mirror.written == 1
    with Mirror(database, notices.append, "third") as mirror:
        assert all(mirror.add(entry) for entry in entries)
        assert mirror.written == 0
    cells, parents = runs_of(database, suite)
    assert sorted(run.data.tags["kdbench.seed"] for run in cells) == ["0", "1", "2"]
    assert {parent.info.run_name for parent in parents} == {"first", "second"}  # the third had nothing to write
    assert notices == []


def test_what_is_mirrored_is_found_over_several_pages(database, suite, notices, tmp_path, monkeypatch):
    monkeypatch.setattr("kdbench.running.mlflow_mirror.RUNS_PER_PAGE", 2)
    entries = [cell(tmp_path, suite, seed) for seed in range(5)]
    for written in (5, 0):
        with Mirror(database, notices.append, "run") as mirror:
            assert all(mirror.add(entry) for entry in entries)
        assert mirror.written == written


def test_an_interrupted_run_is_replaced(database, suite, notices, tmp_path, monkeypatch):
    entry = cell(tmp_path, suite)
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "log_text", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt), Mirror(database, notices.append, "interrupted") as mirror:
            mirror.add(entry)
    ((half,), (parent,)) = runs_of(database, suite)
    assert half.info.status == "RUNNING"
    assert parent.info.status == "FINISHED"

    with Mirror(database, notices.append, "again") as mirror:
        assert mirror.add(entry)
    ((run,), _) = runs_of(database, suite)
    assert (run.info.status, mirror.written) == ("FINISHED", 1)
    assert run.info.run_id != half.info.run_id
    assert notices == []


def test_a_cell_that_was_trained_again_replaces_its_run(database, suite, notices, tmp_path):
    old = cell(tmp_path, suite)
    new = cell(tmp_path, suite, finished="2026-01-03T03:04:05+00:00")
    for entry in (old, new):
        with Mirror(database, notices.append, "run") as mirror:
            assert mirror.add(entry)
        assert mirror.written == 1
    ((run,), _) = runs_of(database, suite)
    assert run.data.tags["kdbench.record"] == new.record.sha256 != old.record.sha256


def test_a_cell_that_does_not_apply_has_tags_and_no_metrics(database, suite, notices, tmp_path):
    none = {"networks": [], "curve": None, "cost": None, "evidence_sha256": None}
    entry = cell(tmp_path, suite, status="not_applicable", reason="no feature maps", teachers=[], **none)
    with Mirror(database, notices.append, "run") as mirror:
        assert mirror.add(entry, evidence(7))
    ((run,), _) = runs_of(database, suite)
    assert run.data.metrics == {}
    assert run.data.tags["kdbench.status"] == "not_applicable"
    assert run.data.tags["kdbench.reason"] == "no feature maps"
    assert run.data.tags["kdbench.pair"] == "small"
    assert "kdbench.teacher" not in run.data.tags


def test_more_than_one_request_holds_is_written(database, suite, notices, tmp_path):
    curve = {name: [1.0] * 700 for name in ("loss", "test_top1")}
    entry = cell(tmp_path, suite, params={f"p{n}": n for n in range(120)}, curve=curve, recipe={"epochs": 700})
    with Mirror(database, notices.append, "run") as mirror:
        assert mirror.add(entry)
    ((run,), _) = runs_of(database, suite)
    assert len(run.data.params) == 124
    assert len(mlflow.MlflowClient(database).get_metric_history(run.info.run_id, "curve/test_top1")) == 700


def test_a_teacher_is_not_mirrored(suite, notices, tmp_path):
    entry = cell(tmp_path, suite)
    teacher = entry.record.main.model_copy(update={"role": "teacher"})
    record = entry.record.model_copy(update={"kind": "teacher", "networks": [teacher]}).sealed()
    with Mirror(f"sqlite:///{tmp_path}/none.db", notices.append, "run") as mirror:
        assert not mirror.add(Entry(record, entry.evidence, entry.folder))
    assert not (tmp_path / "none.db").exists()
    assert notices == []


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
