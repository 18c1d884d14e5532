"""Figures are valid Plotly, and their numbers those of the standings."""

from __future__ import annotations

from pathlib import Path

import plotly.graph_objects as go
import pytest

from kdbench.records.cost_record import CostRecord, StepCost
from kdbench_leaderboard import figures
from kdbench_leaderboard.boards import Board, make_boards
from kdbench_leaderboard.choosing import board_choices
from kdbench_leaderboard.cost import SUITE, measure_of
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import Standing, standings


@pytest.fixture(scope="module")
def both(results: Path) -> tuple[Board, list[Standing]]:
    store = read_store(results, None)
    (board,) = make_boards(store)
    return board, standings(board, store.costs)


def test_every_figure_is_valid_plotly(both: tuple[Board, list[Standing]]):
    found = figures.board_figures(*both)
    assert {"gains", "heat", "ranks", "cost"} <= set(found)
    for figure in found.values():
        go.Figure(figure)


def test_the_heat_map_shows_each_gain_and_prints_it(both: tuple[Board, list[Standing]]):
    board, rows = both
    figure = figures.heat_map(board, rows)
    assert figure
    (trace,) = figure["data"]
    for name, gains, colours, texts in zip(trace["y"], trace["customdata"], trace["z"], trace["text"], strict=True):
        s = next(s for s in rows if s.row.title == name)
        means = [r.gain.mean if (r := s.pairs[pair]).gain else None for pair in board.pairs]
        assert gains == means
        stars = ["*" if s.pairs[pair].verdict in ("better", "worse") else "" for pair in board.pairs]
        assert colours == [m if star or m is None else 0.0 for m, star in zip(means, stars, strict=True)]
        assert texts == ["" if m is None else f"{m:+.2f}{star}" for m, star in zip(means, stars, strict=True)]
    assert trace["zmin"] == -trace["zmax"]


def test_markup_in_names_is_shown_as_it_is():
    assert figures.label("<a href='javascript:x'>&") == "&lt;a href='javascript:x'&gt;&amp;"


def test_wall_times_make_no_front_and_no_choice(both: tuple[Board, list[Standing]]):
    board, rows = both
    assert measure_of(rows) is SUITE
    figure = figures.board_figures(board, rows)["cost"]
    assert "Pareto front" not in [trace["name"] for trace in figure["data"]]
    assert {row["cost"] for row in board_choices(board, rows)["rows"]} == {None}


def test_costs_measured_alone_are_a_figure_of_their_own(results: Path):
    store = read_store(results, None)
    (board,) = make_boards(store)
    kd = next(cell.record for cell in store.cells if cell.record.method.name == "kd")
    cost = CostRecord(
        suite="digits",
        fingerprint=board.fingerprint,
        pair="resnet8:vit_w32",
        info=kd.method,
        params=kd.params,
        batch_size=64,
        precision="float32",
        plain=StepCost(milliseconds=2.0, peak_memory=None, parameters=10),
        method=StepCost(milliseconds=3.0, peak_memory=None, parameters=10),
        rounds=5,
        steps=10,
        environment={"cpu": "made up"},
        finished="2026-01-01",
    )
    rows = standings(board, [cost])
    figure = figures.board_figures(board, rows)["cost-alone"]
    assert [list(trace["x"]) for trace in figure["data"]] == [[1.5]]
