"""The suite behind a record is found: built in, given, or by its name beside the records."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from kdbench.commands import track
from kdbench.commands.own_suites import known_test_labels, suite_of
from kdbench.errors import KdbenchError
from kdbench.suites import load_suite, load_test_labels


def test_a_suite_of_one_s_own_is_found_beside_its_records(small_suite: Path, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("not [ TOML")
    assert suite_of("small", None, tmp_path / "runs") == load_suite(str(small_suite))
    assert suite_of("digits", None, tmp_path / "runs") == load_suite("digits")


def test_a_file_that_lies_elsewhere_is_asked_for(small_suite: Path, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match=r"'small' is not built in.*--suite"):
        suite_of("small", None, tmp_path / "deep" / "runs")
    assert suite_of("small", str(small_suite), tmp_path / "deep" / "runs").name == "small"


def test_another_suite_than_the_record_s_is_refused(small_suite: Path, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="is suite 'small', and the record is of 'photos'"):
        suite_of("photos", str(small_suite), tmp_path)


def test_labels_that_kdbench_does_not_ship_are_those_of_the_data() -> None:
    digits = load_suite("digits")
    data = digits.data.model_copy(update={"test_labels_sha256": None})
    mine = digits.model_copy(update={"name": "mine", "data": data})
    assert np.array_equal(known_test_labels(mine), load_test_labels(digits))


def test_track_asks_for_the_teacher_of_one_s_own_suite(
    small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(track, "find_teacher", lambda suite, name, *_: asked.append((suite.name, name)))
    monkeypatch.setattr(track, "with_sources", lambda suite: suite)
    said: list[str] = []
    protocol = load_suite(str(small_suite)).protocol()
    record: Any = SimpleNamespace(suite="small", teacher="resnet8", seed=0, protocol=protocol)
    track.known_teacher(record, None, tmp_path / "runs", None, said.append)
    assert (asked, said) == ([("small", "resnet8")], [])
    shutil.move(small_suite, tmp_path / "gone")
    assert track.known_teacher(record, None, tmp_path / "runs", None, said.append) is None
    assert "go without the agreement" in said[0]
