"""Plotly figures of rows, as plain dictionaries (`data`, `layout`); the browser adds the theme's colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kdbench.records.rows import KD, PLAIN
from kdbench.records.standings import Contrast, PairResult
from kdbench.schedule import evaluated
from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.cost_figures import compression, compute_cost, training_cost
from kdbench_leaderboard.figure_parts import (
    LEGEND,
    TONES,
    Figure,
    accuracy_of,
    at_the_edge,
    axis,
    base,
    label,
    left_out,
    marks,
    overall,
    padded,
    pair_name,
    rows_height,
    sentences,
    usual_range,
)
from kdbench_leaderboard.lifelong import task_curves
from kdbench_leaderboard.read import Found
from kdbench_leaderboard.standings import Standing

Gain = tuple[Standing, Contrast]


def heat_map(board: Board, standings: Sequence[Standing]) -> Figure | None:
    """Method by pair: the gain over the plain student, in percentage points, coloured where it is measurable."""
    rows = [s for s in standings if any(r.gain for r in s.pairs.values())]
    if not rows:
        return None
    gains = [[r.gain.mean if (r := s.pairs[pair]).gain else None for pair in board.pairs] for s in rows]
    sizes = sorted(abs(v) for row in gains for v in row if v is not None)
    most = min(sizes[-1], 2 * sizes[(3 * len(sizes)) // 4]) or 1.0  # a few far ones do not pale the others
    trace = {
        "type": "heatmap",
        "x": [pair_name(pair) for pair in board.pairs],
        "y": [label(s.row.title) for s in rows],
        "z": [[heat_value(s.pairs[pair]) for pair in board.pairs] for s in rows],
        "customdata": gains,
        "zmin": -most,
        "zmax": most,
        "text": [[heat_number(s.pairs[pair]) for pair in board.pairs] for s in rows],
        "texttemplate": "%{text}",
        "hovertext": [[heat_text(s, pair) for pair in board.pairs] for s in rows],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
        "showscale": False,
        "meta": "diverging",
    }
    absent = [s.row.title for s in standings if s not in rows and s.reference != PLAIN]
    layout = base(
        rows_height(len(rows)) + 60,
        left_out(absent, "no gain on any pair"),
        xaxis=axis("", side="bottom"),
        yaxis=axis("", autorange="reversed"),
    )
    layout["meta"]["pairs"] = [":".join(pair) for pair in board.pairs]
    return {"data": [trace], "layout": layout}


def heat_value(result: PairResult[Found]) -> float | None:
    """What colours a gain: its size where it is measurable, else nothing."""
    if result.gain is None:
        return None
    return result.gain.mean if result.verdict in ("better", "worse") else 0.0


def heat_number(result: PairResult[Found]) -> str:
    """The gain, with a star where it is measurable after correction."""
    star = "*" if result.verdict in ("better", "worse") else ""
    return f"{result.gain.mean:+.2f}{star}" if result.gain else ""


def heat_text(s: Standing, pair: Pair) -> str:
    result = s.pairs[pair]
    head = f"<b>{label(s.row.title)}</b>, {pair_name(pair)}<br>"
    if result.gain is None:
        return head + label(result.why or "no plain student to compare with")
    bounds = "" if result.gain.low is None else f" [{result.gain.low:+.2f}, {result.gain.high:+.2f}]"
    return f"{head}{result.gain.mean:+.2f}{bounds} percentage points, {said(result)}"


def said(result: PairResult[Found]) -> str:
    """A pair's verdict, in words."""
    return {
        "better": "measurably better",
        "worse": "measurably worse",
        "not separable": "not separable from the plain student",
        "not compared": "not compared: one seed",
    }[result.verdict]


