"""Many rows against one reference: p-values corrected for their number, with what the differences share (Dunnett 1955).

All differences from one reference hold that reference's own error, so they are correlated: difference i with i' by
sqrt(shared_i shared_i'), where shared_i is the reference's part of its variance. Given that common error, they are
independent, and the probability that the largest exceeds a bound is one integral. A row's own error follows Student's
t, so what is far out is rather its own doing than the reference's, and correlates less than the bulk. The step-down
form (Naik 1975, Dunnett and Tamhane 1991) tests the smallest p-value among all, the next among the others, and so on:
the chance of any wrong claim stays at the level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from kdbench.records.distributions import student_t_tails_of

COMMON = np.linspace(0.0, 6.0, 49)  # of the common error, in its standard deviations; below 0 all is the same
WEIGHTS = np.where(COMMON > 0, 2, 1) * np.exp(-(COMMON**2) / 2)
WEIGHTS /= WEIGHTS.sum()
BOUNDS = np.concatenate([np.linspace(0.0, 10.0, 401), np.geomspace(10.0, 1e5, 200)[1:]])  # of a difference
STEP = 0.05  # shared parts are rounded down to it: less correlation is the careful side
MOST_SHARED = 0.95
MOST_FREEDOM = 1000.0  # beyond it Student's t is the normal distribution
CHUNK = 32  # p-values that are adjusted at once
CERTAIN = 1 - 1e-9
TINY = 1e-300

Level = tuple[float, float]  # a shared part, and degrees of freedom


def adjusted(
    p_values: Sequence[float | None], shared: Sequence[float] | np.ndarray, freedom: Sequence[float] | np.ndarray
) -> list[float | None]:
    """Step-down adjusted p-values of differences from one reference, two-sided.

    A difference without a p-value (one seed) counts among them and stays without one.

    Args:
        shared: the part of each difference's variance that is the reference's.
        freedom: degrees of freedom of the rest, the row's own.
    """
    found: list[float | None] = [None] * len(p_values)
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    if not known:
        return found
    order = [*(i for _, i in known), *(i for i, p in enumerate(p_values) if p is None)]
    levels, counts = in_levels([shared[i] for i in order], [freedom[i] for i in order])
    left = counts[::-1].cumsum(axis=0)[::-1][: len(known)]  # (K, L) hypotheses not yet rejected, by level
    ps = np.array([p for p, _ in known])
    bounded = np.ones(len(ps))
    for start in range(0, len(ps), CHUNK):
        part = slice(start, start + CHUNK)
        raw = exceeding(ps[part], left[part], levels)
        bounded[part] = np.clip(raw, ps[part], np.minimum(1.0, ps[part] * left[part].sum(axis=1)))
        if bounded[part].max() > CERTAIN:
            break  # what follows is never smaller: 1 but for less than this
    for (_, i), p in zip(known, np.maximum.accumulate(bounded), strict=True):
        found[i] = float(p)
    return found


def critical_p(
    shared: Sequence[float] | np.ndarray, freedom: Sequence[float] | np.ndarray, level: float = 0.05
) -> float:
    """The p-value at which the first of these differences is told from 0, after correction (single step)."""
    levels, counts = in_levels(shared, freedom)
    low, high = level / len(shared), level
    for _ in range(40):
        middle = (low + high) / 2
        above = exceeding(np.array([middle]), counts.sum(axis=0, keepdims=True), levels)[0] > level
        low, high = (low, middle) if above else (middle, high)
    return low


def in_levels(
    shared: Sequence[float] | np.ndarray, freedom: Sequence[float] | np.ndarray
) -> tuple[list[Level], np.ndarray]:
    """The levels that occur, and (N, L) in which of them each stands."""
    parts = np.minimum(np.floor(np.asarray(shared) / STEP + 1e-9) * STEP, MOST_SHARED)
    whole = np.clip(np.floor(np.nan_to_num(np.asarray(freedom), nan=MOST_FREEDOM)), 1.0, MOST_FREEDOM)
    levels, which = np.unique(np.stack([parts, whole], axis=1), axis=0, return_inverse=True)
    return [(float(part), float(df)) for part, df in levels], np.eye(len(levels))[which.reshape(-1)]


def exceeding(p_values: np.ndarray, counts: np.ndarray, levels: Sequence[Level]) -> np.ndarray:
    """(K,) chance that any of these many differences, none of them real, has a p-value as small as each of (K,).

    Args:
        counts: (K, L) how many differences there are of each level.
    """
    inside = np.zeros((len(p_values), len(COMMON)))
    for count, level in zip(counts.T, levels, strict=True):
        inside += count[:, None] * np.log1p(-np.minimum(outside(p_values, level), 1 - 1e-15))
    return np.asarray(1 - np.exp(inside) @ WEIGHTS)


def outside(p_values: np.ndarray, level: Level) -> np.ndarray:
    """(K, U) chance of each p-value or less where the common error is each of `COMMON`."""
    marginal, given = tails(level)
    place = np.interp(-np.log(np.maximum(p_values, 1e-15)), -marginal, np.arange(len(BOUNDS)))
    below = np.minimum(place.astype(np.intp), len(BOUNDS) - 2)
    part = (place - below)[:, None]
    return np.asarray(np.exp((1 - part) * given[below] + part * given[below + 1]))


@lru_cache(maxsize=256)
def tails(level: Level) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of the chance that a difference exceeds each of `BOUNDS`: (Q,), and (Q, U) given the common error."""
    part, freedom = level
    shift, scale = math.sqrt(part) * COMMON, math.sqrt(1 - part)
    sides = (np.stack([BOUNDS[:, None] - shift, BOUNDS[:, None] + shift])) / scale  # (2, Q, U) to either end
    both = student_t_tails_of(sides.ravel(), np.full(sides.size, freedom)).reshape(sides.shape) / 2
    given = np.where(sides < 0, 1 - both, both).sum(axis=0)
    return np.log(np.maximum(given @ WEIGHTS, TINY)), np.log(np.maximum(given, TINY))
