"""How a row stands: its result on each pair, and its place among other rows; for the terminal and the site alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np

from kdbench.records.rows import Cell, Result, Row
from kdbench.records.stats import (
    Difference,
    Verdict,
    crossed_difference,
    holm,
    mean_interval,
    mean_ranks,
    tie_groups,
    verdict,
)

Estimate = tuple[float, float | None]  # a mean over seeds, and half the width of its 95 % interval


@dataclass
class PairResult(Generic[Cell]):
    """One row on one pair.

    Attributes:
        cells: those with a result, by seed.
        accuracy: top-1 in percent; None without a result.
        reason: why the row is not applicable to the pair, if it is not.
        missing: seeds without a result.
        gain: over the plain student, in percentage points, paired by seed and image; None where there is none.
        verdict: on that gain, after Holm over all rows of the pair.
    """

    cells: dict[int, Cell]
    accuracy: Estimate | None
    reason: str | None
    missing: list[int]
    gain: Difference | None = None
    verdict: Verdict = "not compared"

    @property
    def why(self) -> str | None:
        """Why there is no result, or not of every seed."""
        if self.accuracy is None:
            return f"not applicable: {self.reason}" if self.reason else "no record"
        return f"no record of seed {', '.join(map(str, self.missing))}" if self.missing else None


def pair_result(cells: Mapping[int, Cell], seeds: Sequence[int]) -> PairResult[Cell]:
    """What a row's records of a pair, by seed, say on these seeds."""
    done = {seed: cells[seed] for seed in seeds if seed in cells and cells[seed].correct is not None}
    missing = [seed for seed in seeds if seed not in done]
    if not done:
        reasons = [cell.record.reason for cell in cells.values() if cell.record.reason]
        return PairResult({}, None, reasons[0] if reasons else None, missing)
    return PairResult(done, mean_top1(done), None, missing)


def mean_top1(cells: Mapping[int, Cell]) -> Estimate:
    """Top-1 in percent, from records by seed."""
    return mean_interval(np.array([cell.record.main.metrics.top1 for cell in cells.values()]))


def gain_over(plain: Mapping[int, Cell], cells: Mapping[int, Cell]) -> Difference | None:
    """The difference to the plain student on the seeds that both have; None without one."""
    seeds = [seed for seed in cells if seed in plain and plain[seed].correct is not None]
    differences = [100.0 * correct_of(cells[seed]) - 100.0 * correct_of(plain[seed]) for seed in seeds]
    return crossed_difference(np.stack(differences)[None]) if differences else None


def correct_of(cell: Result) -> np.ndarray:
    """(I,) is the network of a record that has a result right on each test image?"""
    assert cell.correct is not None
    return cell.correct


@dataclass(frozen=True)
class Contrast:
    """One row against another.

    Attributes:
        adjusted: p-value of the difference after Holm over all that are compared at once.
    """

    difference: Difference
    adjusted: float | None
    verdict: Verdict


def contrasts(differences: Sequence[Difference], higher_is_better: bool = True) -> list[Contrast]:
    """The verdict on each of several differences, p-values corrected over all of them."""
    adjusted = holm([d.p_value for d in differences])
    return [Contrast(d, p, verdict(d.mean, p, higher_is_better)) for d, p in zip(differences, adjusted, strict=True)]


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass
class Standing(Generic[AnyRow]):
    """One row among others.

    Attributes:
        metrics: mean over pairs of each metric of the registry.
        group: tie group: 1 holds the best mean and all rows not separable from it, 2 the best of the rest and its like;
            None for a row that is not ranked.
        rank: mean over pairs of its rank among the ranked rows.
    """

    row: AnyRow
    metrics: dict[str, Estimate] = field(default_factory=dict)
    group: int | None = None
    rank: Estimate | None = None


def set_places(
    ranked: Mapping[str, Standing[AnyRow]],
    values: Mapping[str, np.ndarray],
    scores: Mapping[str, np.ndarray],
    higher_is_better: bool = True,
) -> None:
    """Give rows their tie groups and mean ranks.

    Args:
        ranked: by title.
        values: (P, S, I), what is compared of each pair, seed and image.
        scores: (P, S), what is ranked.
    """
    for number, titles in enumerate(tie_groups(values, higher_is_better), start=1):
        for title in titles:
            ranked[title].group = number
    for title, rank in mean_ranks(scores, higher_is_better).items():
        ranked[title].rank = rank
