"""The statistics of a board: each row's gains, its rank, and what it does not beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kdbench.hashing import digest
from kdbench.records import standings as of_rows
from kdbench.records.contrast import Contrasts, contrast_samples
from kdbench.records.cost_record import CostRecord
from kdbench.records.metrics import metrics_for
from kdbench.records.moderation import estimate_prior
from kdbench.records.rows import KD, PLAIN, seeds_of, set_apart
from kdbench.records.standings import (
    Contrast,
    Estimate,
    PairResult,
    contrasts_with,
    pair_result,
    set_places,
    top1_sample,
)
from kdbench.records.stats import Difference, mean_interval
from kdbench.suite import without_content
from kdbench_leaderboard.boards import Board, Pair, Row
from kdbench_leaderboard.read import Found


@dataclass(eq=False)
class Standing(of_rows.Standing[Row]):
    """One row on its board; it equals itself alone.

    Attributes:
        gaps: what keeps it from being ranked; empty for a ranked row.
        apart: how its network differs from the suite's student, for which it is not ranked among the others.
        reference: its name, if the others are compared with it.
        against: by reference: the plain student, KD, and each control.
        compute: mean floating-point operations of one of its trainings, as a multiple of the plain students'.
        seconds: mean wall time of one of its trainings, and the same of the plain students beside it.
        step_ratio: a training step's time alone on a machine, as a multiple of the plain student's.
    """

    pairs: dict[Pair, PairResult[Found]] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    apart: str | None = None
    reference: str | None = None
    against: dict[str, Contrast] = field(default_factory=dict)
    compute: float | None = None
    seconds: tuple[float, float | None] | None = None
    step_ratio: float | None = None
    cost_hardware: str = ""

    @property
    def accuracy(self) -> Estimate | None:
        return self.metrics.get("top1")

    @property
    def gain(self) -> Difference | None:
        return self.against[PLAIN].difference if PLAIN in self.against else None

    @property
    def level(self) -> int:
        """The level of verification that all its records have reached."""
        return min((c.level for c in self.row.cells.values() if c.correct is not None), default=0)


def standings(board: Board, costs: list[CostRecord]) -> list[Standing]:
    """The rows of a board, the highest mean first; those that are not ranked last."""
    found = [standing(board, row) for row in board.rows]
    compared = references(found)
    plain = compared.get(PLAIN)
    for s in found:
        describe(s, board, plain.row if plain else None, costs)
        if s.apart:
            s.gaps.append(f"its network is not the suite's student: {s.apart}")
    found.sort(key=order)
    ranked = [s for s in found if not s.gaps]
    for name in (PLAIN, KD):
        if name in compared:
            compare_by_pair(board, found, compared[name], name)
    for name, s in compared.items():
        s.reference = name
    if ranked:
        differences = differences_of(board, ranked)
        set_places(ranked, differences)
        for name, s in compared.items():
            if not s.gaps:
                for i, contrast in contrasts_with(differences, ranked.index(s)).items():
                    ranked[i].against[name] = contrast
    return found


def differences_of(board: Board, rows: Sequence[Standing], pair: Pair | None = None) -> Contrasts:
    """Every row minus every other, over all pairs or on one, computed once.

    Variances are moderated by what the suite states, or by one another.
    """
    key = pair, tuple(s.row.title for s in rows)
    if key not in board.compared:
        samples = [top1_sample([s.pairs[p].cells for p in ([pair] if pair else board.pairs)]) for s in rows]
        prior = board.prior(pair) or estimate_prior([s.scores for s in samples])
        board.compared[key] = contrast_samples(samples, prior)
    return board.compared[key]


def order(s: Standing) -> tuple[bool, float, str]:
    return bool(s.gaps), -(s.accuracy[0] if s.accuracy else 0.0), s.row.title


def references(found: Sequence[Standing]) -> dict[str, Standing]:
    """What a method should beat, by name: the plain student, the controls, plain KD.

    The accepted row of each, without a variant; yours where no accepted one is ranked.
    """
    names = {s.row.name for s in found if s.row.name == s.row.info.name and s.row.info.scheme == "baseline"}
    names |= {s.row.name for s in found if s.row.name == KD}
    return {
        name: min((s for s in found if s.row.name == name), key=lambda s: (bool(s.gaps), s.row.origin == "yours"))
        for name in sorted(names, key=lambda name: (name != PLAIN, name == KD, name))
    }


def compare_by_pair(board: Board, found: Sequence[Standing], reference: Standing, name: str) -> None:
    """Each row against one reference on each pair, corrected over the rows of the pair."""
    for pair in board.pairs:
        rows = rows_on(found, pair)
        if reference not in rows or len(rows) < 2:
            continue
        differences = differences_of(board, rows, pair)
        for i, contrast in contrasts_with(differences, rows.index(reference)).items():
            result = rows[i].pairs[pair]
            result.against[name] = contrast
            if name == PLAIN:
                result.gain, result.verdict = contrast.difference, contrast.verdict


def rows_on(found: Sequence[Standing], pair: Pair) -> list[Standing]:
    """The rows that can be compared on a pair."""
    return [s for s in found if not s.row.foreign and not s.apart and s.pairs[pair].cells]


def standing(board: Board, row: Row) -> Standing:
    """A row's result on each pair, and what keeps it from being ranked."""
    seeds = seeds_of(row, board.pairs, board.seeds)
    pairs = {pair: pair_result(row.seeds(pair, seeds), seeds) for pair in board.pairs}
    gaps = [f"{t}:{s}: {result.why}" for (t, s), result in pairs.items() if result.why]
    if row.foreign:
        gaps.append("trained under a teacher other than the board's")
    if not board.pairs:
        gaps.append("the board has no pairs yet")
    return Standing(row, pairs=pairs, gaps=gaps)


