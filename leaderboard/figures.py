"""Plotly figures as plain dictionaries (`data`, `layout`); the browser adds the theme's colours (`static/figures.js`).

No figure relies on colour alone: schemes differ in marker and in name, heat maps print their numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kdbench.records.rows import PLAIN
from kdbench.records.standings import PairResult
from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.read import Found
from kdbench_leaderboard.standings import Standing

Figure = dict[str, Any]
MARKS = {  # colours of Okabe and Ito, told apart by the colour-blind
    "baseline": ("#7f7f7f", "x"),
    "offline": ("#0072b2", "circle"),
    "online": ("#d55e00", "square"),
    "self": ("#009e73", "diamond"),
}
ROW_HEIGHT = 22
LEGEND = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}


def label(text: str) -> str:
    """Plotly reads a little HTML in its texts: names from records are shown as they are."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def pair_name(pair: Pair) -> str:
    return label(f"{pair[0]} → {pair[1]}")


def base(height: int, **layout: Any) -> dict[str, Any]:
    margin = {"l": 12, "r": 12, "t": 40 if "legend" in layout else 14, "b": 48}
    return {"height": height, "margin": margin, "hovermode": "closest", **layout}


def axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title}, "automargin": True, "zeroline": False, **more}


def rows_height(count: int) -> int:
    return 110 + ROW_HEIGHT * max(count, 3)


def marks(standings: Sequence[Standing]) -> dict[str, Any]:
    """Colour and symbol a row, by scheme; yours are hollow."""
    symbols = []
    for s in standings:
        color_symbol = MARKS[s.row.info.scheme][1]
        symbols.append(color_symbol if s.row.origin == "accepted" else f"{color_symbol}-open")
    return {"color": [MARKS[s.row.info.scheme][0] for s in standings], "symbol": symbols, "size": 10}


def heat_map(board: Board, standings: Sequence[Standing]) -> Figure | None:
    """Method by pair: the gain over the plain student, in percentage points."""
    rows = [s for s in standings if any(r.gain for r in s.pairs.values())]
    if not rows:
        return None
    gains = [[r.gain.mean if (r := s.pairs[pair]).gain else None for pair in board.pairs] for s in rows]
    sizes = sorted(abs(v) for row in gains for v in row if v is not None)
    most = min(sizes[-1], 2 * sizes[(3 * len(sizes)) // 4]) or 1.0  # a few far ones do not pale the others
    hover = [[heat_text(s, pair) for pair in board.pairs] for s in rows]
    trace = {
        "type": "heatmap",
        "x": [pair_name(pair) for pair in board.pairs],
        "y": [label(s.row.title) for s in rows],
        "z": gains,
        "zmin": -most,
        "zmax": most,
        "text": [[heat_number(s.pairs[pair]) for pair in board.pairs] for s in rows],
        "texttemplate": "%{text}",
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<extra></extra>",
        "xgap": 1,
        "ygap": 1,
        "colorbar": {"title": {"text": "gain"}, "thickness": 12, "outlinewidth": 0},
        "meta": "diverging",
    }
    layout = base(rows_height(len(rows)) + 60, xaxis=axis("", side="bottom"), yaxis=axis("", autorange="reversed"))
    return {"data": [trace], "layout": layout}


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


def scatter(points: Sequence[tuple[Standing, float, float, str]], x: dict[str, Any], height: int) -> Figure | None:
    """One trace a scheme, so that the legend can hide it."""
    if not points:
        return None
    traces = []
    for scheme in MARKS:
        own = [point for point in points if point[0].row.info.scheme == scheme]
        if not own:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": scheme,
                "x": [point[1] for point in own],
                "y": [point[2] for point in own],
                "hovertext": [point[3] for point in own],
                "hovertemplate": "%{hovertext}<extra></extra>",
                "marker": marks([point[0] for point in own]),
            }
        )
    y = axis("top-1 accuracy, %")
    return {"data": traces, "layout": base(height, xaxis=x, yaxis=y, legend=LEGEND)}


