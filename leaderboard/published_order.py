"""Whether the order measured on a board is that of published tables, by the methods that both have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.published import Printed, Source, names_of_rows, published
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, Column, Line, Table, number

FIRST = ("repdistiller_readme", "mdistiller_readme")  # the tables that most papers copy
FEWEST = 4  # methods from which an order says anything; two of the tables above, which say how few they share
DRAWS = 20_000


@dataclass(frozen=True)
class Agreement:
    """How one source's order agrees with the board's.

    Attributes:
        order: methods by the source, the best first.
        correlation: Spearman's, of the measured means with the source's.
        p: chance of one as large in size, if the orders had nothing to do with each other (permutations).
    """

    source: Source
    pairs: int
    order: list[Standing]
    correlation: float
    p: float


def agreements(board: Board, rows: Sequence[Standing]) -> list[Agreement]:
    """Sources with enough of the board's methods on its data set, the most copied first."""
    ranked = {names_of_rows().get(s.row.name, s.row.name): s for s in rows if s.place is not None}
    by_source: dict[str, list[Printed]] = {}
    for printed in published():
        if printed.dataset == board.dataset and printed.accuracy is not None and printed.method in ranked:
            by_source.setdefault(printed.source.name, []).append(printed)
    found = [one for results in by_source.values() if (one := agreement(results, ranked))]
    return sorted(found, key=lambda a: (FIRST.index(a.source.name) if a.source.name in FIRST else 9, -len(a.order)))


def agreement(results: Sequence[Printed], ranked: dict[str, Standing]) -> Agreement | None:
    """One source, the mean over its pairs of what a method is above the others there."""
    by_pair: dict[tuple[str, str], dict[str, float]] = {}
    for printed in results:
        pair = by_pair.setdefault((printed.teacher, printed.student), {})
        pair.setdefault(printed.method, printed.accuracy or 0.0)
    fewest = 2 if results[0].source.name in FIRST else FEWEST
    whole = {pair: scores for pair, scores in by_pair.items() if len(scores) >= fewest}
    above: dict[str, list[float]] = {}
    for scores in whole.values():
        middle = float(np.mean(list(scores.values())))
        for method, accuracy in scores.items():
            above.setdefault(method, []).append(accuracy - middle)
    if len(above) < fewest:
        return None
    names = sorted(above, key=lambda name: -float(np.mean(above[name])))
    theirs = np.array([np.mean(above[name]) for name in names])
    ours = np.array([a[0] for name in names if (a := ranked[name].accuracy)])
    correlation = spearman(ours, theirs)
    return Agreement(results[0].source, len(whole), [ranked[n] for n in names], correlation, chance(ours, theirs))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation, with mean ranks of what is equal; 0 where one has no order."""
    a, b = mean_ranks(one), mean_ranks(other)
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size else 0.0


def mean_ranks(values: np.ndarray) -> np.ndarray:
    below = (values[None, :] < values[:, None]).sum(axis=1)
    equal = (values[None, :] == values[:, None]).sum(axis=1)
    return below + (equal + 1) / 2


def chance(one: np.ndarray, other: np.ndarray) -> float:
    """Two-sided p-value of Spearman's correlation, from permutations drawn with a fixed seed."""
    rng = np.random.default_rng(0)
    a, b = mean_ranks(one), mean_ranks(other)
    a, b = a - a.mean(), b - b.mean()
    drawn = np.array([rng.permutation(a) for _ in range(DRAWS)]) @ b
    return float((1 + (np.abs(drawn) >= abs(float(a @ b)) - 1e-9).sum()) / (1 + DRAWS))


def order_table(board: Board, rows: Sequence[Standing]) -> Table | None:
    """A line a source; None where no source has enough of the methods."""
    lines = []
    for one in agreements(board, rows):
        here = sorted(one.order, key=lambda s: s.place or 0)
        cells = {
            "source": Cell(one.source.name, external=one.source.address),
            "correlation": number(one.correlation, sign=True),
            "p": number(one.p, 3),
            "methods": number(len(one.order), 0),
            "pairs": number(one.pairs, 0),
            "here": Cell(" > ".join(s.row.title for s in here)),
            "there": Cell(" > ".join(s.row.title for s in one.order)),
            "notes": Cell(one.source.notes),
        }
        lines.append(Line(cells))
    if not lines:
        return None
    columns = [
        Column("source", "Source"),
        Column("correlation", "Rank correlation", "number", help="Spearman's, of the methods that both have"),
        Column("p", "p", "number", help="Chance of one as large, were the orders unrelated; by permutations"),
        Column("methods", "Methods", "number", help="That both have"),
        Column("pairs", "Pairs", "number", help="Of the source, of whose accuracies the mean is taken"),
        Column("here", "Order here", wide=True),
        Column("there", "Order there", wide=True),
        Column("notes", "Protocol there", wide=True),
    ]
    return Table("agreement", "Agreement with published orders", columns, lines)