def gain_intervals(standings: Sequence[Standing], pair: Pair | None = None) -> Figure | None:
    """The gain over the plain student with its interval, over all pairs or on one, the largest first."""
    found = [(s, c) for s in standings if (c := (s.pairs[pair].against if pair else s.against).get(PLAIN))]
    if not found:
        return None
    found.sort(key=lambda both: -both[1].difference.mean)
    rows = [s for s, _ in found]
    low, high = usual_range(c.difference.mean for _, c in found)
    far = [both for both in found if not low <= both[1].difference.mean <= high]
    near = [both for both in found if both not in far]
    bounds = [b for _, c in near for b in (c.difference.low, c.difference.high, 0.0) if b is not None]
    edges = padded(max(min(bounds), low - (high - low)), min(max(bounds), high + (high - low)))
    traces = [interval_trace(near), *([edge_trace(far, edges)] if far else [])]
    where = f" on {pair_name(pair)}" if pair else ""
    absent = [s.row.title for s in standings if s not in rows and s.reference != PLAIN]
    x = axis(f"gain over the plain student{where}, percentage points", zeroline=True, range=list(edges))
    order = {"autorange": "reversed", "categoryorder": "array", "categoryarray": [label(s.row.title) for s in rows]}
    note = sentences(at_the_edge(len(far)), left_out(absent, "incomplete or not compared"))
    return {"data": traces, "layout": base(rows_height(len(rows)), note, xaxis=x, yaxis=axis("", **order))}


def interval_trace(found: Sequence[Gain]) -> dict[str, Any]:
    """Differences with their intervals."""
    differences = [c.difference for _, c in found]
    return {
        "type": "scatter",
        "mode": "markers",
        "x": [d.mean for d in differences],
        "y": [label(s.row.title) for s, _ in found],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [d.high - d.mean if d.high is not None else 0.0 for d in differences],
            "arrayminus": [d.mean - d.low if d.low is not None else 0.0 for d in differences],
            "thickness": 1.5,
            "width": 4,
        },
        "hovertemplate": "<b>%{y}</b><br>%{x:+.2f} points<extra></extra>",
        "marker": marks([s for s, _ in found], [c for _, c in found]),
    }


def edge_trace(far: Sequence[Gain], edges: tuple[float, float]) -> dict[str, Any]:
    """What lies beyond the axis, as arrows at its edge, with its number."""
    left = [c.difference.mean < edges[0] for _, c in far]
    return {
        "type": "scatter",
        "mode": "markers+text",
        "x": [edges[0] if one else edges[1] for one in left],
        "y": [label(s.row.title) for s, _ in far],
        "text": [f"{c.difference.mean:+.1f}" for _, c in far],
        "textposition": ["middle right" if one else "middle left" for one in left],
        "hovertemplate": "<b>%{y}</b><br>%{text} points, beyond the axis<extra></extra>",
        "cliponaxis": False,
        "marker": {
            "symbol": ["triangle-left" if one else "triangle-right" for one in left],
            "size": 11,
            "color": marks([s for s, _ in far], [c for _, c in far])["color"],
        },
    }


def rank_intervals(standings: Sequence[Standing]) -> Figure | None:
    """The place of each row's mean with the ranks that are open."""
    rows = [(s, s.place, s.ranks) for s in standings if s.place is not None and s.ranks is not None]
    if not rows:
        return None
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [place for _, place, _ in rows],
        "y": [label(s.row.title) for s, _, _ in rows],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [ranks[1] - place for _, place, ranks in rows],
            "arrayminus": [place - ranks[0] for _, place, ranks in rows],
            "thickness": 1.5,
            "width": 4,
        },
        "hovertext": [f"{place}, open: {ranks[0]} to {ranks[1]}" for _, place, ranks in rows],
        "hovertemplate": "<b>%{y}</b><br>rank %{hovertext}<extra></extra>",
        "marker": marks([s for s, _, _ in rows], overall([s for s, _, _ in rows])),
    }
    absent = [s.row.title for s in standings if s.ranks is None]
    layout = base(
        rows_height(len(rows)),
        left_out(absent, "not ranked, or of one seed"),
        xaxis=axis("rank, 1 is the best"),
        yaxis=axis("", autorange="reversed"),
    )
    return {"data": [trace], "layout": layout}


