"""How a row stands: its result on each pair, and its place among other rows; for the terminal and the site alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations
from typing import Any, Generic, TypeVar

import numpy as np

from kdbench.records.contrast import Contrasts, Sample, sample
from kdbench.records.dunnett import adjusted
from kdbench.records.power import correction, detectable
from kdbench.records.ranks import RankSet, rank_sets
from kdbench.records.rows import Cell, Result, Row
from kdbench.records.stats import LEVEL, Difference, Verdict, holm, mean_interval, verdict

MATTERS = 1.0  # percentage points of accuracy: "not better" rules out a gain as large
Estimate = tuple[float, float | None]  # a mean over seeds, and half the width of its 95 % interval


@dataclass
class PairResult(Generic[Cell]):
    """One row on one pair.

    Attributes:
        cells: those with a result, by seed.
        accuracy: what rows are ranked by, in percent; None without a result.
        reason: why the row is not applicable to the pair, if it is not.
        missing: seeds without a result.
        gain: over the plain student, in percentage points; None where there is none.
        verdict: on that gain, corrected over all rows of the pair.
        against: by reference (the plain student, KD), corrected in the same way.
    """

    cells: dict[int, Cell]
    accuracy: Estimate | None
    reason: str | None
    missing: list[int]
    gain: Difference | None = None
    verdict: Verdict = "not compared"
    against: dict[str, Contrast] = field(default_factory=dict)

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
    return PairResult(done, mean_accuracy(done), None, missing)


def mean_accuracy(cells: Mapping[int, Cell]) -> Estimate:
    """The accuracy that rows are ranked by, in percent, from records by seed."""
    return mean_interval(np.array([cell.record.accuracy for cell in cells.values()]))


def accuracy_sample(by_pair: Sequence[Mapping[int, Cell]]) -> Sample:
    """The same of records by seed, image by image, of one pair or of several with the same seeds."""
    seeds = list(by_pair[0])
    return sample(np.array([[100.0 * scores_of(cells[seed]) for seed in seeds] for cells in by_pair]), seeds)


def scores_of(cell: Result) -> np.ndarray:
    """(I,) what each test image adds to the accuracy of a record that has a result."""
    assert cell.scores is not None
    return cell.scores


@dataclass(frozen=True)
class Contrast:
    """One row against another.

    Attributes:
        adjusted: p-value of the difference, corrected for all that are compared at once.
        detectable: what would be told from 0 four times in five; None with one seed.
        bounds: of the difference, that hold for all that are compared at once; None with one seed.
    """

    difference: Difference
    adjusted: float | None
    verdict: Verdict
    detectable: float | None = None
    bounds: tuple[float, float] | None = None

    @property
    def undecided(self) -> bool:
        """Whether nothing is told apart and a difference that matters is not ruled out either."""
        return self.gain_is_open or self.loss_is_open

    @property
    def gain_is_open(self) -> bool:
        """The same of differences above 0 alone."""
        return self.verdict == "not separable" and self.bounds is not None and self.bounds[1] >= MATTERS

    @property
    def loss_is_open(self) -> bool:
        """The same of differences below 0 alone."""
        return self.verdict == "not separable" and self.bounds is not None and self.bounds[0] <= -MATTERS


def contrasts_with(found: Contrasts, reference: int, higher_is_better: bool = True) -> dict[int, Contrast]:
    """Every other row against one, by index, with Dunnett's correction over all of them."""
    others = [i for i in range(len(found.mean)) if i != reference]
    if not others:
        return {}
    differences = [found.difference(i, reference) for i in others]
    p_values = adjusted([d.p_value for d in differences], found.shared[others, reference], found.own[others])
    limit = correction(found, reference)
    return {
        i: Contrast(d, p, verdict(d.mean, p, higher_is_better), *reach(found, i, reference, limit))
        for i, d, p in zip(others, differences, p_values, strict=True)
    }


def all_contrasts(found: Contrasts, higher_is_better: bool = True) -> dict[tuple[int, int], Contrast]:
    """Every row against each later one, by indices, with Holm's correction over all of them."""
    names = list(combinations(range(len(found.mean)), 2))
    differences = [found.difference(i, j) for i, j in names]
    limit = LEVEL / max(1, len(names))
    return {
        (i, j): Contrast(d, p, verdict(d.mean, p, higher_is_better), *reach(found, i, j, limit))
        for (i, j), d, p in zip(names, differences, holm([d.p_value for d in differences]), strict=True)
    }


def reach(found: Contrasts, i: int, j: int, limit: float) -> tuple[float | None, tuple[float, float] | None]:
    """What of two rows would be found at this p-value, and the bounds of their difference there; None with one seed."""
    d = found.difference(i, j, 1 - limit)
    if d.low is None or d.high is None:
        return None, None
    return detectable(float(found.error[i, j]), float(found.freedom[i, j]), limit), (d.low, d.high)


AnyRow = TypeVar("AnyRow", bound=Row)


@dataclass
class Standing(Generic[AnyRow]):
    """One row among others.

    Attributes:
        metrics: mean over pairs of each metric of the registry.
        place: in the order of means, 1 is the best; equal means share one. None for a row that is not ranked.
        ranks: the first and the last rank that the evidence leaves open; None with one seed.
        like_the_leader: whether it stands below the first row, and neither is told from the other nor any above it.
    """

    row: AnyRow
    metrics: dict[str, Estimate] = field(default_factory=dict)
    place: int | None = None
    ranks: RankSet | None = None
    like_the_leader: bool = False

    @cached_property
    def budget(self) -> int | None:
        """After how many trials the row was tuned; None for parameters of papers, the suite or a user."""
        return self.row.budget


AnyStanding = TypeVar("AnyStanding", bound=Standing[Any])


def tracks(rows: Sequence[AnyStanding]) -> list[list[AnyStanding]]:
    """Rows that may be ranked beside each other: with the papers' parameters, then those of equal budgets of tuning."""
    found: dict[int | None, list[AnyStanding]] = {}
    for standing in rows:
        found.setdefault(standing.budget, []).append(standing)
    return [found[budget] for budget in sorted(found, key=lambda budget: -1 if budget is None else budget)]


def track_title(budget: int | None) -> str:
    """What a track is called beside others."""
    if budget is None:
        return "Parameters of papers, the suite or a user"
    return f"Tuned on validation images, {budget} trial{'' if budget == 1 else 's'} a method"


def set_places(ranked: Sequence[Standing[AnyRow]], found: Contrasts, higher_is_better: bool = True) -> None:
    """Give rows, in the order of the contrasts, their places and the ranks that are open."""
    ahead = found.mean > 0 if higher_is_better else found.mean < 0
    places = 1 + ahead.sum(axis=0)
    told = (found.told <= LEVEL) & (found.mean != 0)
    beaten = (told | told.T)[places == 1].any(axis=0)  # in the leader's comparison with all, or in the row's own
    for i, (standing, ranks) in enumerate(zip(ranked, rank_sets(found, higher_is_better), strict=True)):
        standing.place, standing.ranks = int(places[i]), ranks
        standing.like_the_leader = bool(places[i] > 1 and ranks is not None and ranks[0] == 1 and not beaten[i])
