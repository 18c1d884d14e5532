"""The statistics of a board: each row's gains, its rank, its tie group, and what it does not beat."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kdbench.cost_record import CostRecord
from kdbench.hashing import digest
from kdbench.metrics import metrics_for
from kdbench.stats import (
    Difference,
    Verdict,
    crossed_difference,
    holm,
    mean_interval,
    mean_ranks,
    tie_groups,
    verdict,
)
from kdbench.suite import without_content
from kdbench_leaderboard.boards import PLAIN, Board, Pair, Row
from kdbench_leaderboard.read import Found

KD = "kd"
Estimate = tuple[float, float | None]  # a mean over seeds, and half the width of its 95 % interval


@dataclass(frozen=True)
class PairResult:
    """One row on one pair.

    Attributes:
        cells: by seed.
        accuracy: top-1 in percent; None without a result.
        gain: over the plain student, in percentage points, paired by seed and image.
        why: why there is no result.
    """

    cells: dict[int, Found]
    accuracy: Estimate | None
    gain: Difference | None
    why: str | None


@dataclass(frozen=True)
class Contrast:
    """A row against a reference row.

    Attributes:
        adjusted: p-value after Holm over all rows that are compared with this reference.
    """

    difference: Difference
    adjusted: float | None
    verdict: Verdict


@dataclass
class Standing:
    """One row on its board.

    Attributes:
        gaps: what keeps it from being ranked; empty for a ranked row.
        metrics: mean over pairs of each metric of the registry.
        group: tie group, 1 holds the best; None for a row that is not ranked.
        rank: mean over pairs of its rank among the ranked rows.
        against: by reference: the plain student, KD, and each control.
        compute: mean floating-point operations of one of its trainings, as a multiple of the plain students'.
        seconds: mean wall time of one of its trainings, and the same of the plain students beside it.
        step_ratio: a training step's time alone on a machine, as a multiple of the plain student's.
    """

    row: Row
    pairs: dict[Pair, PairResult]
    gaps: list[str]
    metrics: dict[str, Estimate] = field(default_factory=dict)
    group: int | None = None
    rank: Estimate | None = None
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
    def not_better_than(self) -> list[str]:
        """The references that it does not measurably beat."""
        return [name for name, contrast in self.against.items() if contrast.verdict != "better"]

    @property
    def level(self) -> int:
        """The level of verification that all its records have reached."""
        return min((c.level for c in self.row.cells.values() if c.correct is not None), default=0)


def standings(board: Board, costs: list[CostRecord]) -> list[Standing]:
    """The rows of a board in order: by tie group, then by accuracy; those that are not ranked last."""
    plain = next((row for row in board.rows if row.name == PLAIN), None)
    found = [standing(board, row, plain, costs) for row in board.rows]
    ranked = {s.row.title: s for s in found if not s.gaps}
    values = {title: seed_image_values(board, s.row) for title, s in ranked.items()}
    for number, group in enumerate(tie_groups(values), start=1):
        for title in group:
            ranked[title].group = number
    if ranked:
        scores = {title: pair_seed_scores(board, s.row) for title, s in ranked.items()}
        for title, rank in mean_ranks(scores).items():
            ranked[title].rank = rank
    for reference in references(ranked):
        contrast_with(reference, ranked, values)
    return sorted(found, key=order)


def order(s: Standing) -> tuple[float, float, str]:
    accuracy = s.accuracy[0] if s.accuracy else 0.0
    return (s.group or float("inf"), -accuracy, s.row.title)


def references(ranked: dict[str, Standing]) -> list[str]:
    """What a method should beat: the plain student, the controls, plain KD; accepted rows without a variant."""
    names = [t for t, s in ranked.items() if s.row.info.scheme == "baseline" and t == s.row.info.name]
    names.sort(key=lambda name: (name != PLAIN, name))
    return [*names, KD] if KD in ranked else names


def contrast_with(reference: str, ranked: dict[str, Standing], values: dict[str, np.ndarray]) -> None:
    """Compare every ranked row with one of them."""
    others = [title for title in ranked if title != reference]
    differences = [crossed_difference(values[title] - values[reference]) for title in others]
    adjusted = holm([d.p_value for d in differences])
    for title, d, p in zip(others, differences, adjusted, strict=True):
        ranked[title].against[reference] = Contrast(d, p, verdict(d.mean, p))


def standing(board: Board, row: Row, plain: Row | None, costs: list[CostRecord]) -> Standing:
    comparable = plain if not row.foreign else None
    pairs = {pair: pair_result(board, row, comparable, pair) for pair in board.pairs}
    gaps = [f"{t}:{s}: {result.why}" for (t, s), result in pairs.items() if result.why]
    if row.foreign:
        gaps.append("trained under a teacher other than the board's")
    if not board.pairs:
        gaps.append("the board has no pairs yet")
    found = Standing(row, pairs, gaps)
    if not gaps:
        for metric in metrics_for(board.num_classes):
            table = [
                [getattr(c.record.main.metrics, metric.name) for _, c in sorted(result.cells.items())]
                for result in pairs.values()
            ]
            if all(value is not None for values in table for value in values):
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
    return found


def runs_as(cost: CostRecord, row: Row) -> bool:
    """Whether a cost was measured with the parameters of one of the row's records."""
    return any(cell.record.params == cost.params for cell in row.cells.values())


