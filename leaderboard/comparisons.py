"""What `compare.html` needs of any two rows: each row's seeds, and its errors against all others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from kdbench.records.contrast import Contrasts
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.page import Page, Site, script
from kdbench_leaderboard.standings import Standing, differences_of, rows_on

DIGITS = 9  # significant, of what the browser computes with


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
    """A suite's rows, each with its accuracy by pair and seed."""
    return {
        "suite": board.suite,
        "title": board.title,
        "seeds": len(board.seeds),
        "page": paths.suite(board),
        "pairs": [f"{teacher} → {student}" for teacher, student in board.pairs],
        "ranked": sum(not s.gaps for s in known),
        "rows": [
            {
                "name": s.row.title,
                "title": s.row.info.title or "",
                "page": paths.method(s.row.info.name),
                "seeds": [seeds_on(s, pair) for pair in board.pairs],
            }
            for s in known
        ],
    }


def seeds_on(s: Standing, pair: Pair) -> dict[str, float]:
    cells = s.pairs[pair].cells
    return {str(seed): cell.record.main.metrics.top1 for seed, cell in sorted(cells.items())}


def row_scripts(board: Board, known: Sequence[Standing]) -> Iterator[Page]:
    """Each row against all others: of all pairs, then of each."""
    places: list[tuple[list[Standing], Pair | None]] = [([s for s in known if not s.gaps], None)]
    places += [(rows_on(known, pair), pair) for pair in board.pairs]
    whole = [(rows, differences_of(board, rows, pair)) for rows, pair in places if len(rows) > 1]
    at = [{id(s): i for i, s in enumerate(rows)} for rows, _ in whole]
    names = [pair for rows, pair in places if len(rows) > 1]
    for n, s in enumerate(known):
        blocks: dict[str, Any] = {}
        for (_, found), where, pair in zip(whole, at, names, strict=True):
            if id(s) in where:
                key = "all" if pair is None else str(board.pairs.index(pair))
                blocks[key] = block(found, where[id(s)], [where.get(id(other)) for other in known], pair is None)
        path = f"compare/{paths.slug(board.suite)}/{n}"
        yield f"data/{path}.js", script(path, blocks)


def block(found: Contrasts, i: int, others: Sequence[int | None], corrected: bool) -> dict[str, list[float | None]]:
    """A row's error and degrees of freedom against each other row; over all pairs also the corrected p-value.

    Args:
        others: of all comparable rows, their place among those compared here; None for one that is not.
    """
    tables = {"error": found.error, "freedom": found.freedom, "mean": found.mean}
    if corrected:
        tables["corrected"] = found.told
    return {
        name: [None if j is None or j == i else finite(table[i, j]) for j in others] for name, table in tables.items()
    }


def finite(value: np.floating[Any]) -> float | None:
    """A number as JSON has it."""
    return float(f"{value:.{DIGITS}g}") if np.isfinite(value) else None
