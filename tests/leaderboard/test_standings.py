"""Numbers are those of the records; ranks have the properties that a reader takes for granted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from benchmarks.synthetic_records import make_entry, make_method, make_record, write_method
from kdbench.records.reader import read_results
from kdbench.records.store import Entry, finish_cell, write_results
from kdbench.suite import Suite
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.seed_views import pair_table
from kdbench_leaderboard.standings import compute_ratio, differences_of, standings
from kdbench_leaderboard.tables import Table
from kdbench_leaderboard.views import suite_table
from tests.boards import by_name


def test_compute_is_a_multiple_of_the_plain_students_where_both_are_known(results: Path):
    found = by_name(results)
    assert found["peers"].compute == 2.0
    assert found["vanilla"].compute == 1.0
    assert found["good"].compute is None


def test_wall_times_are_compared_on_one_kind_of_machine_alone(copy: Path, suite: Suite):
    cost = {"train_seconds": 10.0, "steps": 100, "method_parameters": 0}
    write_method(copy, suite, make_method("slow"), 0.9, cost=cost)
    assert by_name(copy)["slow"].seconds == (10.0, 2.0)
    write_method(copy, suite, make_method("slow"), 0.9, cost=cost, environment={"device": "cpu", "cpu": "another"})
    assert by_name(copy)["slow"].seconds == (10.0, None)


def test_one_slow_training_does_not_change_what_a_row_takes(copy: Path):
    entries = read_results(copy / "digits" / "good")
    first = entries[0].record
    assert first.cost
    late = first.model_copy(update={"cost": first.cost.model_copy(update={"train_seconds": 1000.0})}).sealed()
    before = by_name(copy)["good"].seconds
    write_results(copy / "digits" / "good", [replace(entries[0], record=late), *entries[1:]])
    assert by_name(copy)["good"].seconds == before


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
    assert [s.row.name for s in found.values() if s.ranks and s.ranks[0] == 1] == ["good"]
    assert found["bad"].ranks == (7, 7)
    assert (found["good"].place, found["bad"].place) == (1, 7)
    assert {c.verdict for c in found["good"].against.values()} == {"better"}
    assert {found["bad"].against[name].verdict for name in ("vanilla", "smoothing", "kd")} == {"worse"}


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
    assert found["twin"].ranks == found["good"].ranks == (1, 2)
    assert found["twin"].place == found["good"].place == 1
    assert found["twin"].accuracy == found["good"].accuracy


def test_adding_a_method_does_not_move_the_difference_of_two_others(copy: Path, suite: Suite):
    before = by_name(copy)["good"].against["kd"].difference
    write_method(copy, suite, make_method("newcomer"), 0.99)
    after = by_name(copy)["good"].against["kd"].difference
    assert (after.mean, after.low, after.p_value) == pytest.approx((before.mean, before.low, before.p_value))


def test_an_incomplete_row_is_shown_and_not_ranked(results: Path):
    half = by_name(results)["half"]
    assert half.place is None
    assert half.ranks is None
    assert half.gaps == ["resnet8:vit_w32: no record"]
    assert half.pairs["resnet8", "resnet8_w8"].accuracy is not None


def test_a_cell_that_is_not_applicable_says_why(copy: Path, suite: Suite, labels: np.ndarray):
    method = make_method("picky")
    entries = [make_entry(suite, labels, method, ("resnet8", "resnet8_w8"), seed, 0.95) for seed in range(5)]
    refused = make_record(
        suite, method, ("resnet8", "vit_w32"), 0, status="not_applicable", reason="needs feature maps", cost=None
    )
    write_results(copy / "digits" / "picky", [*entries, Entry(refused, None, copy)])
    found = by_name(copy)["picky"]
    assert "resnet8:vit_w32: not applicable: needs feature maps" in found.gaps


def test_a_method_without_a_teacher_stands_under_every_pair_of_its_student(results: Path):
    plain = by_name(results)["vanilla"]
    one, other = plain.pairs["resnet8", "resnet8_w8"], plain.pairs["vit", "resnet8_w4"]
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
    assert kd.place == 1


def test_under_another_teacher_nothing_is_compared(copy: Path, suite: Suite, labels: np.ndarray, tmp_path: Path):
    teachers = [{"model": "resnet8", "sha256": "f" * 64, "outputs": "live"}]
    for seed in range(5):
        entry = make_entry(suite, labels, make_method("kd"), ("resnet8", "vit_w32"), seed, 0.99, teachers=teachers)
        folder = tmp_path / "runs" / "digits" / "kd" / entry.record.key[:16]
        record = entry.record.model_copy(update={"key": f"{seed}" * 64}).sealed()
        finish_cell(folder.with_name(record.key[:16]), record, entry.evidence)
    mine = by_name(copy, tmp_path / "runs")["kd (yours)"]
    assert mine.place is None
    assert any("teacher other than" in gap for gap in mine.gaps)
    assert mine.pairs["resnet8", "vit_w32"].gain is None


def test_a_set_of_ranks_never_contradicts_the_order(results: Path):
    ranked = [s for s in by_name(results).values() if s.place is not None]
    assert [s.place for s in ranked] == sorted(s.place for s in ranked if s.place is not None)
    assert all(s.ranks and s.ranks[0] <= s.place <= s.ranks[1] for s in ranked if s.place is not None)
    assert all(s.place != 1 and s.ranks[0] == 1 for s in ranked if s.ranks and s.like_the_leader)


def test_who_is_not_separable_from_the_leader_is_told_from_it_by_neither_ones_comparison():
    store = read_store(Path("results"), None)
    for board in make_boards(store):
        ranked = [s for s in standings(board, []) if s.place is not None and s.budget is None]
        if len(ranked) < 2 or not all(s.ranks for s in ranked):
            continue
        told, leaders = differences_of(board, ranked).told, [i for i, s in enumerate(ranked) if s.place == 1]
        for j, s in enumerate(ranked):
            if s.like_the_leader:
                assert all(told[i, j] > 0.05 and told[j, i] > 0.05 for i in leaders)


def test_who_is_level_with_the_leader_over_all_pairs_is_not_said_of_one_pair(copy: Path, suite: Suite):
    write_method(copy, suite, make_method("as_good"), 0.97)
    board = make_boards(read_store(copy, None))[0]
    rows = standings(board, [])

    def tags(table: Table) -> set[str]:
        return {word for line in table.lines for word, _ in line.cells["method"].tags}

    assert "≈ leader" in tags(suite_table(board, rows))
    assert "≈ leader" not in tags(pair_table(board, rows, board.pairs[0]))


def test_rows_stand_in_the_order_of_their_means(results: Path):
    store = read_store(results, None)
    (board,) = make_boards(store)
    means = [s.accuracy[0] for s in standings(board, []) if s.accuracy]
    assert means == sorted(means, reverse=True)
    assert len(means) == 7


def test_colour_says_what_the_verdict_says_in_every_table_of_the_accepted_results():
    """An interval that leaves out 0 before the correction colours nothing."""
    store = read_store(Path("results"), None)
    uncorrected = 0
    for board in make_boards(store):
        rows = standings(board, store.costs)
        styles = {"better": "better", "worse": "worse", "not separable": ""}
        for s, line in zip(rows, suite_table(board, rows).lines, strict=True):
            for column, reference in (("gain", "vanilla"), ("kd", "kd")):
                if reference in s.against:
                    assert line.cells[column].style == styles[s.against[reference].verdict]
                    uncorrected += (
                        s.against[reference].verdict == "not separable"
                        and not s.against[reference].difference.holds_zero
                    )
            for pair, result in s.pairs.items():
                assert line.cells[f"g {':'.join(pair)}"].style == (styles[result.verdict] if result.gain else "")
                uncorrected += bool(result.gain) and result.verdict == "not separable" and not result.gain.holds_zero
    assert uncorrected > 0


def test_a_seed_of_a_suite_that_kdbench_does_not_know_may_be_any_number(copy: Path, suite: Suite, labels: np.ndarray):
    strange = suite.model_copy(update={"name": "strange"})
    entries = [
        make_entry(strange, labels, make_method("kd"), ("resnet8", "vit_w32"), seed, 0.9, key=f"{n}" * 64)
        for n, seed in enumerate((3, 10**6))
    ]
    write_results(copy / "strange" / "kd", entries)
    store = read_store(copy, None)
    board = next(b for b in make_boards(store) if b.suite == "strange")
    assert board.seeds == [3, 10**6]
    (kd,) = standings(board, [])
    assert kd.gaps == []
    assert kd.place == 1


def test_quick_looks_and_validation_runs_are_never_ranked(copy: Path, suite: Suite, labels: np.ndarray):
    short = suite.with_epochs(3)
    entry = make_entry(short, labels, make_method("quick"), ("resnet8", "vit_w32"), 0, 0.99, off_protocol=["epochs: 3"])
    write_results(copy / "digits" / "quick", [entry])
    assert "quick" not in by_name(copy)


def test_records_of_another_protocol_are_a_board_of_their_own(copy: Path, suite: Suite):
    other = suite.model_copy(update={"revision": suite.revision + 1})
    write_method(copy / "second", other, make_method("late"), 0.99)
    shutil.copytree(copy / "second" / "digits" / "late", copy / "digits" / "late")
    shutil.rmtree(copy / "second")
    boards = make_boards(read_store(copy, None))
    assert [(b.main, b.current) for b in boards] == [(True, True), (False, False)]
    assert "late" not in {row.name for row in boards[0].rows}


def test_what_stored_outputs_spared_a_training_counts_as_computed():
    def row(teacher: str | None, *cells: tuple[int, float, str | None], requires: tuple[str, ...] = ()) -> Any:
        found = {}
        for seed, flops, outputs in cells:
            teachers = [SimpleNamespace(sha256="a", outputs=outputs)] if outputs else []
            passes = {"student": SimpleNamespace(forward=5), "teacher": SimpleNamespace(forward=1)}
            cost = SimpleNamespace(flops=flops, passes=passes, main_epochs=None)
            method = SimpleNamespace(requires=requires)
            record = SimpleNamespace(cost=cost, teachers=teachers, method=method)
            found[teacher, "small", seed] = SimpleNamespace(record=record)
        return SimpleNamespace(cells=found)

    plain = row(None, (0, 10.0, None), (1, 10.0, None))
    assert compute_ratio(row("large", (0, 30.0, "live"), (1, 14.0, "stored")), plain, {"a": 2}) == 3
    assert compute_ratio(row("large", (0, 14.0, "stored")), plain, {"another": 2}) is None
    assert compute_ratio(row("large", (0, 14.0, "stored"), requires=("assistants",)), plain, {"a": 2}) is None