def describe(found: Standing, board: Board, plain: Row | None, costs: list[CostRecord]) -> None:
    """Its metrics over all pairs, and what it costs beside the plain student."""
    row = found.row
    found.apart = set_apart(row, plain)
    if not found.gaps:
        for metric in metrics_for(board.num_classes):
            table = [[c.metrics[metric.name] for _, c in sorted(r.cells.items())] for r in found.pairs.values()]
            found.metrics[metric.name] = mean_interval(np.array(table).mean(axis=0))
    found.seconds = training_seconds(row, plain)
    found.compute = compute_ratio(row, plain)
    protocols = {board.fingerprint, digest(without_content(board.protocol))}  # costs are measured without data
    measured = [c for c in costs if c.fingerprint in protocols and c.info.name == row.info.name]
    measured = [c for c in measured if c.info.version == row.info.version and runs_as(c, row)]
    if measured:
        found.step_ratio = float(np.mean([c.method.milliseconds / c.plain.milliseconds for c in measured]))
        hardware = {c.environment.get("gpu") or c.environment.get("cpu") or "" for c in measured}
        found.cost_hardware = ", ".join(sorted(hardware))


def runs_as(cost: CostRecord, row: Row) -> bool:
    """Whether a cost was measured with the parameters of one of the row's records."""
    return any(cell.record.params == cost.params for cell in row.cells.values())


def compute_ratio(row: Row, plain: Row | None) -> float | None:
    """Mean over trainings of their FLOPs over those of the plain student of the same name and seed.

    Trainings from stored outputs are left out: what they computed depends on what others had computed before.
    """
    ratios = []
    for (_, student, seed), cell in row.cells.items():
        if any(teacher.outputs == "stored" for teacher in cell.record.teachers):
            continue
        own, other = cell.record.cost, plain.cells.get((None, student, seed)) if plain else None
        beside = other.record.cost if other else None
        if own and beside and own.flops and beside.flops:
            ratios.append(own.flops / beside.flops)
    return float(np.mean(ratios)) if ratios else None


def training_seconds(row: Row, plain: Row | None) -> tuple[float, float | None] | None:
    """Mean wall time of the row's trainings, and of the plain student's with the same students and seeds."""
    own, beside = [], []
    for (_, student, seed), cell in row.cells.items():
        if cell.record.cost is None:
            continue
        own.append(cell.record.cost.train_seconds)
        other = plain.cells.get((None, student, seed)) if plain else None
        if other and other.record.cost:
            beside.append(other.record.cost.train_seconds)
    if not own:
        return None
    return float(np.mean(own)), float(np.mean(beside)) if len(beside) == len(own) else None
