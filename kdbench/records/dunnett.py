"""Many rows against one reference: p-values corrected for their number, with what the differences share (Dunnett 1955).

All differences from one reference hold that reference's own error, so they are correlated: difference i with i' by
sqrt(shared_i shared_i'), where shared_i is the reference's part of its variance. Given that common error, they are
independent, and the probability that the largest exceeds a bound is one integral. Student's t of different degrees of
freedom are put on the normal scale by their p-values. The step-down form (Naik 1975, Dunnett and Tamhane 1991) tests
the smallest p-value among all, the next among the others, and so on: the chance of any wrong claim stays at the level.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kdbench.records.distributions import NORMAL, normal_cdf

COMMON = np.linspace(0.0, 6.0, 49)  # of the common error, in its standard deviations; below 0 all is the same
WEIGHTS = np.where(COMMON > 0, 2, 1) * np.exp(-(COMMON**2) / 2)
WEIGHTS /= WEIGHTS.sum()
STEP = 0.05  # shared parts are rounded down to it: less correlation is the careful side
MOST_SHARED = 0.95
CHUNK = 32  # p-values that are adjusted at once
CERTAIN = 1 - 1e-9


def adjusted(p_values: Sequence[float | None], shared: Sequence[float] | np.ndarray) -> list[float | None]:
    """Step-down adjusted p-values of differences from one reference, two-sided.

    A difference without a p-value (one seed) counts among them and stays without one.

    Args:
        shared: the part of each difference's variance that is the reference's.
    """
    found: list[float | None] = [None] * len(p_values)
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    if not known:
        return found
    order = [*(i for _, i in known), *(i for i, p in enumerate(p_values) if p is None)]
    levels, counts = in_levels([shared[i] for i in order])
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


def critical_p(shared: Sequence[float], level: float = 0.05) -> float:
    """The p-value at which the first of these differences is told from 0, after correction (single step)."""
    levels, counts = in_levels(shared)
    low, high = level / len(shared), level
    for _ in range(40):
        middle = (low + high) / 2
        above = exceeding(np.array([middle]), counts.sum(axis=0, keepdims=True), levels)[0] > level
        low, high = (low, middle) if above else (middle, high)
    return low


def in_levels(shared: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The levels that occur, and (N, L) in which of them each stands."""
    rounded = np.minimum(np.floor(np.asarray(shared) / STEP + 1e-9) * STEP, MOST_SHARED)
    levels, which = np.unique(rounded, return_inverse=True)
    return levels, np.eye(len(levels))[which]


def exceeding(p_values: np.ndarray, counts: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(K,) chance that any of these many differences, none of them real, has a p-value as small as each of (K,).

    Args:
        counts: (K, L) how many differences there are of each level.
        levels: (L,) the part of a difference's variance that is common to all.
    """
    bound = np.array([-NORMAL.inv_cdf(max(float(p), 1e-15) / 2) if p < 1 else 0.0 for p in p_values])
    shift, scale = np.sqrt(levels)[:, None] * COMMON, np.sqrt(1 - levels)[:, None]
    z = bound[:, None, None]
    inside = normal_cdf((z - shift) / scale) - normal_cdf((-z - shift) / scale)  # (K, L, U)
    logs = np.einsum("kl,klu->ku", counts, np.log(np.maximum(inside, 1e-300)))
    return np.asarray(1 - np.exp(logs) @ WEIGHTS)
