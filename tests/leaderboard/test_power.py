"""How many seeds count, and what a board with so many can tell."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.synthetic_records import make_method, write_method
from kdbench.records.reader import read_results
from kdbench.records.store import write_results
from kdbench.suite import Suite
from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.power import board_notes, method_seeds, pair_limits
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.seed_views import pair_table
from kdbench_leaderboard.standings import standings
from kdbench_leaderboard.verdicts import verdict_cell
from tests.boards import by_name


def test_with_one_seed_nothing_is_called_better_or_not_better(results: Path, tmp_path: Path, suite: Suite):
    for name in ("good", "vanilla"):
        kept = [e for e in read_results(results / "digits" / name) if e.record.seed == 0]
        strange = [replace(e, record=e.record.model_copy(update={"suite": "mine"}).sealed()) for e in kept]
        write_results(tmp_path / "results" / "mine" / name, strange)
    good = by_name(tmp_path / "results")["good"]
    assert verdict_cell(good).text == "one seed: not comparable with the plain student"


def with_seeds(results: Path, suite: Suite, name: str, seeds: int, skill: float) -> None:
    """Give a reference this many seeds."""
    write_method(results, suite.model_copy(update={"seeds": seeds}), make_method(name), skill)


def test_all_seeds_of_the_references_count(copy: Path, suite: Suite):
    before = by_name(copy)["good"].against["vanilla"].difference
    with_seeds(copy, suite, "vanilla", 20, 0.90)
    with_seeds(copy, suite, "good", 8, 0.97)
    found = by_name(copy)
    assert {len(result.cells) for result in found["vanilla"].pairs.values()} == {20}
    assert {len(result.cells) for result in found["good"].pairs.values()} == {5}
    after = found["good"].against["vanilla"].difference
    assert found["good"].accuracy
    assert found["vanilla"].accuracy
    assert after.mean == pytest.approx(found["good"].accuracy[0] - found["vanilla"].accuracy[0])
    assert after.high - after.low < before.high - before.low  # type: ignore[operator]


def test_ten_seeds_of_a_method_count_and_the_board_says_how_many_there_are(copy: Path, suite: Suite):
    assert by_name(copy)["good"].seeds == 5
    with_seeds(copy, suite, "good", 10, 0.97)
    found = by_name(copy)["good"]
    scores = [cell.record.accuracy for result in found.pairs.values() for cell in result.cells.values()]
    assert len(scores) == 10 * len(found.pairs)
    assert found.accuracy
    assert found.accuracy[0] == pytest.approx(np.mean(scores))
    [board] = [board for board in make_boards(read_store(copy, None)) if board.suite == "digits"]
    rows = standings(board, [])
    assert method_seeds(board, rows) == "5 to 10 seeds"
    assert board_notes(board, rows)[0].startswith("5 to 10 seeds")
    seeds = [c.key for c in pair_table(board, rows, board.pairs[0]).columns if c.key.startswith("seed")]
    assert seeds == [f"seed{n}" for n in range(10)]


def test_a_pair_that_only_references_serve_keeps_their_seeds(copy: Path, suite: Suite, labels: np.ndarray):
    board = make_boards(read_store(copy, None))[0]
    rows = [s for s in standings(board, []) if s.row.name in ("vanilla", "kd", "good")]
    for s in rows:
        if s.row.name == "good":
            s.pairs[board.pairs[0]].cells.clear()
    columns = [c.key for c in pair_table(board, rows, board.pairs[0]).columns]
    assert [key for key in columns if key.startswith("seed")] == [f"seed{n}" for n in range(5)]
    assert method_seeds(board, []) == "5 seeds"


def test_on_a_board_that_kdbench_does_not_ship_methods_are_not_asked_for_the_references_seeds(copy: Path, suite: Suite):
    strange = suite.model_copy(update={"name": "strange"})
    for name, seeds in (("vanilla", 8), ("kd", 6), ("new", 3)):
        write_method(copy, strange.model_copy(update={"seeds": seeds}), make_method(name), 0.9)
    store = read_store(copy, None)
    board = next(b for b in make_boards(store) if b.suite == "strange")
    assert board.seeds == [0, 1, 2]
    assert {s.row.name: s.gaps for s in standings(board, [])} == {"vanilla": [], "kd": [], "new": []}
    assert board.prior() is None


def test_a_verdict_that_lacks_power_says_undecided():
    """Of the accepted results: wherever a gain of one point is open among all rows, and nowhere else."""
    store = read_store(Path("results"), None)
    board = next(board for board in make_boards(store) if board.suite == "digits")
    undecided = level = 0
    for s in standings(board, []):
        for name, contrast in s.against.items():
            if contrast.verdict != "not separable":
                continue
            assert contrast.bounds is not None
            words = verdict_cell(s).text.partition("undecided against")[2]
            open_ = contrast.bounds[1] >= 1.0
            assert ({"vanilla": "the plain student", "kd": "plain KD"}.get(name, name) in words) == open_
            undecided, level = undecided + open_, level + (not open_)
    assert undecided
    assert level


def test_a_board_says_what_it_detects_and_what_moderates_its_variances(results: Path):
    store = read_store(results, None)
    (board,) = make_boards(store)
    rows = standings(board, [])
    detects, moderated, intervals = board_notes(board, rows)
    assert re.match(r"5 seeds tell a method from the plain student from \d\.\d points on", detects)
    assert "what the suite states" in moderated
    assert "Seeds have 10 teachers of each architecture" in intervals


def test_pairs_that_tell_nothing_are_named():
    store = read_store(Path("results"), None)
    board = next(board for board in make_boards(store) if board.suite == "digits")
    rows = standings(board, [])
    assert pair_limits(board, rows) == {}
    for number, found in enumerate(board.teachers["vit"]):
        main = found.record.main
        weak = main.model_copy(update={"metrics": main.metrics.model_copy(update={"top1": 90.0})})
        board.teachers["vit"][number] = replace(found, record=found.record.model_copy(update={"networks": [weak]}))
    [((teacher, student), said)] = pair_limits(board, rows).items()
    assert (teacher, student) == ("vit", "resnet8_w4")
    assert "vit → resnet8_w4: the teacher (90.00 %)" in said