def pair_result(board: Board, row: Row, plain: Row | None, pair: Pair) -> PairResult:
    cells = {seed: cell for seed in board.seeds if (cell := row.cell(pair, seed)) is not None}
    done = {seed: cell for seed, cell in cells.items() if cell.correct is not None}
    if not done:
        reasons = [cell.record.reason for cell in cells.values() if cell.record.reason]
        return PairResult({}, None, None, f"not applicable: {reasons[0]}" if reasons else "no record")
    accuracy = mean_interval(np.array([c.record.main.metrics.top1 for c in done.values()]))
    missing = [seed for seed in board.seeds if seed not in done]
    why = f"no record of seed {', '.join(map(str, missing))}" if missing else None
    gain = None
    if plain is not None and row is not plain:
        gain = seed_paired_gain(done, {seed: cell for seed in done if (cell := plain.cell(pair, seed))})
    return PairResult(done, accuracy, gain, why)


def seed_paired_gain(cells: dict[int, Found], plain: dict[int, Found]) -> Difference | None:
    """The difference to the plain student on the seeds that both have; None without one."""
    differences = []
    for seed, cell in cells.items():
        beside = plain[seed].correct if seed in plain else None
        if cell.correct is not None and beside is not None:
            differences.append(100.0 * cell.correct - 100.0 * beside)
    return crossed_difference(np.stack(differences)[None]) if differences else None


def seed_image_values(board: Board, row: Row) -> np.ndarray:
    """(1, S, I) correctness in percent, averaged over the pairs of a ranked row."""
    total = np.zeros((len(board.seeds), board.images))
    for pair in board.pairs:
        for n, seed in enumerate(board.seeds):
            cell = row.cell(pair, seed)
            assert cell is not None
            assert cell.correct is not None
            total[n] += 100.0 * cell.correct
    return total[None] / len(board.pairs)


def pair_seed_scores(board: Board, row: Row) -> np.ndarray:
    """(P, S) accuracies of a ranked row."""
    cells = [[row.cell(pair, seed) for seed in board.seeds] for pair in board.pairs]
    return np.array([[c.record.main.metrics.top1 for c in seeds if c] for seeds in cells])


def compute_ratio(row: Row, plain: Row | None) -> float | None:
    """Mean over trainings of their FLOPs over those of the plain student of the same name and seed."""
    ratios = []
    for (_, student, seed), cell in row.cells.items():
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
