"""What `compare.html` needs of any two rows: each row's seeds, and its errors against all others."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.page import Page, Site, script
from kdbench_leaderboard.standings import Standing, differences_of, rows_on

DIGITS = 8  # after the point, of what the browser only computes with; what it shows as it is has all


def comparison_scripts(site: Site) -> Iterator[Page]:
    """An index of the rows that can be compared, and a script a row; the browser adds the t distribution."""
    index = []
    for board, rows in site.main_boards:
        known = comparable(board, rows)
        if len(known) > 1:
            index.append(suite_index(board, known))
            yield from row_scripts(board, known)
    yield "data/compare/index.js", script("compare/index", index)


def comparable(board: Board, rows: Sequence[Standing]) -> list[Standing]:
    """Rows with a result on any pair, in the order of the board."""
    return [s for s in rows if not s.row.foreign and any(s.pairs[pair].cells for pair in board.pairs)]


def suite_index(board: Board, known: Sequence[Standing]) -> dict[str, Any]:
    """A suite's rows, each with its accuracy by pair and seed; and the means that differences are of."""
    return {
        "suite": board.suite,
        "title": board.title,
        "page": paths.suite(board),
        "pairs": [f"{teacher} → {student}" for teacher, student in board.pairs],
        "ranked": sum(not s.gaps for s in known),
        "rows": [
            {
                "name": s.row.title,
                "page": paths.method(s.row.info.name),
                "seeds": [seeds_on(s, pair) for pair in board.pairs],
            }
            for s in known
        ],
    }


def seeds_on(s: Standing, pair: Pair) -> dict[str, float]:
    cells = s.pairs[pair].cells
    return {str(seed): cell.record.accuracy for seed, cell in sorted(cells.items())}


def row_scripts(board: Board, known: Sequence[Standing]) -> Iterator[Page]:
    """Each row against the later ones: over all pairs, then on each."""
    places: list[tuple[str, list[Standing], Pair | None]] = [("all", [s for s in known if not s.gaps], None)]
    places += [(str(n), rows_on(known, pair), pair) for n, pair in enumerate(board.pairs)]
    tables = {name: spread(board, known, rows, pair) for name, rows, pair in places if len(rows) > 1}
    for n in range(len(known) - 1):
        path = f"compare/{paths.slug(board.suite)}/{n}"
        blocks = {name: {key: values(table[n, n + 1 :]) for key, table in own.items()} for name, own in tables.items()}
        if "all" in tables:
            blocks["all"]["turned"] = values(tables["all"]["corrected"][n + 1 :, n])
        yield f"data/{path}.js", script(path, blocks)


def spread(
    board: Board, known: Sequence[Standing], rows: Sequence[Standing], pair: Pair | None
) -> dict[str, np.ndarray]:
    """What is known of rows that are compared at one place, as tables of all comparable rows; NaN elsewhere."""
    found = differences_of(board, rows, pair)
    own = {"mean": found.mean, "error": found.error.round(DIGITS), "freedom": found.freedom.round(DIGITS)}
    if pair is None:
        own["corrected"] = found.told.round(DIGITS)
    at = np.array([known.index(s) for s in rows])
    tables = {}
    for name, table in own.items():
        tables[name] = np.full((len(known), len(known)), np.nan)
        tables[name][np.ix_(at, at)] = table
    return tables


def values(numbers: np.ndarray) -> list[float | None]:
    """Numbers as JSON has them."""
    return [None if math.isnan(value) else value for value in numbers.tolist()]
