"""Figures of accuracy against what it costs: parameters, compute, time; with the Pareto front named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from kdbench.records.rows import PLAIN
from kdbench.records.standings import Contrast
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.cost import ALONE, COMPUTE, SUITE, Measure
from kdbench_leaderboard.figure_parts import (
    LEGEND,
    SYMBOLS,
    TONES,
    Figure,
    accuracy_of,
    at_the_edge,
    axis,
    base,
    label,
    left_out,
    marks,
    padded,
    pair_name,
    sentences,
    usual_range,
)
from kdbench_leaderboard.standings import Standing


class Point(NamedTuple):
    """A row in a plane: x is its cost, y its accuracy; it has a name where a front is drawn."""

    row: Standing
    x: float
    y: float
    hover: str
    contrast: Contrast | None
    name: str = ""


def pareto(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in accuracy at the same cost or less, the cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (p.x, -p.y)):
        if not front or point.y > front[-1].y:
            front.append(point)
    return front


def scatter(points: Sequence[Point], x: dict[str, Any], height: int, absent: Sequence[str] = ()) -> Figure | None:
    """One trace a scheme, so that the legend can hide it; far ones at the lower edge."""
    if not points:
        return None
    low, high = usual_range(p.y for p in points)
    edge, top = padded(low, high, 0.12)
    far = [p for p in points if p.y < low]
    traces: list[dict[str, Any]] = []
    for scheme in SYMBOLS:
        own = [p for p in points if p.row.row.info.scheme == scheme and p not in far]
        if own:
            traces.append(marker_trace(scheme, own))
    if far:
        traces.append(far_trace(far, edge))
    front = pareto(points) if points[0].name else []
    if len(front) > 1:
        traces.append(front_trace(front))
    y = axis(accuracy_of([p.row for p in points]), range=[edge, top])
    note = sentences(at_the_edge(len(far)), left_out(absent, "its cost or accuracy is not known"))
    return {"data": traces, "layout": base(height, note, xaxis=x, yaxis=y, legend=LEGEND)}


def marker_trace(scheme: str, own: Sequence[Point]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": scheme,
        "x": [p.x for p in own],
        "y": [p.y for p in own],
        "hovertext": [p.hover for p in own],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": marks([p.row for p in own], [p.contrast for p in own]),
    }


def far_trace(far: Sequence[Point], edge: float) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "far below",
        "x": [p.x for p in far],
        "y": [edge] * len(far),
        "hovertext": [p.hover for p in far],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "cliponaxis": False,
        "marker": {
            "symbol": "triangle-down",
            "size": 11,
            "color": marks([p.row for p in far], [p.contrast for p in far])["color"],
        },
    }


def front_trace(front: Sequence[Point]) -> dict[str, Any]:
    """The Pareto front, each point with its name."""
    return {
        "type": "scatter",
        "mode": "lines+text",
        "name": "Pareto front",
        "x": [p.x for p in front],
        "y": [p.y for p in front],
        "text": [label(p.name) for p in front],
        "textposition": "top center",
        "hoverinfo": "skip",
        "line": {"shape": "hv", "width": 1, "dash": "dot", "color": TONES["far"]},
    }


def compression(board: Board, standings: Sequence[Standing]) -> Figure | None:
    """Accuracy against how many times fewer parameters the student has than its teacher."""
    points = []
    for s in standings:
        for pair, result in s.pairs.items():
            teacher = board.teacher(pair[0])
            if result.accuracy is None or teacher is None:
                continue
            student = next(iter(result.cells.values())).record.main
            if student.parameters:
                ratio = teacher.record.main.parameters / student.parameters
                text = f"<b>{label(s.row.title)}</b>, {pair_name(pair)}<br>{result.accuracy[0]:.2f} %, "
                hover = f"{text}{ratio:.1f} times smaller"
                points.append(Point(s, ratio, result.accuracy[0], hover, result.against.get(PLAIN)))
    if len({point.x for point in points}) < 2:
        return None
    return scatter(points, axis("teacher's parameters / student's parameters", type="log"), 440)


def against_cost(standings: Sequence[Standing], measure: Measure, x: dict[str, Any], fewest: int = 1) -> Figure | None:
    """Accuracy over all pairs against one measure of cost."""
    points, absent = [], []
    for s in standings:
        cost = measure.of(s)
        if s.accuracy is None or cost is None:
            absent.append(s.row.title)
            continue
        hover = f"<b>{label(s.row.title)}</b><br>{s.accuracy[0]:.2f} %, {cost:.2f} times the plain student's"
        name = s.row.title if measure.steady else ""
        points.append(Point(s, cost, s.accuracy[0], hover, s.against.get(PLAIN), name))
    return scatter(points, x, 460, absent) if len(points) >= fewest else None


def compute_cost(standings: Sequence[Standing]) -> Figure | None:
    """Accuracy against what all networks of the training computed, teachers and generations included."""
    x = axis("floating-point operations of the whole training; plain student = 1", type="log")
    return against_cost(standings, COMPUTE, x, fewest=2)


def training_cost(standings: Sequence[Standing], alone: bool) -> Figure | None:
    """Accuracy against training time as a multiple of the plain student's: in the suite, or alone."""
    measure = ALONE if alone else SUITE
    return against_cost(standings, measure, axis(f"{measure.words}; plain student = 1", type="log"))
