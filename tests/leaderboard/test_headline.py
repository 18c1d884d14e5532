"""A board's answers follow from its data, as do its measures of cost and its agreement with published orders."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats as scipy_stats

from benchmarks.synthetic_records import make_method, write_method
from kdbench.suite import Suite
from kdbench_leaderboard.boards import Board, make_boards
from kdbench_leaderboard.card import SIZE, card
from kdbench_leaderboard.choosing import board_choices, needs_of, published_choices
from kdbench_leaderboard.cost import COMPUTE, SUITE, measure_of
from kdbench_leaderboard.headline import headline
from kdbench_leaderboard.parameters import given, parameters_table
from kdbench_leaderboard.published_order import agreements, chance, spearman
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import Standing, standings
from kdbench_leaderboard.verdicts import mark


def board_of(results: Path) -> tuple[Board, list[Standing]]:
    store = read_store(results, None)
    (board,) = make_boards(store)
    return board, standings(board, store.costs)


def test_it_counts_and_names_what_beats_the_plain_student_and_kd(results: Path):
    board, rows = board_of(results)
    plain, kd, itself, seen = headline(board, rows)
    better = [s for s in rows if s.against.get("vanilla") and s.against["vanilla"].verdict == "better"]
    better = [s for s in better if s.row.info.scheme != "baseline"]
    assert plain.text.startswith(f"{len(better)} of 5 methods are measurably better than the plain student: good (+")
    assert "1 is measurably worse" in plain.text  # bad
    assert kd.text.startswith("1 of 4 methods is measurably better than plain KD: good (+")
    assert "Plain KD itself is measurably better than the plain student" in itself.text
    assert "points from the plain student and" in seen.text


def test_where_nothing_is_better_and_a_row_is_undecided_the_answer_is_undecided_too():
    store = read_store(Path("results"), None)
    board = next(b for b in make_boards(store) if b.suite == "digits-distilled")
    rows = standings(board, store.costs)
    marks = {mark(s.against["random_images"]) for s in rows if "random_images" in s.against}
    answer = headline(board, rows)[0]
    assert answer.text.startswith("None of 3 methods is measurably better")
    assert answer.mark == "open"
    assert "open" in marks


def test_a_board_of_one_method_without_kd_speaks_of_the_plain_student_alone(tmp_path: Path, suite: Suite):
    write_method(tmp_path / "results", suite, make_method("vanilla"), 0.9)
    write_method(tmp_path / "results", suite, make_method("mine"), 0.9)
    board, rows = board_of(tmp_path / "results")
    said = " ".join(answer.text for answer in headline(board, rows))
    assert said.startswith("None of 1 method is measurably better than the plain student.")
    assert "KD" not in said


def test_nothing_is_said_of_a_single_row(tmp_path: Path, suite: Suite):
    write_method(tmp_path / "results", suite, make_method("mine"), 0.9)
    assert headline(*board_of(tmp_path / "results")) == []


def test_cost_is_counted_in_one_way_for_all_rows(results: Path):
    _, rows = board_of(results)
    assert measure_of(rows) is SUITE  # few of them say their compute
    assert measure_of([replace(s, compute=2.0) for s in rows]) is COMPUTE


def test_what_a_method_needs_is_told_and_controls_are_no_choice(results: Path):
    board, rows = board_of(results)
    needs = {s.row.name: needs_of(s.row.info) for s in rows}
    assert needs["itself"] == needs["vanilla"] == needs["smoothing"] == "no teacher"
    assert needs["good"] == "a teacher"
    info = next(s.row.info for s in rows if s.row.name == "good")
    assert needs_of(info.model_copy(update={"scheme": "baseline"})) == ""
    assert needs_of(info.model_copy(update={"families": ["data_free"]})) == "no data"
    assert needs_of(info.model_copy(update={"families": ["multi_teacher"], "requires": ["team"]})) == "several teachers"
    choices = board_choices(board, rows)
    assert choices["pairs"][0]["label"] == "all pairs"
    means = {choices["rows"][n]["name"]: mean for n, mean, *_ in choices["pairs"][0]["rows"]}
    for s in rows:
        if s.accuracy:
            assert means[s.row.name] == pytest.approx(s.accuracy[0], abs=1e-3)


def test_published_gains_are_ranked_within_one_source():
    for by_pair in published_choices(set()).values():
        for sources in by_pair.values():
            for one in sources:
                gains = [row["gain"] for row in one["rows"]]
                assert gains == sorted(gains, reverse=True)


def test_the_rank_correlation_is_spearmans():
    rng = np.random.default_rng(3)
    one, other = rng.integers(0, 6, 9).astype(float), rng.integers(0, 6, 9).astype(float)
    assert spearman(one, other) == pytest.approx(scipy_stats.spearmanr(one, other).statistic)
    ordered = np.arange(8.0)
    assert chance(ordered, ordered) < 0.001
    assert chance(ordered, np.array([4.0, 0, 5, 2, 7, 1, 6, 3])) > 0.3


def test_the_order_of_published_tables_is_that_of_the_methods_that_both_have():
    store = read_store(Path("results"), None)
    board = next(b for b in make_boards(store) if b.suite == "cifar100-quarter")
    found = {a.source.name: a for a in agreements(board, standings(board, store.costs))}
    names = {s.row.name for s in found["repdistiller_readme"].order}
    assert names >= {"at", "cc", "crd", "fitnets", "ft", "kd", "nst", "pkt", "rkd", "sp", "vid"}
    assert names <= {row.name for row in board.rows} - {"vanilla"}
    assert found["repdistiller_readme"].pairs == 13
    assert {s.row.name for s in found["mdistiller_readme"].order} >= {"kd", "dkd"}
    assert all(-1 <= a.correlation <= 1 and 0 < a.p <= 1 for a in found.values())


def test_parameters_stand_beside_those_of_the_sources(results: Path, tmp_path: Path, suite: Suite):
    shutil.copytree(results, tmp_path / "results")
    changed = {"params": {"kd_weight": 0.5, "temperature": 4.0}}
    write_method(tmp_path / "results", suite, make_method("dkd"), 0.9, **changed)
    board, rows = board_of(tmp_path / "results")
    own = [s for s in rows if s.row.name == "dkd"]
    lines = {line.cells["parameter"].text: line.cells for line in parameters_table("dkd", [(board, own)]).lines}
    default = next(g for g in given()["dkd", "temperature"] if not g.suites)
    assert lines["temperature"]["here"].text == default.value == "4.0"
    assert lines["temperature"]["here"].tags == ()
    assert lines["temperature"]["source"].external == default.address


def test_the_picture_of_a_shared_link_has_its_size_and_survives_any_title(results: Path):
    board, rows = board_of(results)
    titled = replace(board, title="x" * 999 + "\u202e")
    with Image.open(io.BytesIO(card(titled, rows, headline(board, rows)))) as image:
        assert image.size == SIZE
        assert len(image.getcolors(1 << 24) or []) > 10
