"""A change of accepted results tells of each row that it replaces, once, in a new line; it verifies nothing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.synthetic_records import make_method, write_method
from kdbench.records.gate_change import change_problems
from kdbench.records.reader import read_results
from kdbench.records.verification import Verification, add_verified
from kdbench.records.withdrawn import FILE, add_superseded, place_of
from kdbench.suite import Suite
from kdbench.suites import load_suite

Change = Callable[[Path], object]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two rows, with a line of an earlier replacement and a verification."""
    results = tmp_path_factory.mktemp("made") / "results"
    suite = small(load_suite("digits"))
    for name in ("vanilla", "kd"):
        entry = write_method(results, suite, make_method(name), 0.9)[0]
    add_superseded(results / FILE, place_of(entry.record), "an earlier fault")
    add_verified(results / "digits" / "kd", [said(entry.record.key, entry.record.sha256, 2)])
    return results


def small(suite: Suite) -> Suite:
    return suite.model_copy(update={"seeds": 1, "pairs": suite.pairs[:1]})


def said(key: str, sha256: str, level: int, date: str = "2026-01-01") -> Verification:
    about = {"key": key, "record_sha256": sha256, "level": level, "outcome": "", "date": date, "environment": {}}
    return Verification.model_validate(about)


def problems(before: Path, tmp_path: Path, change: Change) -> list[str]:
    """What is said of a change of the results."""
    after = tmp_path / "after"
    shutil.copytree(before, after)
    change(after)
    folders = [path for path in after.glob("*/*") if path.is_dir()]
    records = [entry.record for folder in folders for entry in read_results(folder)]
    return [what for _, what in change_problems(after, before, records)]


def replace(results: Path) -> None:
    write_method(results, small(load_suite("digits")), make_method("kd"), 0.95)
    (results / "digits" / "kd" / "verified.jsonl").unlink()


def tell(results: Path, status: str = "superseded") -> None:
    path = results / FILE
    record = read_results(results / "digits" / "vanilla")[0].record
    add_superseded(path, (record.suite, "kd", record.method.version, record.fingerprint[:12]), "a fault")
    path.write_text(path.read_text().replace("superseded | a f", f"{status} | a f"))


def cut(results: Path) -> None:
    path = results / FILE
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def both(*changes: Change) -> Change:
    return lambda results: [change(results) for change in changes]


def remove(results: Path) -> None:
    shutil.rmtree(results / "digits" / "kd")


def verify(results: Path) -> None:
    record = read_results(results / "digits" / "vanilla")[0].record
    add_verified(results / "digits" / "vanilla", [said(record.key, record.sha256, 3, "2099-01-01")])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda results: None, []),
        (replace, ["no new line says why"]),  # the earlier line is no reason
        (both(replace, tell), []),
        (both(replace, tell, tell), ["2 new lines tell of 'kd'"]),
        (both(tell), ["nothing of it is gone or replaced"]),
        (remove, ["no new line says why"]),
        (both(remove, lambda r: tell(r, "withdrawn")), []),
        (both(remove, tell), ["superseded, and nothing stands in its place"]),
        (cut, ["lines that were there are gone or changed"]),
        (lambda results: (results / FILE).unlink(), ["lines that were there are gone or changed"]),
        (lambda r: (r / FILE).write_text((r / FILE).read_text().replace("an earlier", "no")), ["gone or changed"]),
        (verify, ["the board's own verification alone counts"]),
        (
            lambda r: (r / "digits" / "kd" / "verified.jsonl").unlink(),
            ["records that are still here are gone"],
        ),
    ],
)
def test_what_a_change_may_do(change: Change, expected: list[str], made: Path, tmp_path: Path) -> None:
    found = problems(made, tmp_path, change)
    assert len(found) == len(expected), found
    assert all(said in what for said, what in zip(expected, found, strict=True)), found


def test_a_record_of_before_that_cannot_be_read_is_told(made: Path, tmp_path: Path) -> None:
    before = tmp_path / "before"
    shutil.copytree(made, before)
    (before / "digits" / "kd" / "records.jsonl").write_text("{}\n")
    records = [entry.record for name in ("vanilla", "kd") for entry in read_results(made / "digits" / name)]
    assert any("cannot be told what becomes of it" in what for _, what in change_problems(made, before, records))
