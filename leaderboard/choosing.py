"""What `choose.html` needs: by pair the rows with verdicts, costs and needs; and what only others published."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kdbench.records.parts import MethodInfo
from kdbench.records.record import row_name
from kdbench.records.rows import KD, PLAIN
from kdbench.records.standings import Contrast
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.cost import measure_of
from kdbench_leaderboard.page import Page, Site, script
from kdbench_leaderboard.published import Printed, datasets, method_names, published
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.verdicts import mark

FEWEST = 3  # methods of one source on one pair that are worth a ranking


def choosing_scripts(site: Site) -> Iterator[Page]:
    """Measured boards on which students are taught, at once; published numbers when they are asked for."""
    taught = [(board, rows) for board, rows in site.main_boards if board.images_per_class is None]
    yield "data/choose.js", script("choose", [board_choices(board, rows) for board, rows in taught])
    yield "data/choose-published.js", script("choose-published", published_choices(set(site.method_paths)))


def board_choices(board: Board, rows: Sequence[Standing]) -> dict[str, Any]:
    """A board's rows that one could train, by pair."""
    measure = measure_of(rows)
    able = [s for s in rows if needs_of(s.row.info) and s.row.name == row_name(s.row.info.name, {}, s.budget)]
    places: list[Pair | None] = [None, *board.pairs] if len(board.pairs) > 1 else list(board.pairs)
    return {
        "suite": board.suite,
        "title": board.title,
        "purpose": board.purpose,
        "page": paths.suite(board),
        "cost": measure.words,
        "rows": [
            {
                "name": s.row.title,
                "page": paths.method(s.row.info.name),
                "needs": needs_of(s.row.info),
                "cost": measure.of(s) if measure.steady else None,
                "reference": s.reference if s.reference in (PLAIN, KD) else None,
            }
            for s in able
        ],
        "pairs": [place(board, able, pair) for pair in places],
    }


def needs_of(info: MethodInfo) -> str:
    """What a method needs beside the student; empty for a control that nobody would choose."""
    if "data_free" in info.families:
        return "no data"
    if "multi_teacher" in info.families and "team" in info.requires:
        return "several teachers"
    if any(name.startswith(("teacher.", "assistants", "team")) for name in info.requires):
        return "" if info.scheme == "baseline" else "a teacher"
    return "no teacher"


def place(board: Board, rows: Sequence[Standing], pair: Pair | None) -> dict[str, Any]:
    """One pair, or all: how many times smaller the student is, and each row that has a result there."""
    found = []
    for n, s in enumerate(rows):
        accuracy = s.pairs[pair].accuracy if pair else s.accuracy
        if accuracy is not None:
            against = s.pairs[pair].against if pair else s.against
            found.append([n, *accuracy, told(against.get(PLAIN)), told(against.get(KD))])
    label = f"{pair[0]} → {pair[1]}" if pair else "all pairs"
    page = paths.pair(board, pair) if pair else paths.suite(board)
    return {"label": label, "page": page, "ratio": ratio_of(board, rows, pair) if pair else None, "rows": found}


def told(contrast: Contrast | None) -> list[Any] | None:
    """A difference with its verdict's mark."""
    return [contrast.difference.mean, mark(contrast)] if contrast else None


def ratio_of(board: Board, rows: Sequence[Standing], pair: Pair) -> float | None:
    """How many times fewer parameters the student has than its teacher."""
    teacher = board.teacher(pair[0])
    cell = next((cell for s in rows for cell in s.pairs[pair].cells.values()), None)
    if teacher is None or cell is None or not cell.record.main.parameters:
        return None
    return teacher.record.main.parameters / cell.record.main.parameters


def published_choices(known: set[str]) -> dict[str, Any]:
    """By data set and pair, each source's methods with their gains, the largest first."""
    found: dict[str, dict[str, dict[str, list[Printed]]]] = {}
    for printed in published():
        if printed.gain is not None and printed.teacher and printed.student:
            pair = f"{printed.teacher} → {printed.student}"
            found.setdefault(printed.dataset, {}).setdefault(pair, {}).setdefault(printed.source.name, []).append(
                printed
            )
    return {
        dataset: {
            pair: [
                source_choices(by_source[name], known) for name in sorted(by_source, key=lambda n: -len(by_source[n]))
            ]
            for pair, by_source in sorted(found[dataset].items(), key=lambda item: -max(map(len, item[1].values())))
            if any(len(rows) >= FEWEST for rows in by_source.values())
        }
        for dataset in datasets()
        if dataset in found
    }


def source_choices(rows: Sequence[Printed], known: set[str]) -> dict[str, Any]:
    source = rows[0].source
    ranked = sorted(rows, key=lambda p: -(p.gain or 0.0))
    return {
        "source": source.name,
        "notes": source.notes,
        "address": source.address,
        "flags": sorted({flag for row in rows for flag in row.flags}),
        "rows": [
            {
                "name": method_names()[p.method].title,
                "page": paths.method(p.method) if p.method in known else None,
                "accuracy": p.accuracy,
                "gain": p.gain,
            }
            for p in ranked
        ],
    }
