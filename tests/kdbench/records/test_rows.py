"""Rows of records: which record stands where, and how a row stands on a pair."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.synthetic_records import make_entry, make_method
from kdbench.records.rows import Row, group, seeds_of, set_apart
from kdbench.records.standings import accuracy_sample, mean_accuracy, pair_result
from kdbench.records.store import Entry
from kdbench.suite import Suite
from kdbench.suites import load_suite, load_test_labels

PAIR = ("resnet8", "resnet8_w8")


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("digits")


def entry(suite: Suite, name: str, seed: int, teacher: str | None = PAIR[0], version: int = 1, **changes: Any) -> Entry:
    about = make_method(name, version=version)
    return make_entry(suite, load_test_labels(suite), about, (teacher, PAIR[1]), seed, 0.9, **changes)


def test_a_method_without_a_teacher_stands_under_every_pair_of_its_student(suite: Suite) -> None:
    (row,) = group([entry(suite, "vanilla", 0, None)], "accepted")
    assert row.cell(PAIR, 0) is row.cell(("vit", PAIR[1]), 0) is not None
    assert row.cell(("resnet8", "vit_w32"), 0) is None
    assert row.cell(PAIR, 1) is None


def test_the_newest_version_and_the_latest_record_of_a_place_count(suite: Suite) -> None:
    old = entry(suite, "kd", 1)
    first = entry(suite, "kd", 0, version=2, finished="2026-01-01T00:00:00+00:00")
    later = entry(suite, "kd", 0, version=2, finished="2026-02-01T00:00:00+00:00")
    (row,) = group([later, old, first], "yours")
    assert (row.title, row.info.version, row.older) == ("kd (yours)", 2, 2)
    assert list(row.cells.values()) == [later]


def test_a_row_deviates_in_what_it_deviates_in_on_any_pair(suite: Suite) -> None:
    labels = load_test_labels(suite)
    made = [
        make_entry(suite, labels, make_method("takd", deviations=deviations), ("resnet8", student), 0, 0.9)
        for student, deviations in (("resnet8_w4", ["a", "two"]), ("resnet8_w8", ["a"]))
    ]
    (row,) = group(made, "accepted")
    assert set(row.info.deviations) == {"a", "two"}
    assert len(row.info.deviations) == 2


def test_a_record_that_does_not_fit_counts_as_an_older_one(suite: Suite) -> None:
    one, other = entry(suite, "kd", 0), entry(suite, "kd", 1)
    (row,) = group([one, other], "accepted", lambda cell: cell.record.seed == 0)
    assert (list(row.cells.values()), row.older) == ([one], 1)


def test_a_network_that_is_not_the_suites_student_sets_its_row_apart(suite: Suite) -> None:
    (plain,), (row,) = (group([entry(suite, name, 0, t)], "accepted") for name, t in (("vanilla", None), ("kd", "vit")))
    assert set_apart(row, plain) is None

    def with_network(**changes: Any) -> Row[Entry]:
        one = entry(suite, "kd", 0)
        networks = [one.record.main.model_copy(update=changes)]
        return group([replace(one, record=one.record.model_copy(update={"networks": networks}))], "accepted")[0]

    assert "7 parameters, where the student has" in (set_apart(with_network(parameters=7), plain) or "")
    assert set_apart(with_network(parameters=7), None) is None  # of an old record, with nothing to compare it with
    assert set_apart(with_network(differs=["two weights of its own"]), None) == "two weights of its own"


def test_a_pair_says_what_it_lacks(suite: Suite) -> None:
    cells = {seed: entry(suite, "kd", seed) for seed in (0, 2)}
    result = pair_result(cells, [0, 1, 2])
    assert result.accuracy == mean_accuracy(cells)
    assert result.why == "no record of seed 1"
    assert pair_result({}, [0, 1]).why == "no record"
    no = replace(cells[0], record=cells[0].record.model_copy(update={"reason": "no maps"}), evidence=None)
    assert pair_result({0: no}, [0]).why == "not applicable: no maps"


def test_a_sample_has_the_records_top1_by_seed(suite: Suite) -> None:
    cells = {seed: entry(suite, "kd", seed) for seed in (1, 2)}
    found = accuracy_sample([cells])
    assert found.scores == pytest.approx({seed: cell.record.main.metrics.top1 for seed, cell in cells.items()})
    assert found.images == pytest.approx(100 * np.mean([cell.correct for cell in cells.values()], axis=0))


def test_of_the_references_all_seeds_count_that_every_pair_has(suite: Suite) -> None:
    labels, pairs = load_test_labels(suite), [PAIR, ("resnet8", "vit_w32")]
    places = [*((PAIR, seed) for seed in range(4)), *((pairs[1], seed) for seed in range(3))]

    def row(name: str) -> Row[Entry]:
        return group([make_entry(suite, labels, make_method(name), p, seed, 0.9) for p, seed in places], "accepted")[0]

    assert seeds_of(row("kd"), pairs, range(2)) == [0, 1, 2]
    assert seeds_of(row("crd"), pairs, range(2)) == [0, 1]
    assert seeds_of(row("kd"), pairs, range(5)) == [0, 1, 2, 3, 4]  # what the suite asks for may be missing


def test_of_a_method_all_seeds_count_that_the_suite_allows_or_none_of_the_further_ones(suite: Suite) -> None:
    labels, pairs = load_test_labels(suite), [PAIR, ("resnet8", "vit_w32")]
    places = [*((PAIR, seed) for seed in range(4)), *((pairs[1], seed) for seed in range(3))]
    found = group([make_entry(suite, labels, make_method("crd"), p, seed, 0.9) for p, seed in places], "accepted")[0]
    assert seeds_of(found, pairs, range(2), most=3) == [0, 1, 2]
    assert seeds_of(found, pairs, range(2), most=4) == [0, 1]  # one pair lacks a seed
    assert seeds_of(found, pairs[:1], range(2), most=4) == [0, 1, 2, 3]


def test_a_pair_that_a_method_cannot_serve_does_not_keep_its_further_seeds_from_counting(suite: Suite) -> None:
    labels, pairs, method = load_test_labels(suite), [PAIR, ("resnet8", "vit_w32")], make_method("crd")
    found = [make_entry(suite, labels, method, PAIR, seed, 0.9) for seed in range(4)]
    for seed in range(4):
        entry = make_entry(suite, labels, method, pairs[1], seed, 0.9)
        empty = {"status": "not_applicable", "reason": "no maps", "networks": [], "cost": None, "evidence_sha256": None}
        found.append(replace(entry, record=entry.record.model_copy(update=empty), evidence=None))
    assert seeds_of(group(found, "accepted")[0], pairs, range(2), most=4) == [0, 1, 2, 3]


def test_values_of_a_row_are_by_pair_and_seed(suite: Suite) -> None:
    found = [entry(suite, "kd", seed) for seed in range(3)]
    row: Row[Entry] = group(found, "accepted")[0]
    assert row.values([PAIR], range(3), lambda e: e.record.seed).tolist() == [[0, 1, 2]]
