"""Teachers whose weights do not lie beside their record are fetched from where the suite says."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from kdbench.errors import KdbenchError
from kdbench.plugins import load_method
from kdbench.records.keys import teacher_key
from kdbench.running.plan import plan_teacher
from kdbench.running.teachers import BASELINE, find_teacher
from kdbench.suite import Suite
from kdbench.suites import SUITES, load_suite
from kdbench.tables import Weights

SHIPPED = SUITES / "digits" / "teachers"
FIRST = find_teacher(load_suite("digits"), "resnet8", None, print)
assert FIRST is not None
FILE = FIRST.path


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """A server on this machine that has the weights, and a broken copy of them."""
    folder = tmp_path / "served"
    folder.mkdir()
    shutil.copy(FILE, folder / "whole")
    (folder / "broken").write_bytes(FILE.read_bytes()[:-1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Accepted results with the teachers' records and without their weights; none ship, and the cache is empty."""
    folder = tmp_path / "results" / "digits" / "teachers"
    folder.mkdir(parents=True)
    for name in ("records.jsonl", "evidence.parquet"):
        shutil.copy(SHIPPED / name, folder / name)
    monkeypatch.setattr("kdbench.running.teachers.SUITES", tmp_path / "none")
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


def suite_with(digits: Suite, results: Path, address: str) -> Suite:
    found = find_teacher(digits.model_copy(update={"weights": {}}), "resnet8", results, print)
    assert found is None  # without the address
    from kdbench.hashing import file_sha256

    return digits.model_copy(
        update={"weights": {"resnet8": Weights(address=address, sha256=file_sha256(FILE))}, "teachers_each": 1}
    )


def test_weights_are_fetched_once_and_verified(digits: Suite, results: Path, address: str) -> None:
    suite = suite_with(digits, results, f"{address}/whole")
    teacher = find_teacher(suite, "resnet8", results, print)
    assert teacher is not None
    assert teacher.path.read_bytes() == FILE.read_bytes()
    assert not any(p.requires_grad for p in teacher.load(suite).parameters())
    gone = suite.model_copy(
        update={"weights": {"resnet8": Weights(address="http://127.0.0.1:9/", sha256=teacher.sha256)}}
    )
    again = find_teacher(gone, "resnet8", results, print)
    assert again is not None
    assert again.path == teacher.path


@pytest.mark.parametrize(
    ("path", "said"), [("broken", "its SHA-256 differs"), ("nowhere", "cannot be fetched from .*: File not found")]
)
def test_what_cannot_be_had_is_one_line(digits: Suite, results: Path, address: str, path: str, said: str) -> None:
    suite = suite_with(digits, results, f"{address}/{path}")
    with pytest.raises(KdbenchError, match=said):
        find_teacher(suite, "resnet8", results, print)
    assert not list((results.parent / "cache").rglob("*.safetensors"))


def test_a_teacher_of_an_older_version_of_the_plain_method_is_not_found(
    digits: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_teacher(digits, "resnet8", None, print) is not None
    monkeypatch.setattr(load_method(BASELINE), "version", 2)
    assert find_teacher(digits, "resnet8", None, print) is None
    assert plan_teacher(digits, "resnet8").key == teacher_key(digits, "resnet8", 2)
