"""The statistics of a board: each row's gains, its rank, and what it does not beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kdbench.hashing import digest
from kdbench.records import standings as of_rows
from kdbench.records.compute import training_flops
from kdbench.records.contrast import Contrasts, contrast_samples
from kdbench.records.cost_record import CostRecord
from kdbench.records.moderation import estimate_prior
from kdbench.records.record import Record, row_name
from kdbench.records.rows import KD, PLAIN, seeds_of, set_apart
from kdbench.records.standings import (
    Contrast,
    Estimate,
    PairResult,
    accuracy_sample,
    contrasts_with,
    pair_result,
    set_places,
    tracks,
)
from kdbench.records.stats import Difference, mean_interval
from kdbench.records.tasks import RANKED, measures_of
from kdbench.suite import without_content
from kdbench_leaderboard.boards import Board, Pair, Row
from kdbench_leaderboard.classes import agreement
from kdbench_leaderboard.read import Found

TRAINED_AGAIN = 2  # the level of verification from which a cell's training was repeated


@dataclass(eq=False)
class Standing(of_rows.Standing[Row]):
    """One row on its board; it equals itself alone.

    Attributes:
        gaps: what keeps it from being ranked; empty for a ranked row.
        apart: how its network differs from the suite's student, for which it is not ranked among the others.
        reference: its name, if the others are compared with it.
        against: by reference: the plain student, KD, and each control.
        beside: by reference, the title of the row that it was compared with: tuned rows have a KD of their own.
        further: means over pairs of what only some records know: "balanced" accuracy, "agreement" with the teacher.
        compute: mean floating-point operations of one of its trainings, as a multiple of the plain students'.
        seconds: median wall time of its trainings, and the median ratio to the plain students' beside them.
        step_ratio: a training step's time alone on a machine, as a multiple of the plain student's.
    """

    pairs: dict[Pair, PairResult[Found]] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)
    apart: str | None = None
    reference: str | None = None
    against: dict[str, Contrast] = field(default_factory=dict)
    beside: dict[str, str] = field(default_factory=dict)
    further: dict[str, Estimate] = field(default_factory=dict)
    compute: float | None = None
    seconds: tuple[float, float | None] | None = None
    step_ratio: float | None = None
    cost_hardware: str = ""

    @property
    def accuracy(self) -> Estimate | None:
        return self.metrics.get(RANKED, self.metrics.get("top1"))

    @property
    def gain(self) -> Difference | None:
        return self.against[PLAIN].difference if PLAIN in self.against else None

    @property
    def seeds(self) -> int:
        """How many of its seeds count, on the pair that has most."""
        return max((len(result.cells) for result in self.pairs.values()), default=0)

    @property
    def trained_again(self) -> tuple[int, int]:
        """How many of its cells were trained again, for an epoch or as a whole, and of how many."""
        levels = [cell.level for cell in self.row.cells.values() if cell.correct is not None]
        return sum(level >= TRAINED_AGAIN for level in levels), len(levels)

    @property
    def verified(self) -> str:
        """The same in words."""
        again, cells = self.trained_again
        return f"{again} of {cells} cells trained again" if again else "not verified"


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
    for name in (PLAIN, board.rival):
        if name in compared:
            compare_by_pair(board, found, compared[name], name)
    for name, s in compared.items():
        s.reference = name
    for track in tracks(ranked):
        set_places(track, differences_of(board, track))
        for name, s in compared.items():
            if not s.gaps:
                reference = of_track(track, s)
                for one, contrast in contrasts_in(board, track, reference):
                    one.against[name], one.beside[name] = contrast, reference.row.title
    return found


def of_track(track: Sequence[Standing], reference: Standing) -> Standing:
    """What the rows of a track are compared with: tuned KD for tuned rows, where it is there."""
    name = row_name(reference.row.info.name, {}, track[0].budget)
    return next((s for s in track if s.row.name == name), reference)


def contrasts_in(
    board: Board, track: Sequence[Standing], reference: Standing, pair: Pair | None = None
) -> Iterator[tuple[Standing, Contrast]]:
    """Each other row of a track against one reference, corrected over them."""
    rows = list(track) if reference in track else [*track, reference]
    if len(rows) > 1:
        for i, contrast in contrasts_with(differences_of(board, rows, pair), rows.index(reference)).items():
            yield rows[i], contrast


def differences_of(board: Board, rows: Sequence[Standing], pair: Pair | None = None) -> Contrasts:
    """Every row minus every other, over all pairs or on one, computed once.

    Variances are moderated by what the suite states, or by one another.
    """
    key = pair, tuple(s.row.title for s in rows)
    if key not in board.compared:
        samples = [accuracy_sample([s.pairs[p].cells for p in ([pair] if pair else board.pairs)]) for s in rows]
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
    """Each row against one reference on each pair, corrected over the rows of its track on the pair."""
    for pair in board.pairs:
        rows = rows_on(found, pair)
        if reference not in rows:
            continue
        for track in tracks(rows):
            for s, contrast in contrasts_in(board, track, of_track(track, reference), pair):
                result = s.pairs[pair]
                result.against[name] = contrast
                if name == PLAIN:
                    result.gain, result.verdict = contrast.difference, contrast.verdict


def rows_on(found: Sequence[Standing], pair: Pair) -> list[Standing]:
    """The rows that can be compared on a pair."""
    return [s for s in found if not s.row.foreign and not s.apart and s.pairs[pair].cells]


def standing(board: Board, row: Row) -> Standing:
    """A row's result on each pair, and what keeps it from being ranked."""
    seeds = seeds_of(row, board.pairs, board.seeds, board.most_seeds)
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
        for metric in measures_of(board.num_classes, board.has_tasks):
            table = [[c.metrics[metric.name] for _, c in sorted(r.cells.items())] for r in found.pairs.values()]
            found.metrics[metric.name] = mean_interval(np.array(table).mean(axis=0))
        found.further = further(found, board)
    found.seconds = training_seconds(row, plain)
    found.compute = compute_ratio(row, plain, board.teacher_macs)
    protocols = {board.fingerprint, digest(without_content(board.protocol))}  # costs are measured without data
    measured = [c for c in costs if c.fingerprint in protocols and c.info.name == row.info.name]
    measured = [c for c in measured if c.info.version == row.info.version and runs_as(c, row)]
    if measured:
        found.step_ratio = float(np.mean([c.method.milliseconds / c.plain.milliseconds for c in measured]))
        hardware = {c.environment.get("gpu") or c.environment.get("cpu") or "" for c in measured}
        found.cost_hardware = ", ".join(sorted(hardware))


