"""From soft targets to logits: how the gradient of distilling becomes that of matching logits as T grows."""

from __future__ import annotations

from typing import Any

import numpy as np

from kdbench.records.rows import KD
from kdbench.records.softening import distance_from_matching, soft_gradient
from kdbench_leaderboard import paths
from kdbench_leaderboard.learn.drawing import Curve, log_plot
from kdbench_leaderboard.learn.taught import Taught
from kdbench_leaderboard.learn.words import spoken
from kdbench_leaderboard.page import Site
from kdbench_leaderboard.tables import Cell, Column, Line, Table, estimate
from kdbench_leaderboard.verdicts import interval_cell

TEMPERATURES = (1.0, 2.0, 4.0, 10.0, 20.0, 100.0, 1000.0)
CURVE = np.logspace(-0.5, 3, 60)
MATCHING = "logits_mse"


def gradients(taught: Taught, language: str) -> dict[str, Any]:
    """Distances from matching logits and sizes of the gradient, at each temperature, as a table and as a figure."""
    say = spoken(language)
    teacher = taught.teachers[taught.first]
    students = {say("plain student"): taught.students["vanilla"], say("student of KD"): taught.students["kd"]}
    rows = [
        {
            "t": t,
            "distances": [distance_from_matching(z, teacher, t) for z in students.values()],
            "with": size(taught, t),
            "without": size(taught, t) / t**2,
        }
        for t in TEMPERATURES
    ]
    curves = [
        Curve(name, CURVE.tolist(), [distance_from_matching(z, teacher, float(t)) for t in CURVE], n)
        for n, (name, z) in enumerate(students.items())
    ]
    label = say("Distance between the gradient of distilling and that of matching logits, against the temperature")
    return {
        "names": list(students),
        "rows": rows,
        "figure": log_plot(curves, say("temperature T"), say("distance"), label),
    }


def size(taught: Taught, temperature: float) -> float:
    """Mean length of the soft loss's gradient in the logits of the plain student, with the factor T^2."""
    found = soft_gradient(taught.students["vanilla"], taught.teachers[taught.first], temperature)
    return float(np.linalg.norm(found, axis=1).mean())


def practice(site: Site, language: str) -> Table | None:
    """KD and the regression of logits on every board that has both, over all pairs and on each."""
    say, lines = spoken(language), []
    for board, rows in site.main_boards:
        by_name = {s.row.title: s for s in rows if s.row.origin == "accepted"} or {s.row.title: s for s in rows}
        kd, matching = by_name.get(KD), by_name.get(MATCHING)
        if kd is None or matching is None:
            continue
        for pair in [None, *board.pairs]:
            against = matching.against if pair is None else matching.pairs[pair].against
            accuracies = [s.accuracy if pair is None else s.pairs[pair].accuracy for s in (kd, matching)]
            name = say("all pairs") if pair is None else f"{pair[0]} → {pair[1]}"
            href = paths.suite(board) if pair is None else paths.pair(board, pair)
            cells = {
                "board": Cell(board.suite, href=href),
                "pair": Cell(name),
                "kd": estimate(accuracies[0]),
                "matching": estimate(accuracies[1]),
                "difference": interval_cell(against.get(KD)),
            }
            lines.append(Line(cells, {"board": [board.suite]}))
    columns = [
        Column("pair", say("Pair")),
        Column("board", say("Suite")),
        Column("kd", "kd", "number"),
        Column("matching", MATCHING, "number"),
        Column("difference", f"{MATCHING} − kd", "number", help=say("Percentage points, with the 95 % interval")),
    ]
    return Table("practice", say("KD and matching logits, top-1 in %"), columns, lines) if lines else None
