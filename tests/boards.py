"""Boards of results, for tests of what stands on them."""

from __future__ import annotations

from pathlib import Path

from kdbench_leaderboard.boards import make_boards
from kdbench_leaderboard.read import read_store
from kdbench_leaderboard.standings import Standing, standings


def by_name(results: Path, runs: Path | None = None) -> dict[str, Standing]:
    store = read_store(results, runs)
    (board,) = make_boards(store)
    return {s.row.title: s for s in standings(board, store.costs)}
