"""The tables that show single seeds: all methods on one pair, one method on all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from kdbench.records.rows import PLAIN, REFERENCES
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.lifelong import seen_after, shown
from kdbench_leaderboard.read import Found
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices, estimate, number
from kdbench_leaderboard.verdicts import contrast_cell
from kdbench_leaderboard.views import GAIN_HELP, LEADER, YOURS, by_track, line_of, rival_column

SEEN_HELP = "Accuracy on all classes so far, %, mean over seeds"


def pair_table(board: Board, standings: Sequence[Standing], pair: Pair) -> Table:
    """All methods on one pair, each seed linked to its record."""
    methods = [s for s in standings if s.row.name not in REFERENCES]
    seeds = seed_columns(methods, [pair]) or seed_columns(standings, [pair])
    columns = [
        Column("method", "Method"),
        Column("accuracy", board.accuracy, "number", help="Mean over seeds ± half its 95 % interval"),
        Column("gain", "Over the plain student", "number", help=GAIN_HELP),
        rival_column(board),
        Column("scheme", "Scheme"),
        *seeds,
        Column("note", "Note", wide=True),
    ]

    def on_pair(s: Standing) -> Line:
        result, line = s.pairs[pair], line_of(s, board)
        line.muted = result.accuracy is None
        method = line.cells["method"]
        line.cells = {
            "method": replace(method, tags=tuple(tag for tag in method.tags if tag != LEADER)),  # it is of all pairs
            "scheme": line.cells["scheme"],
            "accuracy": estimate(result.accuracy),
            "gain": contrast_cell(result.against.get(PLAIN), draw=True),
            "kd": contrast_cell(result.against.get(board.rival)),
            "note": Cell(result.why or ""),
            **seed_cells(s, pair),
        }
        return line

    best_first = sorted(standings, key=lambda s: -(s.pairs[pair].accuracy or (-1.0, None))[0])
    lines = by_track(best_first, on_pair)
    title, filters = f"Every method on {pair[0]} → {pair[1]}", [choices("scheme", "Scheme", lines)]
    return Table("pair", title, shown(board, columns), lines, filters)


def seed_columns(rows: Sequence[Standing], pairs: Sequence[Pair]) -> list[Column]:
    """A column a seed that counts of any of these rows."""
    seeds = sorted({seed for s in rows for pair in pairs for seed in s.pairs[pair].cells})
    return [Column(f"seed{n}", f"Seed {n}", "number") for n in seeds]


def seed_cells(s: Standing, pair: Pair) -> dict[str, Cell]:
    return {
        f"seed{n}": Cell(f"{c.record.accuracy:.2f}", c.record.accuracy, href=paths.cell(c.record))
        for n, c in s.pairs[pair].cells.items()
    }


def method_table(board: Board, rows: Sequence[Standing]) -> Table:
    """One method's rows on every pair and seed of a board."""
    best = any(cell.curve.get("test_top1") for s in rows for cell in s.row.cells.values())
    others = any(cell.record.others and not cell.record.tasks for s in rows for cell in s.row.cells.values())
    columns = [
        *([Column("row", "Row")] * (len({s.row.title for s in rows}) > 1)),
        Column("pair", "Pair"),
        Column("accuracy", board.accuracy, "number", help="Mean over seeds ± half its 95 % interval"),
        Column("gain", "Over the plain student", "number", help=GAIN_HELP),
        rival_column(board),
        *seed_columns(rows, board.pairs),
        *(
            [
                Column(
                    "best",
                    "Best − last",
                    "number",
                    help="Of epochs, by test accuracy: what reporting the best one adds",
                )
            ]
            * best
        ),
        *([Column("others", "Further networks", help="Mean top-1, %, over seeds", wide=True)] * others),
        *([Column("tasks", "After each task", help=SEEN_HELP, wide=True)] * board.has_tasks),
        Column("note", "Note", wide=True),
    ]
    lines = []
    for s in rows:
        for pair, result in s.pairs.items():
            href = paths.pair(board, pair) if board.main else None
            cells = {
                "row": Cell(s.row.name, tags=(YOURS,) if s.row.origin == "yours" else ()),
                "pair": Cell(f"{pair[0]} → {pair[1]}", href=href),
                "accuracy": estimate(result.accuracy),
                "gain": contrast_cell(result.against.get(PLAIN), draw=True),
                "kd": contrast_cell(result.against.get(board.rival)),
                "best": number(best_minus_last(s, pair), sign=True),
                "others": Cell(others_of(result.cells)),
                "tasks": Cell(", ".join(f"{seen:.1f}" for seen in seen_after(result.cells) or ())),
                "note": Cell(result.why or ""),
                **seed_cells(s, pair),
            }
            lines.append(Line(cells, paper=s.row.info.name, muted=result.accuracy is None))
    name = f"numbers-{board.suite}-{board.fingerprint[:8]}"
    return Table(name, f"On {board.title}", shown(board, columns), lines)


def others_of(cells: Mapping[int, Found]) -> str:
    """The mean accuracy over seeds of each network beside the student: peers, heads, earlier generations."""
    found: dict[str, list[float]] = {}
    for cell in cells.values():
        for network in cell.record.others:
            found.setdefault(network.role, []).append(network.metrics.top1)
    return ", ".join(f"{role} {sum(tops) / len(tops):.2f}" for role, tops in found.items())


def best_minus_last(s: Standing, pair: Pair) -> float | None:
    """What reporting the best epoch instead of the last would add, mean over seeds; None without curves."""
    gaps = [max(top) - top[-1] for cell in s.pairs[pair].cells.values() if (top := cell.curve.get("test_top1"))]
    return sum(gaps) / len(gaps) if gaps else None
