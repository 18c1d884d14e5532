"""A record is whole, finite and unchanged, or it is no record."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from kdbench.errors import KdbenchError
from kdbench.records.reader import read_results
from kdbench.records.record import Record, parse_record
from kdbench.records.store import write_results
from kdbench.suites import SUITES

FOLDER = SUITES / "digits" / "teachers"


@pytest.fixture
def record() -> Record:
    return read_results(FOLDER)[0].record


def changed(record: Record, **changes: Any) -> str:
    return json.dumps({**json.loads(record.to_json()), **changes})


def test_a_record_survives_its_file(record: Record) -> None:
    assert parse_record(record.to_json(), "here") == record


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "does not match its hash"),
        ({"sha256": "0" * 64}, "does not match its hash"),
        ({"surprise": 1}, "unknown key 'surprise'"),
        ({"schema_version": 2}, "schema_version"),
        ({"suite": "../../etc"}, "suite"),
        ({"key": "abc"}, "key"),
        ({"networks": []}, "exactly one teacher"),
        ({"kind": "cell"}, "exactly one student"),
        ({"evidence_sha256": None}, "evidence_sha256"),
        ({"fingerprint": "0" * 64}, "fingerprint does not follow"),
        ({"status": "not_applicable"}, "reason is missing"),
        ({"seed": "0"}, "seed"),
    ],
)
def test_a_changed_record_is_refused_in_one_line(changes: dict[str, Any], said: str, record: Record) -> None:
    with pytest.raises(KdbenchError, match=said) as caught:
        parse_record(changed(record, **changes), "file:3")
    assert str(caught.value).startswith("file:3")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_never_pass(value: float, record: Record) -> None:
    assert record.cost is not None
    with pytest.raises(KdbenchError):
        parse_record(changed(record, cost={**record.cost.model_dump(), "train_seconds": value}), "here")
    with pytest.raises((KdbenchError, ValueError)):
        record.model_copy(update={"curve": {"loss": [value]}}).sealed()


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", "\x00"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(KdbenchError, match="no valid record"):
        parse_record(text, "here")


def test_a_changed_curve_is_noticed(record: Record) -> None:
    sealed = record.model_copy(update={"curve": {"loss": [1.0, 0.5]}}).sealed()
    assert parse_record(sealed.to_json(), "here").curve == {"loss": [1.0, 0.5]}
    with pytest.raises(KdbenchError, match="does not match its hash"):
        parse_record(changed(sealed, curve={"loss": [1.0, 0.4]}), "here")
    assert parse_record(sealed.to_json(curve=False), "here").curve is None


def test_results_give_back_what_was_folded_in_a_stable_order(tmp_path: Path) -> None:
    entries = read_results(FOLDER)
    write_results(tmp_path / "a", entries)
    write_results(tmp_path / "b", entries[::-1])
    assert (tmp_path / "a" / "records.jsonl").read_bytes() == (tmp_path / "b" / "records.jsonl").read_bytes()
    assert [e.record for e in read_results(tmp_path / "a")] == [e.record for e in entries]


def test_evidence_that_is_not_the_records_is_named(tmp_path: Path) -> None:
    one, other, *_ = read_results(FOLDER)
    write_results(tmp_path, [one, other])
    swapped = type(one)(one.record, other.evidence, one.folder)
    write_results(tmp_path / "bad", [swapped])
    with pytest.raises(KdbenchError, match=r"evidence\.parquet is corrupt"):
        read_results(tmp_path / "bad")


def test_a_bad_line_is_named_by_file_and_line(tmp_path: Path) -> None:
    write_results(tmp_path, entries := read_results(FOLDER))
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(KdbenchError, match=rf"records\.jsonl:{len(entries) + 1} is no valid record"):
        read_results(tmp_path)


def test_records_name_no_host_user_or_path() -> None:
    text = (FOLDER / "records.jsonl").read_text()
    assert not [word for word in ("/home", "/root", "/tmp", "hostname", "user") if word in text]


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"\x00\n", b"[" * 5000])
def test_hostile_lines_are_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "records.jsonl").write_bytes(content)
    with pytest.raises(KdbenchError, match=r"records\.jsonl:1") as caught:
        read_results(tmp_path)
    assert "\n" not in str(caught.value)


def test_line_separators_inside_a_record_do_not_split_it(record: Record, tmp_path: Path) -> None:
    entry = read_results(FOLDER)[0]
    method = record.method.model_copy(update={"docstring": "one\u2028two\u0085three"})
    odd = record.model_copy(update={"method": method}).sealed()
    write_results(tmp_path, [type(entry)(odd, entry.evidence, tmp_path)])
    assert read_results(tmp_path)[0].record == odd
