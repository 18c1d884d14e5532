"""Statistics of paired comparisons, with numpy only; used by the terminal and by the site alike.

The matrix of pairs is fixed, seeds and test images are samples. Two methods are compared on the same images, with the
same seeds: the same initial weights and the same batches.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Verdict = Literal["better", "worse", "not separable", "not compared"]


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with its interval, in the unit of what was compared (accuracies: percentage points).

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


def verdict(mean: float, adjusted: float | None, higher_is_better: bool = True, level: float = 0.05) -> Verdict:
    """What a difference says after correction: its p-value is to be at most `level`; without one, nothing."""
    if adjusted is None:
        return "not compared"
    if adjusted > level or mean == 0:
        return "not separable"
    return "better" if (mean > 0) == higher_is_better else "worse"


def tie_groups(values: Mapping[str, np.ndarray], higher_is_better: bool = True, level: float = 0.05) -> list[list[str]]:
    """Groups, the best first: the leader with all not separable from it after Holm over M - 1; then the rest alike.

    One seed separates nothing, so it makes no groups.

    Args:
        values: (P, S, I) a method, of which the mean counts.
    """
    sign = -1 if higher_is_better else 1
    left = sorted(values, key=lambda name: (sign * float(values[name].mean()), name))
    groups: list[list[str]] = []
    if any(v.shape[1] < 2 for v in values.values()):
        return groups
    while left:
        leader, rest = left[0], left[1:]
        against = [crossed_difference(values[leader].astype(np.float64) - values[name]) for name in rest]
        adjusted = holm([d.p_value for d in against])
        tied = [
            name
            for name, d, p in zip(rest, against, adjusted, strict=True)
            if verdict(d.mean, p, higher_is_better, level) == "not separable"
        ]
        groups.append([leader, *tied])
        left = [name for name in rest if name not in tied]
    return groups


def mean_ranks(
    scores: Mapping[str, np.ndarray], higher_is_better: bool = True
) -> dict[str, tuple[float, float | None]]:
    """A method's rank (1 is the best, ties share the middle) averaged over pairs, and half its t interval over seeds.

    Args:
        scores: (P, S) a method.
    """
    table = np.stack([np.asarray(values, dtype=np.float64) for values in scores.values()])
    table = table if higher_is_better else -table
    above = (table[None] > table[:, None]).sum(axis=1)
    equal = (table[None] == table[:, None]).sum(axis=1)
    by_seed = (1 + above + (equal - 1) / 2).mean(axis=1)
    return {name: mean_interval(ranks) for name, ranks in zip(scores, by_seed, strict=True)}


def student_t_tails(t: float, df: float) -> float:
    """P(|T| >= |t|) for Student's t with `df` degrees of freedom: I_{df / (df + t^2)}(df / 2, 1 / 2)."""
    return incomplete_beta(df / (df + t * t), t * t / (df + t * t), df / 2, 0.5)


def student_t_cdf(t: float, df: float) -> float:
    """P(T <= t) for Student's t with `df` degrees of freedom."""
    half = student_t_tails(t, df) / 2
    return half if t < 0 else 1 - half


def student_t_quantile(p: float, df: float) -> float:
    """The value below which Student's t falls with probability `p` (bisection)."""
    low, high = -1e6, 1e6
    while high - low > 1e-12 * max(1.0, abs(low)):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (Lentz's method).

    Args:
        x, rest: they add up to 1; both are given, so that neither loses digits where the other is near 1.
    """
    if x <= 0 or rest <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):  # beyond it the fraction converges fast for the mirrored function
        return 1 - incomplete_beta(rest, x, b, a)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest)
    tiny = 1e-300
    c, d = 1.0, 1 / ((1 - (a + b) * x / (a + 1)) or tiny)
    fraction = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return math.exp(log_front) / a * fraction
