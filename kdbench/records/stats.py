"""Differences and what is said of them, with numpy only; used by the terminal and by the site alike.

How methods are compared is in `contrast`. In pairs, by seed and test image, stand only two trainings of the same cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kdbench.records.distributions import student_t_quantile, student_t_tails

Verdict = Literal["better", "worse", "not separable", "not compared"]
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """A mean difference with its interval, in the unit of what was compared (accuracies: percentage points).

    Attributes:
        low, high: bounds of the confidence interval; None with a single seed, which tells nothing of its variation.
        degrees_of_freedom: of the t distribution behind the interval.
        p_value: two-sided, of no difference, before any correction.
    """

    mean: float
    low: float | None
    high: float | None
    degrees_of_freedom: float | None
    p_value: float | None

    @property
    def holds_zero(self) -> bool:
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high


def paired_difference(correct: np.ndarray, baseline: np.ndarray, confidence: float = 0.95) -> Difference:
    """The mean paired difference in accuracy, in percentage points, and its t interval over seeds and images.

    Args:
        correct, baseline: (P, S, I) booleans: is pair p's student of seed s right on image i?
    """
    return crossed_difference(100 * (correct.astype(np.float64) - baseline.astype(np.float64)), confidence)


def crossed_difference(differences: np.ndarray, confidence: float = 0.95) -> Difference:
    """The mean of paired differences, its t interval over seeds and images, and its p-value.

    D[seed, image] is the difference averaged over the pairs of networks. Seeds and images are crossed random effects,
    so the variance of the mean is (MS_seed + MS_image - MS_residual) / (S * I), with Satterthwaite's degrees of
    freedom, at least S - 1.

    Args:
        differences: (P, S, I), of pair p's students of seed s on image i.
    """
    d = differences.astype(np.float64).mean(axis=0)
    seeds, images = d.shape
    mean = float(d.mean())
    if seeds < 2 or images < 2:
        return Difference(mean, None, None, None, None)
    by_seed, by_image = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    df = np.array([seeds - 1, images - 1, (seeds - 1) * (images - 1)], dtype=np.float64)
    ms_seed = images * float(((by_seed - mean) ** 2).sum()) / df[0]
    ms_image = seeds * float(((by_image - mean) ** 2).sum()) / df[1]
    ms_residual = float(((d - by_seed - by_image + mean) ** 2).sum()) / df[2]
    # The difference of mean squares can fall below what pure noise would give; it never should.
    total = max(ms_seed + ms_image - ms_residual, ms_residual)
    if total == 0:
        return Difference(mean, mean, mean, float(df[0]), 1.0 if mean == 0 else 0.0)
    squares = np.array([ms_seed, ms_image, ms_residual]) ** 2
    freedom = max(total**2 / float((squares / df).sum()), float(df[0]))
    error = math.sqrt(total / (seeds * images))
    half = student_t_quantile(0.5 + confidence / 2, freedom) * error
    return Difference(mean, mean - half, mean + half, freedom, student_t_tails(mean / error, freedom))


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float | None]:
    """Mean of a value a seed, and half the width of its t interval (None with a single seed)."""
    n = len(values)
    if n < 2:
        return float(np.mean(values)), None
    half = student_t_quantile(0.5 + confidence / 2, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return float(np.mean(values)), half


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's adjusted p-values (1979): each times the number of hypotheses not yet rejected, never falling, at most 1.

    A hypothesis without a p-value (one seed) counts among them and stays without one.
    """
    adjusted: list[float | None] = [None] * len(p_values)
    floor = 0.0
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    for rank, (p, i) in enumerate(known):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p))
        adjusted[i] = floor
    return adjusted


def verdict(mean: float, adjusted: float | None, higher_is_better: bool = True, level: float = LEVEL) -> Verdict:
    """What a difference says after correction: its p-value is to be at most `level`; without one, nothing."""
    if adjusted is None:
        return "not compared"
    if adjusted > level or mean == 0:
        return "not separable"
    return "better" if (mean > 0) == higher_is_better else "worse"
