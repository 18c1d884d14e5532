"""Folders of records brought together: nothing is lost, nothing that is no record comes along."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from kdbench.cli.app import main
from kdbench.errors import KdbenchError
from kdbench.records.locks import key_lock
from kdbench.records.merging import check_source, merge
from kdbench.records.reader import read_results
from kdbench.records.record import parse_record
from kdbench.records.store import Entry, find_results, finish_cell, read_cell, read_runs


@pytest.fixture(scope="module")
def accepted() -> list[Entry]:
    """Real records, with their evidence."""
    results = find_results(None)
    assert results is not None
    return [e for e in read_results(results / "digits" / "kd") if not e.others][:4]


def put(entry: Entry, runs: Path, **changes: object) -> Path:
    """A record in a folder of runs, changed and sealed again."""
    record = entry.record.model_copy(update={"curve": None, **changes}).sealed()
    folder = runs / record.suite / record.method.name / record.key[:16]
    finish_cell(folder, record, entry.evidence)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_overlapping_folders_give_every_record_once(accepted: list[Entry], tmp_path: Path) -> None:
    for entry in accepted[:3]:
        put(entry, tmp_path / "one")
    for entry in accepted[1:]:
        put(entry, tmp_path / "two", finished="2031-01-01T00:00:00+00:00")  # the same result, of another day
    before = content(tmp_path / "one"), content(tmp_path / "two")
    first, second = (merge(tmp_path / name, tmp_path / "all") for name in ("one", "two"))
    assert (first.taken, first.equal, first.problems) == (3, 0, [])
    assert (second.taken, second.equal, second.problems) == (1, 2, [])
    found = {e.record.key: e.record for e in read_runs(tmp_path / "all") if isinstance(e, Entry)}
    assert set(found) == {entry.record.key for entry in accepted}
    assert (content(tmp_path / "one"), content(tmp_path / "two")) == before
    assert merge(tmp_path / "one", tmp_path / "all").equal == 3


def test_conflicts_are_named_and_left(accepted: list[Entry], tmp_path: Path) -> None:
    one, other = accepted[:2]
    mine = put(one, tmp_path / "all")
    theirs = other.evidence
    assert theirs is not None
    changed = put(Entry(one.record, theirs, one.folder), tmp_path / "two", evidence_sha256=theirs.sha256())
    before = content(tmp_path)
    merged = merge(tmp_path / "two", tmp_path / "all")
    assert (merged.taken, merged.equal) == (0, 0)
    [said] = merged.problems
    assert str(changed) in said
    assert str(mine) in said
    assert "with other predictions" in said
    assert content(tmp_path).items() >= before.items()


def test_another_source_of_a_method_is_a_conflict(accepted: list[Entry], tmp_path: Path) -> None:
    put(accepted[0], tmp_path / "all")
    method = accepted[0].record.method.model_copy(update={"source_sha256": "0" * 64})
    put(accepted[0], tmp_path / "two", method=method)
    [said] = merge(tmp_path / "two", tmp_path / "all").problems
    assert "by another source of 'kd'" in said


@pytest.mark.parametrize("damage", ["cut", "link", "foreign file", "moved", "folder", "pipe"])
def test_what_is_no_record_is_left_and_named(damage: str, accepted: list[Entry], tmp_path: Path) -> None:
    folder, good = put(accepted[0], tmp_path / "two"), put(accepted[1], tmp_path / "two")
    record = folder / "record.json"
    match damage:
        case "cut":
            record.write_bytes(record.read_bytes()[:-20])
        case "link":
            record.unlink()
            record.symlink_to("/etc/hostname")
        case "foreign file":
            (folder / "run.sh").write_text("true")
        case "moved":
            folder.rename(folder.with_name("0123456789abcdef"))
        case "folder":
            record.unlink()
            record.mkdir()
        case "pipe":
            record.unlink()
            os.mkfifo(record)
    merged = merge(tmp_path / "two", tmp_path / "all")
    assert merged.taken == 1
    assert len(merged.problems) == 1
    assert "\n" not in merged.problems[0]
    assert [p.name for p in (tmp_path / "all" / "digits" / "kd").iterdir()] == [good.name]


def test_links_are_not_followed(accepted: list[Entry], tmp_path: Path) -> None:
    folder = put(accepted[0], tmp_path / "elsewhere")
    put(accepted[1], tmp_path / "two")
    (tmp_path / "two" / "digits" / "kd" / folder.name).symlink_to(folder)
    merged = merge(tmp_path / "two", tmp_path / "all")
    assert (merged.taken, len(merged.problems)) == (1, 1)
    assert "it is a link" in merged.problems[0]


def test_a_corrupt_record_of_ones_own_is_set_aside(accepted: list[Entry], tmp_path: Path) -> None:
    mine = put(accepted[0], tmp_path / "all")
    (mine / "evidence.parquet").write_bytes(b"")
    put(accepted[0], tmp_path / "two")
    assert merge(tmp_path / "two", tmp_path / "all").taken == 1
    assert read_cell(mine).record.key == accepted[0].record.key
    assert mine.with_name(f"{mine.name}.aside-1").is_dir()


def test_a_cell_that_is_trained_now_is_left(accepted: list[Entry], tmp_path: Path) -> None:
    put(accepted[0], tmp_path / "two")
    record = accepted[0].record
    with key_lock(tmp_path / "all", record.suite, record.key):
        [said] = merge(tmp_path / "two", tmp_path / "all").problems
    assert "in training" in said
    assert merge(tmp_path / "two", tmp_path / "all").taken == 1


def test_the_record_that_comes_second_is_checked_and_dropped(accepted: list[Entry], tmp_path: Path) -> None:
    said: list[str] = []
    folder = put(accepted[0], tmp_path)
    record = parse_record((folder / "record.json").read_bytes(), "")
    again = record.model_copy(update={"finished": "2031-01-01T00:00:00+00:00"}).sealed()
    entry, here = finish_cell(folder, again, accepted[0].evidence, notice=said.append)
    assert (entry.record, here) == (record, False)
    assert "equal predictions" in said.pop()
    other = accepted[1].evidence
    assert other is not None
    wrong = record.model_copy(update={"evidence_sha256": other.sha256()}).sealed()
    entry, here = finish_cell(folder, wrong, other, notice=said.append)
    assert (entry.record, here) == (record, False)
    assert "other predictions" in said.pop()
    assert [p.name.count("aside") for p in sorted(folder.parent.iterdir())] == [0, 1]


@pytest.mark.parametrize(
    ("name", "said"),
    [("nowhere", "No folder"), ("empty", "holds no records"), ("two/digits", "of one suite"), ("all", "--out")],
)
def test_a_folder_that_is_none_is_refused_in_one_line(
    name: str, said: str, accepted: list[Entry], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    put(accepted[0], tmp_path / "two")
    put(accepted[0], tmp_path / "all")
    with pytest.raises(KdbenchError, match=said):
        check_source(tmp_path / name, tmp_path / "all")


def test_the_command_says_what_became_of_each_folder(
    accepted: list[Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(accepted[0], tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["kdbench", "collect", "one", "two"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "one: 1 records taken, 0 there already" in out
    assert "two: 0 records taken, 1 there already" in out
