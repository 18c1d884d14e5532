"""What a board of distilled data shows beside its ranking: a column a student, and the images themselves."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.hashing import digest
from kdbench.records.distilled import draw_grid
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.page import Page
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, Column, Line, Table, estimate, number
from kdbench_leaderboard.views import method_cell

NO_IMAGES = "learns from the whole training set"


@dataclass(frozen=True)
class Picture:
    """The images of one row, drawn.

    Attributes:
        row: its title; `seed` that of the images.
        path: of the PNG, from the site's root.
        count: images drawn of how many.
    """

    row: str
    seed: int
    path: str
    size: tuple[int, int]
    count: tuple[int, int]


def learners_table(board: Board, rows: Sequence[Standing]) -> Table:
    """Each method's accuracy under each student that learns from its images."""
    columns = [
        Column("method", "Method"),
        *(
            Column(
                f"a {':'.join(pair)}",
                f"{pair[1]}, %",
                "number",
                help=f"Top-1 of {pair[1]} trained on the images alone; these are made by {pair[0]}",
            )
            for pair in board.pairs
        ),
        Column("made", "Made in, s", "number", help="Seconds that making the images took, once for all students"),
    ]
    lines = []
    for s in rows:
        cells = {"method": method_cell(s), "made": number(making_seconds(s), 1)}
        cells |= {f"a {':'.join(pair)}": estimate(result.accuracy) for pair, result in s.pairs.items()}
        if s.row.info.name == "vanilla":
            cells["made"] = Cell("–", title=NO_IMAGES)
        lines.append(Line(cells, paper=s.row.info.name, muted=bool(s.gaps)))
    return Table("learners", f"What students learn from the images on {board.title}", columns, lines)


def making_seconds(s: Standing) -> float | None:
    """Mean time that a row's images took; None of a row without such."""
    taken = {c.record.seed: c.record.distilled.seconds for c in s.row.cells.values() if c.record.distilled}
    return sum(taken.values()) / len(taken) if taken else None


def pictures(board: Board, rows: Sequence[Standing]) -> Iterator[tuple[Picture, Page]]:
    """The images of the first seed of each row, with the file that shows them."""
    for s in rows:
        cells = sorted(s.row.cells.values(), key=lambda c: (c.record.seed, c.record.student))
        found = next((c for c in cells if c.images is not None), None)
        if found is None or found.images is None:
            continue
        name = f"{paths.slug(s.row.info.name)}-{digest([s.row.title, board.fingerprint])[:12]}"
        path = f"distilled/{paths.slug(board.suite)}/{name}.png"
        content, size, shown = png(found.images)
        yield Picture(s.row.title, found.record.seed, path, size, (shown, len(found.images))), (path, content)


def png(images: np.ndarray) -> tuple[bytes, tuple[int, int], int]:
    """A grid of the first images as a file, its width and height, and how many it shows."""
    grid, buffer = draw_grid(images), io.BytesIO()
    grid.save(buffer, "PNG", optimize=True)
    return buffer.getvalue(), grid.size, min(100, len(images))


def of_board(board: Board, rows: Sequence[Standing]) -> tuple[dict[str, Any] | None, list[Page]]:
    """What the page of a board needs of its images, and their files; nothing of a board of another kind."""
    if board.images_per_class is None:
        return None, []
    drawn = list(pictures(board, rows))
    about = {
        "per_class": board.images_per_class,
        "table": learners_table(board, rows),
        "pictures": [picture for picture, _ in drawn],
    }
    return about, [page for _, page in drawn]
