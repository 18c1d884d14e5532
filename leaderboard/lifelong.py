"""What a board of a suite with tasks has of its own: accuracy after each task, and what its words mean there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kdbench.records.rows import PLAIN
from kdbench.records.tasks import TASK_METRICS, measures_of
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.figure_parts import Figure, axis, base, label
from kdbench_leaderboard.read import Found
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Column

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star")
NO_KD = ("kd", "k ")  # keys of the columns against plain KD, which has no tasks
TOLD = ("forgetting", "top1")  # keys of those that stand beside the average


def seen_after(cells: Mapping[int, Found]) -> list[float] | None:
    """After each task, the accuracy on all classes so far in percent, the mean over seeds; None without tasks."""
    seen = [cell.record.tasks.seen for cell in cells.values() if cell.record.tasks]
    return [float(value) for value in np.mean(seen, axis=0)] if seen else None


def metric_columns(board: Board) -> list[Column]:
    """The metrics of a board beside the one that it is ranked by; with tasks, what was kept is seen at once."""
    others = measures_of(board.num_classes, board.has_tasks)[1:]
    unhidden = TOLD if board.has_tasks else ()
    return [
        Column(
            m.name,
            f"{m.title[0].upper()}{m.title[1:]}, {m.unit}" if board.has_tasks else f"{m.title}, {m.unit}",
            "number",
            help=TASK_METRICS[m.name].help if m.name in TASK_METRICS else "",
            hidden=m.name not in unhidden,
            group="all",
        )
        for m in others
    ]


def shown(board: Board, columns: Sequence[Column]) -> list[Column]:
    """The columns of a table; with tasks, none against plain KD, and what was kept beside the average."""
    if not board.has_tasks:
        return [*columns]
    told = [column for column in columns if column.key in TOLD]
    found = [column for column in columns if not column.key.startswith(NO_KD) and column not in told]
    place = 1 + next((i for i, column in enumerate(found) if column.key == "accuracy"), -1)
    return [*found[:place], *told, *found[place:]]


def notes(board: Board) -> list[str]:
    """What the words of a board with tasks mean."""
    if not board.has_tasks:
        return []
    return [
        "Rows are ranked by average incremental accuracy: after each task, the accuracy on the test images of all "
        f"classes so far, the mean over tasks. The plain student ({PLAIN}) is fine-tuning: each task is learned with "
        "labels alone, on its own images and the suite's memory."
    ]


def task_curves(board: Board, standings: Sequence[Standing]) -> Figure | None:
    """Accuracy on all classes so far, after each task: a line a row, the mean over pairs and seeds."""
    found = []
    for s in standings:
        by_pair = [seen for result in s.pairs.values() if (seen := seen_after(result.cells))]
        if by_pair:
            found.append((s, np.mean(by_pair, axis=0)))
    if not found:
        return None
    classes = np.cumsum([len(task) for task in board.task_classes]).tolist()
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": label(s.row.title),
            "x": classes,
            "y": [round(float(value), 2) for value in seen],
            "hovertemplate": f"<b>{label(s.row.title)}</b><br>%{{x}} classes: %{{y:.2f}} %<extra></extra>",
            "line": {"color": COLORS[n % len(COLORS)], "dash": "dot" if s.row.info.scheme == "baseline" else "solid"},
            "marker": {"symbol": SYMBOLS[n % len(SYMBOLS)], "size": 8},
        }
        for n, (s, seen) in enumerate(found)
    ]
    x = axis("classes so far", tickvals=classes)
    layout = base(420, xaxis=x, yaxis=axis("accuracy on them, %"), legend={"orientation": "h", "y": -0.2})
    return {"data": traces, "layout": layout}
