"""Statistics of paired comparisons, with numpy only; used by the terminal and by the site alike.

The matrix of pairs is fixed, seeds and test images are samples. Two methods are compared on the same images, with the
same seeds: the same initial weights and the same batches.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Difference:
    """A mean paired difference in accuracy, in percentage points, with its interval.

    Attributes:
        low, high: bounds of the confidence interval; None with a single seed, which tells nothing of its variation.
        degrees_of_freedom: of the t distribution behind the interval.
    """

    mean: float
    low: float | None
    high: float | None
    degrees_of_freedom: float | None

    @property
    def holds_zero(self) -> bool:
        return self.low is not None and self.high is not None and self.low <= 0 <= self.high


def paired_difference(correct: np.ndarray, baseline: np.ndarray, confidence: float = 0.95) -> Difference:
    """The mean paired difference in accuracy and its t interval over seeds and images.

    D[seed, image] is the difference in correctness, averaged over the pairs of networks. Seeds and images are crossed
    random effects, so the variance of the mean is (MS_seed + MS_image - MS_residual) / (S * I), with Satterthwaite's
    degrees of freedom, at least S - 1.

    Args:
        correct, baseline: (P, S, I) booleans: is pair p's student of seed s right on image i?
    """
    d = 100 * (correct.astype(np.float64) - baseline.astype(np.float64)).mean(axis=0)
    seeds, images = d.shape
    mean = float(d.mean())
    if seeds < 2 or images < 2:
        return Difference(mean, None, None, None)
    by_seed, by_image = d.mean(axis=1, keepdims=True), d.mean(axis=0, keepdims=True)
    df = np.array([seeds - 1, images - 1, (seeds - 1) * (images - 1)], dtype=np.float64)
    ms_seed = images * float(((by_seed - mean) ** 2).sum()) / df[0]
    ms_image = seeds * float(((by_image - mean) ** 2).sum()) / df[1]
    ms_residual = float(((d - by_seed - by_image + mean) ** 2).sum()) / df[2]
    # The difference of mean squares can fall below what pure noise would give; it never should.
    total = max(ms_seed + ms_image - ms_residual, ms_residual)
    if total == 0:
        return Difference(mean, mean, mean, float(df[0]))
    squares = np.array([ms_seed, ms_image, ms_residual]) ** 2
    freedom = max(total**2 / float((squares / df).sum()), float(df[0]))
    half = student_t_quantile(0.5 + confidence / 2, freedom) * math.sqrt(total / (seeds * images))
    return Difference(mean, mean - half, mean + half, freedom)


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> tuple[float, float | None]:
    """Mean of a value a seed, and half the width of its t interval (None with a single seed)."""
    n = len(values)
    if n < 2:
        return float(np.mean(values)), None
    half = student_t_quantile(0.5 + confidence / 2, n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return float(np.mean(values)), half


def student_t_cdf(t: float, df: float) -> float:
    """P(T <= t) for Student's t with `df` degrees of freedom (Gauss-Legendre over the angle atan(t / sqrt(df)))."""
    angle = math.atan(abs(t) / math.sqrt(df))
    nodes, weights = gauss_legendre()
    # With many degrees of freedom all mass lies near angle 0: beyond 40 standard deviations there is none.
    angle = min(angle, 40 / math.sqrt(df + 1))
    theta = angle * (nodes + 1) / 2
    log_norm = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - 0.5 * math.log(math.pi)
    area = angle / 2 * float((weights * np.cos(theta) ** (df - 1)).sum()) * math.exp(log_norm)
    return 0.5 + math.copysign(min(area, 0.5), t)


@functools.cache
def gauss_legendre() -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of the quadrature on (-1, 1)."""
    return np.polynomial.legendre.leggauss(100)


def student_t_quantile(p: float, df: float) -> float:
    """The value below which Student's t falls with probability `p` (bisection)."""
    low, high = -1e6, 1e6
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2
