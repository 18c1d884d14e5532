"""A method's parameters as they were trained, beside what its paper or its authors' code gives, with the source."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence

from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.parameter_sources import Row, read_rows
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, Column, Line, Table


@functools.cache
def given() -> dict[tuple[str, str], list[Row]]:
    """By method and parameter, what is given, the default first."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in read_rows():
        found.setdefault((row.method, row.parameter), []).append(row)
    return {key: sorted(rows, key=lambda row: bool(row.suites)) for key, rows in found.items()}


def parameters_table(method: str, boards: Sequence[tuple[Board, list[Standing]]]) -> Table:
    """Each parameter of each row: its values here, and the default that the sources give."""
    lines = []
    for board, rows in boards:
        for s in rows:
            sources = ", ".join(sorted({cell.record.params_source for cell in s.row.cells.values()}))
            for name, values in trained(s).items():
                lines.append(parameter_line(method, board, s, name, values, sources))
    columns = [
        Column("parameter", "Parameter"),
        *([Column("row", "Row")] * (len({line.cells["row"].text for line in lines}) > 1)),
        Column("suite", "Suite"),
        Column("here", "Here"),
        Column("paper", "Paper or code", help="The default that the source gives, for its own data and duration"),
        Column("source", "Source of that"),
        Column("note", "Note", wide=True),
        Column("from", "Record says", help="Where the values of the records come from"),
    ]
    return Table("parameters", "Parameters here and in the sources", columns, lines)


def trained(s: Standing) -> dict[str, dict[str, list[Pair]]]:
    """By parameter, its values as JSON, each with the pairs that it was trained with on."""
    found: dict[str, dict[str, list[Pair]]] = {}
    for pair, result in s.pairs.items():
        for cell in result.cells.values():
            for name, value in cell.record.params.items():
                pairs = found.setdefault(name, {}).setdefault(json.dumps(value), [])
                if pair not in pairs:
                    pairs.append(pair)
    return found


def parameter_line(
    method: str, board: Board, s: Standing, name: str, values: dict[str, list[Pair]], sources: str
) -> Line:
    known = given().get((method, name), [])
    default = next((g for g in known if not g.suites), None)
    own = next((g for g in known if board.suite in g.suites.split()), None)
    here = " or ".join(values)
    differs = default is not None and list(values) != [default.value]
    cells = {
        "parameter": Cell(name),
        "row": Cell(s.row.title),
        "suite": Cell(board.suite),
        "here": Cell(here, tags=(("differs", "not the default that the source gives"),) if differs else ()),
        "paper": Cell(f"{default.value} ({default.data})" if default and default.data else default.value)
        if default
        else Cell("–"),
        "source": Cell(default.source, external=default.address) if default else Cell(""),
        "note": Cell("; ".join(dict.fromkeys(g.note for g in (own, default) if g and g.note))),
        "from": Cell(sources),
    }
    return Line(cells)
