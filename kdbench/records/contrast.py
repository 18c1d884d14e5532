"""Differences of methods: means over seeds and test images, each with the error that its seeds and images leave.

The matrix of pairs is fixed; seeds and test images are samples. Seeds of two methods are compared as far as they
correlate, not in pairs: where they hardly do, pairing gains nothing and costs half of the degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from kdbench.records.distributions import student_t_quantile, student_t_tails, student_t_tails_of
from kdbench.records.dunnett import adjusted
from kdbench.records.moderation import Prior, moderated
from kdbench.records.stats import Difference


@dataclass(frozen=True)
class Sample:
    """What a row scored, the mean over pairs.

    Attributes:
        scores: by seed, the mean over test images.
        images: (I,) of each test image, the mean over seeds.
        noise: variance of one seed's score at one image, beyond what seed and image add.
    """

    scores: dict[int, float]
    images: np.ndarray
    noise: float

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.scores.values())))


def sample(values: np.ndarray, seeds: Sequence[int]) -> Sample:
    """The sample of (P, S, I) scores, of S seeds."""
    by_seed = np.asarray(values, dtype=np.float64).mean(axis=0)
    rows, images = by_seed.shape
    rest = by_seed - by_seed.mean(axis=1, keepdims=True) - by_seed.mean(axis=0) + by_seed.mean()
    noise = float((rest**2).sum()) / max(1, (rows - 1) * (images - 1))
    scores = dict(zip(seeds, map(float, by_seed.mean(axis=1)), strict=True))
    return Sample(scores, by_seed.mean(axis=0), noise)


@dataclass(frozen=True)
class Contrasts:
    """Every row minus every other: (M, M), entry [i, j] is row i minus row j.

    Attributes:
        error: standard errors; NaN where a row has one seed.
        freedom: degrees of freedom of each error.
        shared: the part of the variance that all differences from row j have in common.
        own: (M,) degrees of freedom of each row's own variance.
        usual: (M,) rows whose variance the prior speaks for.
        seeds: (M,) how many each row has.
        prior: what the variances were moderated by, if anything.
    """

    mean: np.ndarray
    error: np.ndarray
    freedom: np.ndarray
    shared: np.ndarray
    own: np.ndarray
    usual: np.ndarray
    seeds: np.ndarray
    prior: Prior | None = None

    def p_value(self, i: int, j: int) -> float | None:
        """Two-sided, of no difference, before any correction; None with one seed."""
        mean, error = float(self.mean[i, j]), float(self.error[i, j])
        if math.isnan(error):
            return None
        if error == 0:
            return 1.0 if mean == 0 else 0.0
        return student_t_tails(mean / error, float(self.freedom[i, j]))

    @cached_property
    def told(self) -> np.ndarray:
        """(M, M) p-values [i, j] of row i against row j, corrected over all rows against row j; NaN with one seed."""
        count = len(self.mean)
        found = np.full((count, count), np.nan)
        plain = self.p_values
        for j in range(count):
            others = [i for i in range(count) if i != j]
            ps = adjusted(
                [None if np.isnan(p) else p for p in plain[others, j].tolist()],
                self.shared[others, j],
                self.own[others],
            )
            found[others, j] = [np.nan if p is None else p for p in ps]
        return found

    @cached_property
    def p_values(self) -> np.ndarray:
        """(M, M) p-values before any correction, as `p_value` gives each; NaN with one seed."""
        upper = np.triu_indices(len(self.mean), 1)
        mean, error, freedom = (table[upper] for table in (self.mean, self.error, self.freedom))
        with np.errstate(divide="ignore", invalid="ignore"):
            ps = student_t_tails_of(mean / error, freedom)
        ps = np.where(error == 0, np.where(mean == 0, 1.0, 0.0), ps)
        found = np.full(self.mean.shape, np.nan)
        found[upper] = ps
        found.T[upper] = ps
        return found

    def difference(self, i: int, j: int, confidence: float = 0.95) -> Difference:
        """Row i minus row j with its t interval."""
        mean, error, freedom = (float(table[i, j]) for table in (self.mean, self.error, self.freedom))
        p = self.p_value(i, j)
        if p is None:
            return Difference(mean, None, None, None, None)
        half = student_t_quantile(0.5 + confidence / 2, freedom) * error
        return Difference(mean, mean - half, mean + half, freedom, p)


def contrast_samples(samples: Sequence[Sample], prior: Prior | None) -> Contrasts:
    """All differences between rows that were scored on the same test images."""
    return contrast_scores([s.scores for s in samples], image_variance(samples), prior)


def contrast_scores(scores: Sequence[dict[int, float]], by_image: np.ndarray | float, prior: Prior | None) -> Contrasts:
    """All differences between rows, from scores by seed.

    The variance of a difference is v_i / n_i + v_j / n_j - 2 r c sqrt(v_i v_j) / (n_i n_j) + by_image: v are moderated
    variances over n seeds, of which c are common, r is the seeds' correlation.

    Args:
        by_image: (M, M) variance that the choice of test images adds to each difference.
    """
    count = np.array([len(row) for row in scores], dtype=np.float64)
    values = [np.array(list(row.values())) for row in scores]
    means = np.array([v.mean() for v in values])
    spread = [moderated(float(v.var(ddof=1)), len(v) - 1, prior) if len(v) > 1 else (np.nan, np.nan) for v in values]
    variance, freedom = np.array(spread).T
    correlation = prior.correlation if prior else 0.0
    seeds = sorted(set().union(*scores))
    has = np.array([[seed in row for seed in seeds] for row in scores], dtype=np.float64)
    part = variance / count
    independent = part[:, None] + part[None, :] + by_image
    cross = correlation * (has @ has.T) * np.sqrt(np.outer(variance, variance)) / np.outer(count, count)
    total = np.maximum(independent - 2 * cross, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = (1 - correlation) * part[:, None] + np.asarray(by_image) / 2
        shared = np.clip(1 - own / total, 0.0, 1.0)
        widening, df = t_of_sum(part[:, None] / independent, part[None, :] / independent, freedom)
    usual = freedom >= count - 1 + (prior.df if prior else 0.0)
    error, shared = np.sqrt(total) * widening, np.nan_to_num(shared)
    return Contrasts(means[:, None] - means[None, :], error, df, shared, freedom, usual, count.astype(int), prior)


def t_of_sum(one: np.ndarray, other: np.ndarray, freedom: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale and degrees of freedom of Student's t for a difference whose two errors each follow one.

    After moderation a row's own error is a scaled t of its moderated degrees of freedom. The sum of two is matched in
    variance and kurtosis (Patil 1965, Approximation to the Behrens-Fisher distributions); Satterthwaite's t has too
    light tails for it. Where a variance has too few degrees of freedom for a kurtosis, Satterthwaite's is taken.

    Args:
        one, other: (M, M) the parts of a difference's variance that come from its two rows.
        freedom: (M,) of each row's variance.
    """
    excess = freedom / (freedom - 2)
    variance = 1 + one * (excess - 1)[:, None] + other * (excess - 1)[None, :]
    heavy = excess**2 / (freedom - 4)
    kurtosis = one**2 * heavy[:, None] + other**2 * heavy[None, :]
    df = 4 + variance**2 / kurtosis
    scale = np.sqrt(variance * (df - 2) / df)
    satterthwaite = 1 / (one**2 / freedom[:, None] + other**2 / freedom[None, :])
    few = np.minimum(freedom[:, None], freedom[None, :]) <= 4
    df, scale = np.where(few, satterthwaite, df), np.where(few, 1.0, scale)
    least = np.minimum(freedom[:, None], freedom[None, :])
    return np.where(np.isfinite(scale), scale, 1.0), np.where(np.isfinite(df), df, least)


def image_variance(samples: Sequence[Sample]) -> np.ndarray:
    """(M, M) what the choice of test images adds to the variance of each difference, never below 0.

    The variance over images of the difference of the rows' means, less what their seeds' noise there would give.
    """
    images = np.stack([s.images for s in samples])
    size = images.shape[1]
    if size < 2:
        return np.zeros((len(samples), len(samples)))
    images = images - images.mean(axis=1, keepdims=True)
    products = images @ images.T / (size - 1)
    own = np.diag(products)
    noise = np.array([s.noise / len(s.scores) for s in samples])
    between = own[:, None] + own[None, :] - 2 * products - noise[:, None] - noise[None, :]
    return np.maximum(between, 0.0) / size