def further(s: Standing, board: Board) -> dict[str, Estimate]:
    """Means of what is known of all of a row's records: balanced accuracy, agreement with the teachers."""
    teachers = {
        t.record.main.sha256 or "": t.answers for several in board.teachers.values() for t in several if t.answers
    }
    kinds: dict[str, Callable[[Found], float | None]] = {
        "balanced": lambda cell: cell.classes.balanced if cell.classes else None,
        "agreement": lambda cell: agreement(cell.answers, teachers),
    }
    found = {}
    for name, of in kinds.items():
        table = [[of(cell) for _, cell in sorted(result.cells.items())] for result in s.pairs.values()]
        if all(value is not None for values in table for value in values):
            found[name] = mean_interval(np.array(table, dtype=float).mean(axis=0))
    return found


def runs_as(cost: CostRecord, row: Row) -> bool:
    """Whether a cost was measured with the parameters of one of the row's records."""
    return any(cell.record.params == cost.params for cell in row.cells.values())


def compute_ratio(row: Row, plain: Row | None, macs: Mapping[str, int]) -> float | None:
    """Mean over trainings of their FLOPs over those of the plain student of the same name and seed.

    Args:
        macs: of teachers, by the hash of their weights.
    """
    ratios = []
    for (_, student, seed), cell in row.cells.items():
        other = plain.cells.get((None, student, seed)) if plain else None
        own, beside = training_flops(cell.record, macs), training_flops(other.record, macs) if other else None
        if own and beside:
            ratios.append(own / beside)
    return float(np.mean(ratios)) if ratios else None


def training_seconds(row: Row, plain: Row | None) -> tuple[float, float | None] | None:
    """Median wall time of the row's trainings, and of its ratio to the plain student's of the same student and seed.

    Medians, since some trainings wait for other work of their machine. The ratio is over trainings with one state of
    kdbench on one kind of machine; None where there are none.
    """
    seconds, ratios = [], []
    for (_, student, seed), cell in row.cells.items():
        if cell.record.cost is None:
            continue
        seconds.append(cell.record.cost.train_seconds)
        other = plain.cells.get((None, student, seed)) if plain else None
        if other and other.record.cost and same_machine(cell.record, other.record) and other.record.cost.train_seconds:
            ratios.append(cell.record.cost.train_seconds / other.record.cost.train_seconds)
    return (float(np.median(seconds)), float(np.median(ratios)) if ratios else None) if seconds else None


def same_machine(one: Record, other: Record) -> bool:
    """Whether two trainings took place with one state of kdbench, on machines of one kind."""
    return all(one.environment.get(key) == other.environment.get(key) for key in ("commit", "cpu", "device"))
