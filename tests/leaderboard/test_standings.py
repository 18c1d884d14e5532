"""Numbers are those of the records; ranks and ties have the properties that a reader takes for granted."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmarks.synthetic_records import make_entry, make_method, make_record, write_method
from kdbench.store import Entry, finish_cell, read_results, write_results
from kdbench.suite import Suite
from kdbench_leaderboard.boards import make_boards, reproduced
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import Standing, standings


def by_name(results: Path, runs: Path | None = None) -> dict[str, Standing]:
    store = read_store(results, runs)
    (board,) = make_boards(store)
    return {s.row.title: s for s in standings(board, store.costs)}


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    shutil.copytree(results, tmp_path / "results")
    return tmp_path / "results"


def test_compute_is_a_multiple_of_the_plain_students_where_both_are_known(results: Path):
    found = by_name(results)
    assert found["peers"].compute == 2.0
    assert found["vanilla"].compute == 1.0
    assert found["good"].compute is None


def test_means_and_intervals_equal_a_direct_calculation(results: Path, suite: Suite):
    found = by_name(results)["good"]
    entries = read_results(results / "digits" / "good")
    tops = np.array(
        [
            [
                next(
                    e.record.main.metrics.top1
                    for e in entries
                    if (e.record.teacher, e.record.student, e.record.seed) == (pair.teacher, pair.student, seed)
                )
                for seed in range(suite.seeds)
            ]
            for pair in suite.pairs
        ]
    )
    by_seed = tops.mean(axis=0)
    half = scipy_stats.t.ppf(0.975, len(by_seed) - 1) * scipy_stats.sem(by_seed)
    assert found.accuracy is not None
    assert found.accuracy == pytest.approx((tops.mean(), half))
    for pair, row in zip(suite.pairs, tops, strict=True):
        accuracy = found.pairs[pair.teacher, pair.student].accuracy
        assert accuracy is not None
        assert accuracy[0] == pytest.approx(row.mean())


def test_the_gain_is_the_difference_of_means(results: Path):
    found = by_name(results)
    for s in found.values():
        if s.gain:
            assert s.accuracy
            assert found["vanilla"].accuracy
            assert s.gain.mean == pytest.approx(s.accuracy[0] - found["vanilla"].accuracy[0])


def test_what_is_better_by_far_is_alone_and_what_is_worse_is_last(results: Path):
    found = by_name(results)
    assert [s.row.name for s in found.values() if s.group == 1] == ["good"]
    assert found["bad"].group == max(s.group for s in found.values() if s.group)
    assert found["good"].not_better_than == []
    assert {"vanilla", "smoothing", "kd"} <= set(found["bad"].not_better_than)


def test_two_copies_of_one_method_tie(copy: Path, suite: Suite, labels: np.ndarray):
    entries = read_results(copy / "digits" / "good")
    twins = []
    for entry in entries:
        record = entry.record.model_copy(
            update={"method": entry.record.method.model_copy(update={"name": "twin"}), "curve": None}
        )
        twins.append(Entry(record.sealed(), entry.evidence, entry.folder))
    write_results(copy / "digits" / "twin", twins)
    found = by_name(copy)
    assert found["twin"].group == found["good"].group == 1
    assert found["twin"].accuracy == found["good"].accuracy


def test_adding_a_method_does_not_move_the_difference_of_two_others(copy: Path, suite: Suite):
    before = by_name(copy)["good"].against["kd"].difference
    write_method(copy, suite, make_method("newcomer"), 0.99)
    assert by_name(copy)["good"].against["kd"].difference == before


def test_an_incomplete_row_is_shown_and_not_ranked(results: Path):
    half = by_name(results)["half"]
    assert half.group is None
    assert half.rank is None
    assert half.gaps == ["resnet8:vit_w16: no record"]
    assert half.pairs["resnet8", "resnet8_w4"].accuracy is not None


def test_a_cell_that_is_not_applicable_says_why(copy: Path, suite: Suite, labels: np.ndarray):
    method = make_method("picky")
    entries = [make_entry(suite, labels, method, ("resnet8", "resnet8_w4"), seed, 0.95) for seed in range(5)]
    refused = make_record(
        suite, method, ("resnet8", "vit_w16"), 0, status="not_applicable", reason="needs feature maps", cost=None
    )
    write_results(copy / "digits" / "picky", [*entries, Entry(refused, None, copy)])
    found = by_name(copy)["picky"]
    assert "resnet8:vit_w16: not applicable: needs feature maps" in found.gaps


def test_a_method_without_a_teacher_stands_under_every_pair_of_its_student(results: Path):
    plain = by_name(results)["vanilla"]
    one, other = plain.pairs["resnet8", "resnet8_w4"], plain.pairs["vit", "resnet8_w4"]
    assert one.accuracy == other.accuracy
    assert one.accuracy is not None


def test_of_two_versions_the_newer_counts(copy: Path, suite: Suite, labels: np.ndarray):
    old = read_results(copy / "digits" / "kd")
    new = [
        make_entry(
            suite, labels, make_method("kd", version=2), (e.record.teacher, e.record.student), e.record.seed, 0.99
        )
        for e in old
    ]
    write_results(copy / "digits" / "kd", [*old, *new])
    kd = by_name(copy)["kd"]
    assert kd.row.info.version == 2
    assert kd.row.older == len(old)
    assert kd.group == 1


def test_under_another_teacher_nothing_is_compared(copy: Path, suite: Suite, labels: np.ndarray, tmp_path: Path):
    teachers = [{"model": "resnet8", "sha256": "f" * 64, "outputs": "live"}]
    for seed in range(5):
        entry = make_entry(suite, labels, make_method("kd"), ("resnet8", "vit_w16"), seed, 0.99, teachers=teachers)
        folder = tmp_path / "runs" / "digits" / "kd" / entry.record.key[:16]
        record = entry.record.model_copy(update={"key": f"{seed}" * 64}).sealed()
        finish_cell(folder.with_name(record.key[:16]), record, entry.evidence)
    mine = by_name(copy, tmp_path / "runs")["kd (yours)"]
    assert mine.group is None
    assert any("teacher other than" in gap for gap in mine.gaps)
    assert mine.pairs["resnet8", "vit_w16"].gain is None


def test_your_copy_of_accepted_records_adds_no_row_and_is_told(copy: Path, tmp_path: Path):
    for entry in read_results(copy / "digits" / "good"):
        folder = tmp_path / "runs" / "digits" / "good" / entry.record.key[:16]
        finish_cell(folder, entry.record, entry.evidence)
    assert set(by_name(copy, tmp_path / "runs")) == set(by_name(copy))
    assert reproduced(read_store(copy, tmp_path / "runs")) == {("digits", "good"): (20, 20)}


def test_a_seed_of_a_suite_that_kdbench_does_not_know_may_be_any_number(copy: Path, suite: Suite, labels: np.ndarray):
    strange = suite.model_copy(update={"name": "strange"})
    entries = [
        make_entry(strange, labels, make_method("kd"), ("resnet8", "vit_w16"), seed, 0.9, key=f"{n}" * 64)
        for n, seed in enumerate((3, 10**15))
    ]
    write_results(copy / "strange" / "kd", entries)
    store = read_store(copy, None)
    board = next(b for b in make_boards(store) if b.suite == "strange")
    assert board.seeds == [3, 10**15]
    (kd,) = standings(board, [])
    assert kd.gaps == []
    assert kd.group == 1


def test_quick_looks_and_validation_runs_are_never_ranked(copy: Path, suite: Suite, labels: np.ndarray):
    short = suite.with_epochs(3)
    entry = make_entry(short, labels, make_method("quick"), ("resnet8", "vit_w16"), 0, 0.99, off_protocol=["epochs: 3"])
    write_results(copy / "digits" / "quick", [entry])
    assert "quick" not in by_name(copy)


def test_records_of_another_protocol_are_a_board_of_their_own(copy: Path, suite: Suite):
    other = suite.model_copy(update={"revision": 2})
    write_method(copy / "second", other, make_method("late"), 0.99)
    shutil.copytree(copy / "second" / "digits" / "late", copy / "digits" / "late")
    shutil.rmtree(copy / "second")
    boards = make_boards(read_store(copy, None))
    assert [(b.main, b.current) for b in boards] == [(True, True), (False, False)]
    assert "late" not in {row.name for row in boards[0].rows}
