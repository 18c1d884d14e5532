"""Where a method stands: its rank, what it beats, what it costs, and what separates it from the leader."""

from __future__ import annotations

from collections.abc import Sequence

from kdbench.records.rows import KD, PLAIN
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.cost import measure_of
from kdbench_leaderboard.page import Site
from kdbench_leaderboard.standings import Standing, differences_of
from kdbench_leaderboard.tables import Cell, Column, Line, Table, difference, estimate
from kdbench_leaderboard.verdicts import against_cell, gain_cell, mark, spoken
from kdbench_leaderboard.views import GAIN_HELP, KD_HELP, RANK_HELP, rank_cell, times

Boards = Sequence[tuple[Board, list[Standing]]]
SAID = {
    "better": "is measurably better than",
    "worse": "is measurably worse than",
    "level": "is not measurably better than",
    "open": "is undecided against",
    "none": "is, with one seed, not compared with",
}


def stands_table(site: Site, boards: Boards) -> Table:
    """A line a board: all that a row's author asks first."""
    lines = [stands_line(board, everyone, s) for board, everyone, s in places(site, boards)]
    heads = dict.fromkeys(board.accuracy for board, _, _ in places(site, boards))
    accuracy = next(iter(heads)) if len(heads) == 1 else "Accuracy, %"
    columns = [
        Column("board", "Suite"),
        Column("rank", "Rank", "number", help=RANK_HELP),
        Column("accuracy", accuracy, "number", help="Mean over pairs and seeds ± half its 95 % interval"),
        Column("gain", "Over the plain student", "number", help=GAIN_HELP),
        Column("kd", "Against KD", "number", help=KD_HELP),
        Column("cost", "Cost", "number", help="Of a training; plain student = 1"),
        Column("leader", "From the leader", "number", help="Difference to the row of the highest mean"),
        *([Column("row", "Row")] * (len({s.row.title for _, _, s in places(site, boards)}) > 1)),
    ]
    if all(board.has_tasks for board, _, _ in places(site, boards)):
        columns = [column for column in columns if column.key != "kd"]
    return Table("stands", "Where it stands", columns, lines)


def places(site: Site, boards: Boards) -> list[tuple[Board, list[Standing], Standing]]:
    """Each row of a method with its board and all rows there; what methods are chosen on first."""
    whole = {id(board): rows for board, rows in site.boards}
    ordered = sorted(boards, key=lambda both: (not both[0].main, bool(both[0].purpose), both[0].suite))
    return [(board, whole[id(board)], s) for board, rows in ordered for s in rows]


def leader_of(everyone: Sequence[Standing], s: Standing) -> Standing | None:
    """The first row of a row's track."""
    return next((one for one in everyone if one.place == 1 and one.budget == s.budget), None)


def stands_line(board: Board, everyone: Sequence[Standing], s: Standing) -> Line:
    measure = measure_of(everyone)
    cells = {
        "board": Cell(board.title, href=paths.suite(board)),
        "row": Cell(s.row.title),
        "rank": rank_cell(s),
        "accuracy": estimate(s.accuracy),
        "gain": gain_cell(s, board),
        "kd": against_cell(s, board, KD),
        "cost": times(measure.of(s), measure.words),
        "leader": leader_cell(board, everyone, s),
    }
    return Line(cells, paper=s.row.info.name, muted=bool(s.gaps))


def leader_cell(board: Board, everyone: Sequence[Standing], s: Standing) -> Cell:
    """The difference to the first row, told apart or not after correction over all rows."""
    leader = leader_of(everyone, s)
    if leader is None or s.place is None:
        return Cell("–")
    if leader is s:
        return Cell("leads")
    ranked = [one for one in everyone if not one.gaps and one.budget == s.budget]
    found, i, j = differences_of(board, ranked), ranked.index(s), ranked.index(leader)
    p = float(found.told[i, j])
    cell = difference(found.difference(i, j), "worse" if p <= 0.05 else "not separable")
    href = paths.compare(board, s.row.title, leader.row.title) if board.main else None
    tags = () if p <= 0.05 else (("not told apart", f"p = {p:.2f} after correction over all rows"),)
    return Cell(f"{cell.text} from {leader.row.title}", cell.value, href, low=cell.low, high=cell.high, tags=tags)


def standing_sentence(board: Board, everyone: Sequence[Standing], s: Standing) -> str:
    """The same in words, per pair where verdicts differ."""
    if s.gaps:
        return f"On {board.title}, {s.row.title} is not ranked: {'; '.join(s.gaps[:3])}."
    ranked = sum(not one.gaps and one.budget == s.budget for one in everyone)
    ranks = f", where ranks {s.ranks[0]} to {s.ranks[1]} are open to it" if s.ranks and s.ranks[0] != s.ranks[1] else ""
    parts = [f"On {board.title}, {s.row.title} has place {s.place} of {ranked}{ranks}."]
    for name in (PLAIN, board.rival):
        contrast = s.against.get(name)
        if contrast is None:
            continue
        on = [f"{t} → {u}" for (t, u), r in s.pairs.items() if name in r.against and mark(r.against[name]) == "better"]
        lost = [f"{t} → {u}" for (t, u), r in s.pairs.items() if name in r.against and mark(r.against[name]) == "worse"]
        text = f"It {SAID[mark(contrast)]} {spoken(name)} ({contrast.difference.mean:+.2f} points)"
        if len(board.pairs) > 1:
            text += f"; by pair, better on {', '.join(on) or 'none'}, worse on {', '.join(lost) or 'none'}"
        parts.append(text + ".")
    return " ".join(parts)
