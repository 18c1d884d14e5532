"""Distributions that the statistics need: Student's t, F, the normal, and derivatives of the log-gamma function."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

NORMAL = NormalDist()


def student_t_tails(t: float, df: float) -> float:
    """P(|T| >= |t|) for Student's t with `df` degrees of freedom: I_{df / (df + t^2)}(df / 2, 1 / 2)."""
    return incomplete_beta(df / (df + t * t), t * t / (df + t * t), df / 2, 0.5)


def student_t_tails_of(t: np.ndarray, df: np.ndarray) -> np.ndarray:
    """The same of many at once, (N,) and (N,) to (N,); NaN where either is."""
    known = np.isfinite(t) & np.isfinite(df)
    found = np.full(t.shape, np.nan)
    x, rest = df[known] / (df[known] + t[known] ** 2), t[known] ** 2 / (df[known] + t[known] ** 2)
    a, b = df[known] / 2, np.full(known.sum(), 0.5)
    swapped = x > (a + 1) / (a + b + 2)  # as `incomplete_beta` does
    some = [np.where(swapped, *both) for both in ((rest, x), (x, rest), (b, a), (a, b))]
    value = continued_fraction(*some)
    found[known] = np.where(swapped, 1 - value, value)
    return found


def continued_fraction(x: np.ndarray, rest: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N,) values of I_x(a, b) by the fraction of `incomplete_beta`, where that converges fast."""
    log_gamma = np.array([math.lgamma(p + q) - math.lgamma(p) - math.lgamma(q) for p, q in zip(a, b, strict=True)])
    tiny = 1e-300
    c, d = np.ones_like(x), 1 / np.where((first := 1 - (a + b) * x / (a + 1)) == 0, tiny, first)
    fraction, open_ = d.copy(), np.ones(len(x), dtype=bool)
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / np.where((below := 1 + term * d) == 0, tiny, below)
            c = np.where((above := 1 + term / c) == 0, tiny, above)
            fraction = np.where(open_, fraction * c * d, fraction)
        open_ &= np.abs(c * d - 1) >= 1e-15
        if not open_.any():
            break
    with np.errstate(divide="ignore"):
        front = np.exp(log_gamma + a * np.log(x) + b * np.log(rest))
    return np.where(x <= 0, 0.0, np.where(rest <= 0, 1.0, front / a * fraction))


def student_t_cdf(t: float, df: float) -> float:
    """P(T <= t) for Student's t with `df` degrees of freedom."""
    half = student_t_tails(t, df) / 2
    return half if t < 0 else 1 - half


def student_t_quantile(p: float, df: float) -> float:
    """The value below which Student's t falls with probability `p` (Newton's steps, halving where one leads astray)."""
    z = NORMAL.inv_cdf(p)
    low, high, t = -1e6, 1e6, z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    log_peak = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    for _ in range(100):
        above = student_t_cdf(t, df) - p
        low, high = (low, t) if above > 0 else (t, high)
        density = math.exp(log_peak - (df + 1) / 2 * math.log1p(t * t / df))
        step = t - above / density if density > 0 else low
        step = step if low < step < high else (low + high) / 2
        if abs(step - t) <= 1e-9 * max(1.0, abs(t)):
            return step
        t = step
    return t


def f_tail(f: float, df: float, other: float) -> float:
    """P(F >= f) for a ratio of mean squares with `df` and `other` degrees of freedom."""
    total = df * f + other
    return incomplete_beta(other / total, df * f / total, other / 2, df / 2)


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


def digamma(x: float) -> float:
    """The derivative of log gamma at x > 0: its recurrence up to 10, then the asymptotic series."""
    steps = max(0, math.ceil(10 - x))
    below = sum(1 / (x + k) for k in range(steps))
    y = 1 / (x + steps) ** 2
    return math.log(x + steps) - 0.5 / (x + steps) - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y / 240))) - below


def trigamma(x: float) -> float:
    """The second derivative of log gamma at x > 0."""
    steps = max(0, math.ceil(10 - x))
    below = sum(1 / (x + k) ** 2 for k in range(steps))
    z = 1 / (x + steps)
    y = z * z
    return z + y / 2 + z * y * (1 / 6 - y * (1 / 30 - y * (1 / 42 - y / 30))) + below


def trigamma_inverse(value: float) -> float:
    """The x > 0 at which trigamma has this value > 0 (bisection over the logarithm)."""
    low, high = -20.0, 20.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if trigamma(math.exp(middle)) > value else (low, middle)
    return math.exp((low + high) / 2)