def compression(board: Board, standings: Sequence[Standing]) -> Figure | None:
    """Accuracy against how many times fewer parameters the student has than its teacher."""
    points = []
    for s in standings:
        for pair, result in s.pairs.items():
            teacher = board.teachers.get(pair[0])
            if result.accuracy is None or teacher is None:
                continue
            student = next(iter(result.cells.values())).record.main
            if student.parameters:
                ratio = teacher.record.main.parameters / student.parameters
                text = f"<b>{label(s.row.title)}</b>, {pair_name(pair)}<br>{result.accuracy[0]:.2f} %, "
                points.append((s, ratio, result.accuracy[0], f"{text}{ratio:.1f} times smaller"))
    return scatter(points, axis("teacher's parameters / student's parameters", type="log"), 440)


def compute_cost(standings: Sequence[Standing]) -> Figure | None:
    """Accuracy over all pairs against what all networks of the training computed, teachers and generations included."""
    points = []
    for s in standings:
        if s.accuracy is not None and s.compute is not None:
            text = f"<b>{label(s.row.title)}</b><br>{s.accuracy[0]:.2f} %, {s.compute:.1f} times the plain student's"
            points.append((s, s.compute, s.accuracy[0], text))
    x = axis("floating-point operations of the whole training; plain student = 1", type="log")
    return scatter(points, x, 440) if len(points) > 1 else None


def training_cost(standings: Sequence[Standing], alone: bool) -> Figure | None:
    """Accuracy over all pairs against training time as a multiple of the plain student's: in the suite, or alone."""
    points = []
    for s in standings:
        ratio = s.step_ratio if alone else suite_ratio(s)
        if s.accuracy is not None and ratio is not None:
            text = f"<b>{label(s.row.title)}</b><br>{s.accuracy[0]:.2f} %, {ratio:.2f} times the plain student's time"
            points.append((s, ratio, s.accuracy[0], text))
    clock = "time of a training step, alone on the machine" if alone else "wall time in the suite, beside other cells"
    return scatter(points, axis(f"{clock}; plain student = 1"), 440)


def suite_ratio(s: Standing) -> float | None:
    return s.seconds[0] / s.seconds[1] if s.seconds and s.seconds[1] else None


def gain_intervals(standings: Sequence[Standing]) -> Figure | None:
    """The gain over the plain student with its interval."""
    rows = [s for s in standings if s.place is not None and (s.gain or s.reference == PLAIN)]
    if not any(s.gain for s in rows):
        return None
    means = [s.gain.mean if s.gain else 0.0 for s in rows]
    low = [s.gain.mean - s.gain.low if s.gain and s.gain.low is not None else 0.0 for s in rows]
    high = [s.gain.high - s.gain.mean if s.gain and s.gain.high is not None else 0.0 for s in rows]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": means,
        "y": [label(s.row.title) for s in rows],
        "error_x": {"type": "data", "symmetric": False, "array": high, "arrayminus": low, "thickness": 1.5, "width": 4},
        "hovertext": [f"<b>{label(s.row.title)}</b><br>{s.accuracy[0]:.2f} %" for s in rows if s.accuracy],
        "hovertemplate": "%{hovertext}<br>%{x:+.2f} points<extra></extra>",
        "marker": marks(rows),
    }
    x = axis("gain over the plain student, percentage points", zeroline=True)
    layout = base(rows_height(len(rows)), xaxis=x, yaxis=axis("", autorange="reversed"), showlegend=False)
    return {"data": [trace], "layout": layout}


