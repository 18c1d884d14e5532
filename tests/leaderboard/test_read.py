"""A broken record costs its row, visibly, and never the build; nothing here needs torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.synthetic_records import make_method, write_method
from kdbench.records.reader import read_results
from kdbench.records.verification import Verification, add_verified
from kdbench.suite import Suite
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.build import build
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import standings
from kdbench_leaderboard.views import method_cell


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_every_record_of_valid_results_is_read_and_verified(results: Path, suite: Suite):
    store = read_store(results, None)
    assert store.problems == []
    assert len(store.cells) == sum(len(lines_of(path)) for path in results.glob("digits/*/records.jsonl"))
    assert {cell.level for cell in store.cells} == {1}  # recomputed from evidence and labels


def test_an_accepted_teacher_is_on_the_board_before_any_record_of_a_student_that_reads_it(copy: Path):
    for folder in (copy / "digits").iterdir():
        if folder.name not in ("vanilla", "teachers"):
            shutil.rmtree(folder)
    (board,) = make_boards(read_store(copy, None))
    assert board.teachers
    assert {(one.record.suite, one.record.is_teacher) for several in board.teachers.values() for one in several} == {
        ("digits", True)
    }
    assert board.teachers.keys() <= {teacher for teacher, _ in board.pairs}


@pytest.mark.parametrize(
    "damage",
    [
        "no json",
        "{}",
        "[" * 100_000,
        '{"schema_version": 2}',
        "\x00\xff",
        "",
    ],
)
def test_a_broken_line_costs_that_record_alone(copy: Path, damage: str):
    path = copy / "digits" / "kd" / "records.jsonl"
    lines = lines_of(path)
    path.write_text("\n".join([damage, *lines[1:]]) + "\n", encoding="utf-8")
    store = read_store(copy, None)
    assert sum(cell.record.method.name == "kd" for cell in store.cells) == len(lines) - 1
    (problem,) = store.problems
    assert (problem.suite, problem.method) == ("digits", "kd")
    assert "records.jsonl:1" in problem.what
    (board,) = make_boards(store)
    kd = next(s for s in standings(board, []) if s.row.name == "kd")
    assert kd.place is None
    assert "no record of seed" in kd.gaps[0]


def test_a_changed_number_is_found(copy: Path):
    path = copy / "digits" / "kd" / "records.jsonl"
    lines = lines_of(path)
    record = json.loads(lines[0])
    record["networks"][0]["metrics"]["top1"] = 99.9
    path.write_text("\n".join([json.dumps(record), *lines[1:]]), encoding="utf-8")
    assert "corrupt" in read_store(copy, None).problems[0].what


def test_metrics_that_do_not_follow_from_the_evidence_are_not_shown(copy: Path):
    from kdbench.records.record import Record

    path = copy / "digits" / "kd" / "records.jsonl"
    lines = lines_of(path)
    record = Record.model_validate_json(lines[0])
    network = record.networks[0]
    better = network.model_copy(update={"metrics": network.metrics.model_copy(update={"top1": 99.9})})
    forged = record.model_copy(update={"networks": [better]}).sealed()
    path.write_text("\n".join([forged.to_json(curve=False), *lines[1:]]), encoding="utf-8")
    store = read_store(copy, None)
    assert "does not follow from its evidence" in store.problems[0].what
    assert forged.key not in {cell.record.key for cell in store.cells}


def test_missing_or_broken_evidence_costs_its_method_alone(copy: Path):
    (copy / "digits" / "kd" / "evidence.parquet").write_bytes(b"PAR1 nothing")
    (copy / "digits" / "bad" / "evidence.parquet").unlink()
    store = read_store(copy, None)
    names = {cell.record.method.name for cell in store.cells}
    assert "kd" not in names
    assert "bad" not in names
    assert {"good", "vanilla"} <= names
    assert {problem.method for problem in store.problems} == {"kd", "bad"}


def test_a_record_in_another_methods_folder_is_not_shown(copy: Path):
    shutil.copytree(copy / "digits" / "kd", copy / "digits" / "other")
    store = read_store(copy, None)
    assert all("lies in 'digits/other'" in problem.what for problem in store.problems)
    assert len({cell.record.key for cell in store.cells}) == len(store.cells)


def test_folders_with_names_that_kdbench_gives_nobody_are_told(copy: Path):
    (copy / "digits" / "<img src=x>").mkdir()
    assert "<img src=x>" in read_store(copy, None).problems[0].what


def test_messages_do_not_tell_where_results_lie(copy: Path):
    (copy / "digits" / "kd" / "records.jsonl").write_text("broken\n", encoding="utf-8")
    assert all(str(copy) not in problem.what for problem in read_store(copy, None).problems)


def test_nothing_in_the_leaderboard_imports_torch():
    code = (
        "import sys, kdbench_leaderboard.build, kdbench_leaderboard.serve; "
        "sys.exit(any(name.split('.')[0] in ('torch', 'timm') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def runs(results: Path, tmp_path: Path) -> Path:
    """A folder of runs with one good cell."""
    from kdbench.records.reader import Reader
    from kdbench.records.store import Entry, finish_cell

    entry = next(e for e in Reader().contents(results / "digits" / "kd").entries() if isinstance(e, Entry))
    finish_cell(tmp_path / "runs" / "digits" / "kd" / entry.record.key[:16], entry.record, entry.evidence)
    return tmp_path / "runs"


def test_links_pipes_and_giants_cost_their_row(runs: Path):
    """None of them is opened: a pipe would wait for ever, the device never end."""
    kd = runs / "digits" / "kd"
    (good,) = kd.iterdir()
    makers = {
        "0" * 16: lambda path: os.mkfifo(path / "record.json"),
        "1" * 16: lambda path: (path / "record.json").symlink_to("/dev/zero"),
        "2" * 16: lambda path: ((path / "record.json").touch(), os.truncate(path / "record.json", 2**40)),
    }
    for name, make in makers.items():
        (kd / name).mkdir()
        make(kd / name)
    (kd / ("3" * 16)).symlink_to(good)
    (runs / "digits" / "linked").symlink_to("/etc")
    (runs / "digits" / "failures").mkdir()
    os.mkfifo(runs / "digits" / "failures" / "kd-x.log")
    os.mkfifo(kd / "verified.jsonl")
    store = read_store(None, runs)
    assert [cell.record.method.name for cell in store.cells] == ["kd"]
    said = " ".join(problem.what for problem in store.problems)
    for what in ("is no file", "is a link", "is over", "linked' is a link: ignored"):
        assert what in said


def test_names_that_are_no_text_cost_their_row(runs: Path, tmp_path: Path):
    (runs / os.fsdecode(b"sui\xffte")).mkdir()
    (runs / "digits" / os.fsdecode(b"met\xffhod")).mkdir()
    (runs / "digits" / "kd" / os.fsdecode(b"\xff" * 16)).mkdir()
    (runs / "digits" / "failures").mkdir()
    (runs / "digits" / "failures" / os.fsdecode(b"k\xff-x.log")).write_text("a\nb")
    (tmp_path / "none").mkdir()
    site = build(tmp_path / "site", tmp_path / "none", runs)
    assert len(site.store.cells) == 1
    assert len(site.store.problems) == 2
    assert "b" in (tmp_path / "site" / "state.html").read_text(encoding="utf-8")


def test_pipes_and_links_in_results_are_problems(copy: Path):
    for name in ("WITHDRAWN.md", "digits/kd/verified.jsonl"):
        (copy / name).unlink(missing_ok=True)
        os.mkfifo(copy / name)
    (copy / "digits" / "good" / "evidence.parquet").unlink()
    (copy / "digits" / "good" / "evidence.parquet").symlink_to("/dev/zero")
    (copy / "digits" / "costs").mkdir()
    os.mkfifo(copy / "digits" / "costs" / "x.json")
    store = read_store(copy, None)
    said = [problem.what for problem in store.problems]
    for name in ("WITHDRAWN.md", "verified.jsonl", "evidence.parquet", "x.json"):
        assert any(name in what and ("is no file" in what or "is a link" in what) for what in said), said
    assert "good" not in {cell.record.method.name for cell in store.cells}


@pytest.mark.parametrize("level", [2, 3])
def test_the_board_says_what_it_trained_again_and_by_whom(copy: Path, level: int):
    before = {s.row.name: s.verified for s in standings(make_boards(read_store(copy, None))[0], [])}
    assert set(before.values()) == {"not verified"}
    record = read_store(copy, None).cells[0].record
    about = {"key": record.key, "record_sha256": record.sha256, "level": level, "outcome": "x", "date": "2026-01-01"}
    said = Verification.model_validate({**about, "environment": {}, "by": "run 7"})
    add_verified(copy / "digits" / record.method.name, [said])
    store = read_store(copy, None)
    rows = {s.row.name: s.verified for s in standings(make_boards(store)[0], [])}
    assert rows[record.row].startswith("1 of ")
    assert "by run 7" in next(cell.verified for cell in store.cells if cell.record.key == record.key)


def test_a_row_of_another_package_is_tagged_until_the_board_trained_some_of_it_again(copy: Path, suite: Suite):
    write_method(copy, suite, make_method("mine", distribution="my-package"), 0.9)

    def tags() -> dict[str, list[str]]:
        rows = standings(make_boards(read_store(copy, None))[0], [])
        return {s.row.name: [tag for tag, _ in method_cell(s).tags] for s in rows}

    found = tags()
    assert "not verified" in found["mine"]
    assert "not verified" not in found["good"]
    record = read_results(copy / "digits" / "mine")[0].record
    about = {"key": record.key, "record_sha256": record.sha256, "level": 2, "outcome": "x", "date": "2026-01-01"}
    add_verified(copy / "digits" / "mine", [Verification.model_validate({**about, "environment": {}})])
    assert "not verified" not in tags()["mine"]
