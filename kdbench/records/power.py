"""What a board can find: the difference that its seeds and rows would show four times in five."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from kdbench.records.contrast import Contrasts
from kdbench.records.distributions import student_t_quantile
from kdbench.records.dunnett import critical_p

POWER = 0.8


def detectable(error: float, freedom: float, p: float) -> float:
    """The true difference whose p-value is at most `p` with 80 % power."""
    return error * (student_t_quantile(1 - p / 2, freedom) + student_t_quantile(POWER, freedom))


def detectable_from(found: Contrasts, reference: int, level: float = 0.05) -> float | None:
    """The difference from the reference that a usual row would show, corrected over all rows (Dunnett, one step).

    None where no row has an error (one seed).
    """
    rows = np.arange(len(found.mean))
    others = rows[(rows != reference) & np.isfinite(found.error[:, reference])]
    if not len(others):
        return None
    usual = others[found.usual[others]] if found.usual[others].any() else others
    p = correction(found, reference, level)
    return usual_detectable(found.error[usual, reference], found.freedom[usual, reference], p)


def detectable_between(found: Contrasts, level: float = 0.05) -> float | None:
    """The difference of any two usual rows, corrected over all pairs of rows (Bonferroni, the first step of Holm's)."""
    one, other = np.triu_indices(len(found.mean), 1)
    known = np.isfinite(found.error[one, other])
    usual = known & found.usual[one] & found.usual[other]
    chosen = usual if usual.any() else known
    if not chosen.any():
        return None
    return usual_detectable(found.error[one, other][chosen], found.freedom[one, other][chosen], level / len(one))


def seeds_said(counts: Collection[int]) -> str:
    """How many seeds rows have: "5 seeds", or "5 to 10 seeds" where they differ."""
    low, high = min(counts), max(counts)
    return f"{low} seed{'' if low == 1 else 's'}" if low == high else f"{low} to {high} seeds"


def correction(found: Contrasts, reference: int, level: float = 0.05) -> float:
    """The p-value at which the first of the differences from the reference is told from 0."""
    others = np.arange(len(found.mean)) != reference
    return critical_p(found.shared[others, reference], found.own[others], level)


def usual_detectable(error: np.ndarray, freedom: np.ndarray, p: float) -> float:
    return detectable(float(np.median(error)), float(np.median(freedom)), p)
