"""Suites of kdbench's own that do not state their data: records of whatever data are of the current protocol."""

from __future__ import annotations

from benchmarks.synthetic_records import make_method, make_record
from kdbench.hashing import digest
from kdbench.records.cost_record import CostRecord, StepCost
from kdbench.suites import load_suite
from kdbench_leaderboard.boards import make_board
from kdbench_leaderboard.read import Found, Store
from kdbench_leaderboard.standings import standings

NONE = {"status": "not_applicable", "reason": "needs feature maps", "cost": None}


def test_records_of_any_data_are_current_and_find_their_costs():
    suite = load_suite("cifar10")
    assert suite.data.sha256 is None
    pair = suite.pairs[0]
    bound = suite.with_data_sha256("1" * 64)
    record = make_record(bound, make_method("kd"), (pair.teacher, pair.student), 0, **NONE)
    board = make_board("cifar10", [Found(record, "yours", None, {})], Store())
    assert board.current
    cost = CostRecord(
        suite="cifar10",
        fingerprint=digest(suite.protocol()),  # costs are measured without data
        pair=str(pair),
        info=record.method,
        params=record.params,
        batch_size=64,
        precision="bf16",
        plain=StepCost(milliseconds=2.0, peak_memory=None, parameters=1),
        method=StepCost(milliseconds=3.0, peak_memory=None, parameters=1),
        rounds=5,
        steps=20,
        environment={},
        finished="2026-01-02T03:04:05+00:00",
    )
    assert standings(board, [cost])[0].step_ratio == 1.5
    elsewhere = cost.model_copy(update={"fingerprint": "2" * 64})
    assert standings(board, [elsewhere])[0].step_ratio is None


def test_records_of_another_protocol_are_not_current():
    suite = load_suite("cifar10")
    pair = suite.pairs[0]
    record = make_record(suite.with_epochs(3), make_method("kd"), (pair.teacher, pair.student), 0, **NONE)
    assert make_board("cifar10", [Found(record, "yours", None, {})], Store()).current is False
