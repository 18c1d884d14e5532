"""A broken record costs its row, visibly, and never the build; nothing here needs torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kdbench.suite import Suite
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import standings


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results, tmp_path / "results")
    return tmp_path / "results"


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_every_record_of_valid_results_is_read_and_verified(results: Path, suite: Suite):
    store = read_store(results, None)
    assert store.problems == []
    assert len(store.cells) == sum(len(lines_of(path)) for path in results.glob("digits/*/records.jsonl"))
    assert {cell.level for cell in store.cells} == {1}  # recomputed from evidence and labels


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