def rank_intervals(standings: Sequence[Standing]) -> Figure | None:
    """The place of each row's mean with the ranks that are open."""
    rows = [(s, s.place, s.ranks) for s in standings if s.place is not None and s.ranks is not None]
    if not rows:
        return None
    below = [place - ranks[0] for _, place, ranks in rows]
    above = [ranks[1] - place for _, place, ranks in rows]
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [place for _, place, _ in rows],
        "y": [label(s.row.title) for s, _, _ in rows],
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": above,
            "arrayminus": below,
            "thickness": 1.5,
            "width": 4,
        },
        "hovertext": [f"{place}, open: {ranks[0]} to {ranks[1]}" for _, place, ranks in rows],
        "hovertemplate": "<b>%{y}</b><br>rank %{hovertext}<extra></extra>",
        "marker": marks([s for s, _, _ in rows]),
    }
    layout = base(rows_height(len(rows)), xaxis=axis("rank, 1 is the best"), yaxis=axis("", autorange="reversed"))
    return {"data": [trace], "layout": {**layout, "showlegend": False}}


def seeds_on_pair(standings: Sequence[Standing], pair: Pair) -> Figure | None:
    """Each seed's accuracy on one pair, a line a method, with the mean."""
    rows = [s for s in standings if s.pairs[pair].accuracy]
    if not rows:
        return None
    rows.sort(key=lambda s: -(s.pairs[pair].accuracy or (0.0, None))[0])
    dots: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    for s in rows:
        for seed, cell in sorted(s.pairs[pair].cells.items()):
            dots["x"].append(cell.record.main.metrics.top1)
            dots["y"].append(label(s.row.title))
            dots["text"].append(f"seed {seed}")
    seeds = {
        "type": "scatter",
        "mode": "markers",
        "name": "one seed",
        **dots,
        "hovertemplate": "<b>%{y}</b>, %{text}<br>%{x:.2f} %<extra></extra>",
        "marker": {"symbol": "line-ns-open", "size": 11, "color": "#7f7f7f", "line": {"width": 2}},
    }
    accuracies = [s.pairs[pair].accuracy for s in rows]
    means = {
        "type": "scatter",
        "mode": "markers",
        "name": "mean, 95 % interval",
        "x": [a[0] for a in accuracies if a],
        "y": [label(s.row.title) for s in rows],
        "error_x": {"type": "data", "array": [a[1] or 0.0 for a in accuracies if a], "thickness": 1.5, "width": 4},
        "hovertemplate": "<b>%{y}</b><br>mean %{x:.2f} %<extra></extra>",
        "marker": marks(rows),
    }
    layout = base(
        rows_height(len(rows)) + 20,
        xaxis=axis("top-1 accuracy, %"),
        yaxis=axis("", autorange="reversed"),
        legend=LEGEND,
    )
    return {"data": [seeds, means], "layout": layout}


def curves(s: Standing) -> Figure | None:
    """Test accuracy by epoch, the mean over seeds, a line a pair. A diagnostic: the last epoch counts."""
    dashes = ("solid", "dash", "dot", "dashdot")
    traces = []
    for n, (pair, result) in enumerate(s.pairs.items()):
        tops = [cell.curve["test_top1"] for cell in result.cells.values() if cell.curve.get("test_top1")]
        if not tops:
            continue
        epochs = min(map(len, tops))
        mean = np.mean([top[:epochs] for top in tops], axis=0)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": pair_name(pair),
                "x": list(range(1, epochs + 1)),
                "y": [round(float(v), 3) for v in mean],
                "line": {"dash": dashes[n % len(dashes)], "width": 2},
            }
        )
    if not traces:
        return None
    layout = base(400, xaxis=axis("epoch"), yaxis=axis("test top-1, %, mean over seeds"))
    return {"data": traces, "layout": {**layout, "legend": {"orientation": "h", "y": -0.25}}}


def board_figures(board: Board, standings: Sequence[Standing]) -> dict[str, Figure]:
    """The figures of a suite's page, those that have anything to show."""
    found = {
        "gains": gain_intervals(standings),
        "heat": heat_map(board, standings),
        "ranks": rank_intervals(standings),
        "compression": compression(board, standings),
        "compute": compute_cost(standings),
        "cost": training_cost(standings, alone=False),
        "cost-alone": training_cost(standings, alone=True),
    }
    return {name: figure for name, figure in found.items() if figure is not None}
