"""One reader of a records folder: an entry for each good record, a problem with its place for all else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.synthetic_records import make_method, write_method
from kdbench.errors import KdbenchError
from kdbench.records.reader import Problem, Reader, read_results
from kdbench.records.store import CURVES, EVIDENCE, RECORDS, Entry
from kdbench.suites import load_suite


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_method(tmp_path, load_suite("digits"), make_method("vanilla"), 0.9)
    return tmp_path / "digits" / "vanilla"


def read(folder: Path) -> tuple[list[Entry], list[Problem]]:
    found = list(Reader().contents(folder).entries())
    return [e for e in found if isinstance(e, Entry)], [p for p in found if isinstance(p, Problem)]


def test_a_whole_folder_has_entries_with_curves_and_no_problems(folder: Path) -> None:
    entries, problems = read(folder)
    assert problems == []
    assert all(entry.evidence is not None and entry.record.curve for entry in entries)
    assert len(entries) == len(read_results(folder)) == len((folder / RECORDS).read_text().splitlines())


def test_a_folder_without_records_is_empty(tmp_path: Path) -> None:
    assert read(tmp_path) == ([], [])


def test_a_broken_line_is_a_problem_with_file_and_line_and_the_others_are_read(folder: Path) -> None:
    lines = (folder / RECORDS).read_text().splitlines()
    (folder / RECORDS).write_text("\n".join([lines[0], "{}", *lines[2:]]) + "\n")
    entries, [problem] = read(folder)
    assert len(entries) == len(lines) - 1
    assert problem.where == f"{folder / RECORDS}:2"
    assert problem.what.startswith("is no valid record")


def test_missing_evidence_is_a_problem_of_the_file_and_of_each_record(folder: Path) -> None:
    (folder / EVIDENCE).unlink()
    entries, problems = read(folder)
    assert entries == []
    assert [p.where for p in problems[:2]] == [str(folder / EVIDENCE), f"{folder / RECORDS}:1"]
    with pytest.raises(KdbenchError, match="cannot be read"):
        read_results(folder)


def test_broken_curves_cost_the_curves_alone(folder: Path) -> None:
    (folder / CURVES).write_bytes(b"no parquet")
    entries, [problem] = read(folder)
    assert problem.where == str(folder / CURVES)
    assert entries
    assert not any(entry.record.curve for entry in entries)
    assert len(read_results(folder)) == len(entries)