def seeds_on_pair(standings: Sequence[Standing], pair: Pair) -> Figure | None:
    """Each seed's accuracy on one pair, a line a method, with the mean."""
    rows = [(s, a) for s in standings if (a := s.pairs[pair].accuracy)]
    if not rows:
        return None
    rows.sort(key=lambda both: -both[1][0])
    low, _ = usual_range(a[0] for _, a in rows)
    far = [s.row.title for s, a in rows if a[0] < low]
    rows = [(s, a) for s, a in rows if a[0] >= low]
    dots: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    for s, _ in rows:
        for seed, cell in sorted(s.pairs[pair].cells.items()):
            dots["x"].append(cell.record.accuracy)
            dots["y"].append(label(s.row.title))
            dots["text"].append(f"seed {seed}")
    seeds = {
        "type": "scatter",
        "mode": "markers",
        "name": "one seed",
        **dots,
        "hovertemplate": "<b>%{y}</b>, %{text}<br>%{x:.2f} %<extra></extra>",
        "marker": {"symbol": "line-ns-open", "size": 11, "color": TONES["far"], "line": {"width": 2}},
    }
    means = {
        "type": "scatter",
        "mode": "markers",
        "name": "mean, 95 % interval",
        "x": [a[0] for _, a in rows],
        "y": [label(s.row.title) for s, _ in rows],
        "error_x": {"type": "data", "array": [a[1] or 0.0 for _, a in rows], "thickness": 1.5, "width": 4},
        "hovertemplate": "<b>%{y}</b><br>mean %{x:.2f} %<extra></extra>",
        "marker": marks([s for s, _ in rows], [s.pairs[pair].against.get(PLAIN) for s, _ in rows]),
    }
    y = axis("", autorange="reversed", categoryorder="array", categoryarray=[label(s.row.title) for s, _ in rows])
    note = left_out(far, "far below; the table has them")
    x = axis(accuracy_of([s for s, _ in rows]))
    layout = base(rows_height(len(rows)) + 20, note, xaxis=x, yaxis=y, legend=LEGEND)
    return {"data": [seeds, means], "layout": layout}


def curves(s: Standing, references: Sequence[Standing] = ()) -> Figure | None:
    """Test accuracy by epoch, the mean over seeds, a line a pair; the plain student and KD beside, thinner."""
    colors = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
    own = curve_lines(s)
    if not own:
        return None
    traces = []
    for row in (s, *(r for r in references if r is not s)):
        for n, (pair, (epochs, mean)) in enumerate(own.items() if row is s else curve_lines(row).items()):
            if pair not in own:
                continue
            dash = {PLAIN: "dot", KD: "dash"}.get(row.row.name, "solid") if row is not s else "solid"
            traces.append(
                {
                    "type": "scatter",
                    "mode": "lines",
                    "name": f"{label(row.row.title)}, {pair_name(pair)}",
                    "x": epochs,
                    "y": mean,
                    "line": {"dash": dash, "width": 2.5 if row is s else 1.5, "color": colors[n % len(colors)]},
                }
            )
    layout = base(
        440, xaxis=axis("epoch"), yaxis=axis("test top-1, %, mean over seeds"), legend={"orientation": "h", "y": -0.2}
    )
    return {"data": traces, "layout": layout}


def curve_lines(s: Standing) -> dict[Pair, tuple[list[int], list[float]]]:
    """By pair, the epochs after which the test accuracy was taken, and its mean over seeds."""
    found = {}
    for pair, result in s.pairs.items():
        cells = [cell for cell in result.cells.values() if cell.curve.get("test_top1")]
        if cells:
            tops = [cell.curve["test_top1"] for cell in cells]
            count = min(map(len, tops))
            mean = [round(float(v), 3) for v in np.mean([top for top in tops if len(top) == count], axis=0)]
            found[pair] = evaluated(max(count, cells[0].record.main_epochs), count), mean
    return found


def board_figures(board: Board, standings: Sequence[Standing]) -> dict[str, Figure]:
    """The figures of a suite's page, those that have anything to show; gains of single pairs beside those of all."""
    found = {
        "tasks": task_curves(board, standings),
        "gains": gain_intervals(standings),
        "heat": heat_map(board, standings) if len(board.pairs) > 1 else None,
        "ranks": rank_intervals(standings),
        "compression": compression(board, standings),
        "compute": compute_cost(standings),
        "cost": training_cost(standings, alone=False),
        "cost-alone": training_cost(standings, alone=True),
    }
    for pair in board.pairs if len(board.pairs) > 1 else ():
        found[f"gains {':'.join(pair)}"] = gain_intervals(standings, pair)
    return {name: figure for name, figure in found.items() if figure is not None}
