"""Tuned rows stand apart; rows say whose teachers they had; what the evidence says of classes and teachers is shown."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic_records import make_entry, make_method, write_method
from kdbench.hashing import digest
from kdbench.records.agreement import answers_of
from kdbench.records.classes import write_classes
from kdbench.records.reader import read_results
from kdbench.records.store import finish_cell, write_results
from kdbench.suite import Suite
from kdbench_leaderboard.boards import Board, make_boards
from kdbench_leaderboard.build import about, record_scripts
from kdbench_leaderboard.classes import agreement
from kdbench_leaderboard.headline import headline
from kdbench_leaderboard.page import make_site
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import Standing, standings
from kdbench_leaderboard.teacher_origins import kind
from kdbench_leaderboard.views import ranking, suite_table

TUNED = {"params_source": "tuned", "trials": 8}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> Path:
    """The plain student; KD and another method with the papers' parameters, and both tuned."""
    folder = tmp_path_factory.mktemp("mixed") / "results"
    write_method(folder, suite, make_method("vanilla"), 0.90)
    for name, skill in (("kd", 0.93), ("good", 0.95)):
        entries = write_method(folder, suite, make_method(name), skill)
        entries += write_method(folder, suite, make_method(name), skill + 0.01, variant={}, **TUNED)
        write_results(folder / suite.name / name, entries)
    return folder


@pytest.fixture(scope="module")
def board(mixed: Path) -> tuple[Board, dict[str, Standing]]:
    store = read_store(mixed, None)
    (found,) = make_boards(store)
    return found, {s.row.title: s for s in standings(found, [])}


def test_rows_of_an_equal_budget_are_ranked_among_themselves(board: tuple[Board, dict[str, Standing]]) -> None:
    rows = board[1]
    assert set(rows) == {"vanilla", "kd", "good", "kd[tuned=8]", "good[tuned=8]"}
    assert sorted(rows[name].place or 0 for name in ("vanilla", "kd", "good")) == [1, 2, 3]
    assert sorted(rows[name].place or 0 for name in ("kd[tuned=8]", "good[tuned=8]")) == [1, 2]


def test_tuned_rows_are_held_against_tuned_kd_and_the_plain_student(board: tuple[Board, dict[str, Standing]]) -> None:
    rows = board[1]
    tuned = rows["good[tuned=8]"]
    assert tuned.beside == {"vanilla": "vanilla", "kd": "kd[tuned=8]"}
    means = {name: row.accuracy[0] for name, row in rows.items() if row.accuracy}
    assert tuned.against["kd"].difference.mean == pytest.approx(means["good[tuned=8]"] - means["kd[tuned=8]"])
    assert rows["good"].beside["kd"] == "kd"
    assert rows["vanilla"].against.keys() == {"kd"}


def test_tables_have_a_block_for_each_budget(board: tuple[Board, dict[str, Standing]]) -> None:
    rows = list(board[1].values())
    for table in (suite_table(board[0], rows), ranking(board[0], rows)):
        assert [section for section, _ in table.sections] == [
            "Parameters of papers, the suite or a user",
            "Tuned on validation images, 8 trials a method",
        ]


def test_the_headline_is_of_the_papers_parameters(board: tuple[Board, dict[str, Standing]]) -> None:
    assert not any("tuned" in answer.text for answer in headline(board[0], list(board[1].values())))


def test_a_board_without_tuned_rows_has_one_block(results: Path) -> None:
    (board,) = make_boards(read_store(results, None))
    assert [section for section, _ in suite_table(board, standings(board, [])).sections] == [""]


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        ("weights of its own", "own teacher"),
        ("weights of its own, with the names of RepDistiller's or mdistiller's code", "authors' teacher"),
        ("student of kd (record 0123456789abcdef)", "distilled teacher"),
    ],
)
def test_a_teacher_s_origin_is_said_in_a_few_words(origin: str, said: str) -> None:
    assert kind(origin) == said


def test_a_row_is_marked_by_its_teachers_origin(suite: Suite, labels: np.ndarray, tmp_path: Path) -> None:
    pair = suite.pairs[0]
    teachers = [{"model": pair.teacher, "sha256": digest("own"), "outputs": "live", "origin": "<b>mine</b>"}]
    own = [
        make_entry(suite, labels, make_method("kd"), (pair.teacher, pair.student), seed, 0.93, teachers=teachers)
        for seed in range(suite.seeds)
    ]
    write_results(tmp_path / suite.name / "kd", own)
    (board,) = make_boards(read_store(tmp_path, None))
    (row,) = standings(board, [])
    assert ("own teacher", f"{pair.teacher}: <b>mine</b>") in suite_table(board, [row]).lines[0].cells["method"].tags


def test_agreement_is_with_the_teacher_s_own_predictions(suite: Suite, labels: np.ndarray) -> None:
    pair = suite.pairs[0]
    teacher = make_entry(suite, labels, make_method("vanilla"), (None, pair.teacher), 0, 0.97)
    cell = make_entry(suite, labels, make_method("kd"), (pair.teacher, pair.student), 0, 0.9)
    [one, other] = answers_of([cell, teacher])
    same = 100 * np.mean(one.predicted == other.predicted)
    assert agreement(one, {digest(pair.teacher): other}) == pytest.approx(same)
    assert agreement(one, {digest("another"): other}) is None
    assert agreement(other, {digest(pair.teacher): other}) is None


def test_balanced_accuracy_and_classes_follow_from_the_evidence(mixed: Path, suite: Suite, labels: np.ndarray) -> None:
    store = read_store(mixed, None)
    entries = {e.record.key: e for e in read_results(mixed / suite.name / "good")}
    cell = next(c for c in store.cells if c.record.key in entries)
    evidence = entries[cell.record.key].evidence
    assert evidence is not None
    of_each = [100 * np.mean(evidence.predicted[labels == c] == c) for c in range(10)]
    shown = about(cell, {})
    assert shown["by_class"] == pytest.approx(of_each, abs=0.005)
    assert shown["balanced"] == pytest.approx(np.mean(of_each), abs=1e-3)
    assert "agreement" not in shown


def test_classes_of_one_s_own_data_are_read_beside_the_record_and_escaped(
    suite: Suite, labels: np.ndarray, tmp_path: Path
) -> None:
    mine = suite.model_copy(update={"name": "mine"})
    entry = make_entry(mine, labels, make_method("kd"), (None, "small"), 0, 0.9)
    folder = tmp_path / "runs" / "mine" / "kd" / entry.record.key[:16]
    finish_cell(folder, entry.record, entry.evidence)
    names = ["</script><script>alert(1)</script>", *"123456789"]
    write_classes(folder, names, labels)
    store = read_store(None, tmp_path / "runs")
    text = dict(record_scripts(make_site(store)))["data/cells/mine/kd.js"]
    assert isinstance(text, str)
    assert "<" not in text
    found = json.loads(text[text.index(",{") + 1 : text.rindex(")")])
    assert next(iter(found["classes"].values()))["names"] == names
    write_classes(folder, names, np.roll(labels, 1))
    assert read_store(None, tmp_path / "runs").cells[0].classes is None
