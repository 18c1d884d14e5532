"""Variances over seeds, moderated over methods: five seeds say little of a variance, fifty methods together say much.

A method's variance over seeds is taken as one draw from a prior, a scaled inverse chi-squared distribution, and its
estimate is the posterior mean of the precision (Smyth 2004, Linear models and empirical Bayes methods for assessing
differential expression, eq. 4). A suite states its prior, so that no verdict moves when a method is added; without one
it is estimated from the rows (Smyth's section 6.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.records.distributions import digamma, f_tail, trigamma, trigamma_inverse
from kdbench.suite import Suite

FEWEST = 6  # rows from which a prior is estimated
MOST_DF = 1000.0
OUTLYING = 0.01  # a variance this improbable under the prior stands for itself


@dataclass(frozen=True)
class Prior:
    """What is known of a method's seed noise before its own seeds are seen.

    Attributes:
        sd: of one seed's score around the method's mean.
        df: how many degrees of freedom the prior is worth.
        correlation: of two methods' scores at the same seed.
        stated: by the suite; else estimated from its complete rows.
    """

    sd: float
    df: float
    correlation: float = 0.0
    stated: bool = True


def stated_prior(suite: Suite, pair: str | None = None) -> Prior | None:
    """What a suite states of top-1 over all pairs, or on one; None where it states nothing, or off its protocol."""
    statistics = suite.statistics
    if statistics is None or suite.off_protocol:
        return None
    spread = statistics.pairs.get(pair) if pair else statistics
    return Prior(spread.seed_sd, spread.seed_df, spread.seed_correlation) if spread else None


def moderated(variance: float, df: float, prior: Prior | None) -> tuple[float, float]:
    """A variance estimate and its degrees of freedom after the prior.

    A variance that is far too large for the prior (F test, 1 %) is that of another kind of method and stands alone.
    """
    if prior is None or f_tail(variance / prior.sd**2, df, prior.df) < OUTLYING:
        return variance, df
    return (prior.df * prior.sd**2 + df * variance) / (prior.df + df), prior.df + df


def estimate_prior(scores: Sequence[dict[int, float]]) -> Prior | None:
    """The prior from rows' scores by seed, of at least two seeds each; None from too few rows.

    Controls and methods whose mean lies far off (three robust standard deviations from the median) are left out.
    """
    rows = ordinary([row for row in scores if len(row) > 1])
    if len(rows) < FEWEST:
        return None
    df = np.array([len(row) - 1.0 for row in rows])
    variances = np.array([np.var(list(row.values()), ddof=1) for row in rows])
    if not np.median(variances) > 0:
        return None
    variances = np.maximum(variances, 1e-5 * float(np.median(variances)))
    logs = np.log(variances) - np.array([digamma(d / 2) - math.log(d / 2) for d in df])
    spread = float(np.var(logs, ddof=1) - np.mean([trigamma(d / 2) for d in df]))
    freedom = min(2 * trigamma_inverse(spread), MOST_DF) if spread > 0 else MOST_DF
    log_variance = float(logs.mean()) + digamma(freedom / 2) - math.log(freedom / 2)
    return Prior(math.exp(log_variance / 2), freedom, seed_correlation(rows), stated=False)


def ordinary(rows: Sequence[dict[int, float]]) -> list[dict[int, float]]:
    """Rows whose mean is within three robust standard deviations (1.4826 MAD) of the median of all."""
    if not rows:
        return []
    means = np.array([np.mean(list(row.values())) for row in rows])
    away = np.abs(means - np.median(means))
    return [row for row, far in zip(rows, away > 3 * 1.4826 * np.median(away), strict=True) if not far]


def seed_correlation(rows: Sequence[dict[int, float]]) -> float:
    """How much two rows' scores at one seed have in common, from the seeds that all have, shrunk towards 0.

    The intraclass correlation (F - 1) / (F - 1 + M) of a two-way analysis of variance of M rows, times 1 - 1 / F.
    """
    seeds = sorted(set.intersection(*(set(row) for row in rows)))
    if len(seeds) < 2:
        return 0.0
    table = np.array([[row[seed] for seed in seeds] for row in rows])
    table -= table.mean(axis=1, keepdims=True)
    count, by_seed = len(rows), table.mean(axis=0)
    between = count * float((by_seed**2).sum()) / (len(seeds) - 1)
    within = float(((table - by_seed) ** 2).sum()) / ((len(seeds) - 1) * (count - 1))
    f = between / within if within > 0 else 1.0
    return (f - 1) / (f - 1 + count) * (1 - 1 / f) if f > 1 else 0.0


def moderation(prior: Prior | None) -> str:
    """A sentence on what moderates the variances over seeds."""
    if prior is None:
        return "Variances over seeds are each row's own: nothing is stated or known of others."
    by = "what the suite states" if prior.stated else "the suite's complete rows, and move with them"
    return (
        f"Variances over seeds are moderated by {by}: a standard deviation of {prior.sd:.2g} that is worth "
        f"{prior.df:.0f} degrees of freedom."
    )
