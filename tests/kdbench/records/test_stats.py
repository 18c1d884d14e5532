"""The interval covers, and the estimator has the properties that a paired comparison needs."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from kdbench.records.stats import (
    crossed_difference,
    holm,
    mean_interval,
    paired_difference,
    verdict,
)

PAIRS, SEEDS, IMAGES = 4, 5, 400


def simulate(rng: np.random.Generator, seed_sd: float, image_sd: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Two methods' correctness on shared images; returns both and the true difference in percentage points.

    An image's logit of being right has a part of its own, one of its (method, image) and one of its (method, seed).
    """
    difficulty = rng.normal(2.0, 1.5, size=(PAIRS, 1, IMAGES))
    probabilities = []
    for shift in (0.0, 0.25):
        by_seed = rng.normal(0, seed_sd, size=(1, SEEDS, 1))
        by_image = rng.normal(0, image_sd, size=(1, 1, IMAGES))
        probabilities.append(1 / (1 + np.exp(-(difficulty + shift + by_seed + by_image))))
    draws = [rng.random((PAIRS, SEEDS, IMAGES)) < p for p in probabilities]
    return draws[1], draws[0], expected_difference(seed_sd, image_sd)


def expected_difference(seed_sd: float, image_sd: float) -> float:
    """The difference over the population of seeds and images, by quadrature of the logit's normal distribution."""
    sd = (1.5**2 + seed_sd**2 + image_sd**2) ** 0.5
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    one, other = ((weights / (1 + np.exp(-(2.0 + s + sd * z)))).sum() / weights.sum() for s in (0.25, 0.0))
    return 100 * (one - other)


@pytest.mark.parametrize(("seed_sd", "image_sd"), [(0.0, 0.0), (0.2, 0.0), (0.0, 0.8), (0.15, 0.5), (0.4, 0.3)])
def test_the_interval_covers_93_to_99_percent(seed_sd: float, image_sd: float) -> None:
    rng = np.random.default_rng(7)
    trials, covered = 1000, 0
    for _ in range(trials):
        one, other, truth = simulate(rng, seed_sd, image_sd)
        found = paired_difference(one, other)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= truth <= found.high
    assert 0.93 <= covered / trials <= 0.99


def test_two_copies_of_a_method_do_not_differ() -> None:
    one = np.random.default_rng(0).random((PAIRS, SEEDS, IMAGES)) < 0.9
    found = paired_difference(one, one)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert found.holds_zero


def test_the_difference_is_antisymmetric() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((2, PAIRS, SEEDS, IMAGES)) < 0.9
    forth, back = paired_difference(one, other), paired_difference(other, one)
    assert forth.low is not None
    assert back.high is not None
    assert (forth.mean, forth.low) == pytest.approx((-back.mean, -back.high))


def test_the_order_of_seeds_and_images_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((2, PAIRS, SEEDS, IMAGES)) < 0.9
    images, seeds = rng.permutation(IMAGES), rng.permutation(SEEDS)
    shuffled = paired_difference(one[:, seeds][:, :, images], other[:, seeds][:, :, images])
    assert shuffled.low == pytest.approx(paired_difference(one, other).low)


def test_the_variance_is_that_of_the_architecture() -> None:
    rng = np.random.default_rng(3)
    d = rng.integers(0, 2, (1, 5, 50)) - rng.integers(0, 2, (1, 5, 50)) * rng.integers(0, 2, (1, 5, 1))
    found = paired_difference(d, np.zeros_like(d))
    table = 100.0 * d[0]
    grand = table.mean()
    ms_seed = 50 * ((table.mean(1) - grand) ** 2).sum() / 4
    ms_image = 5 * ((table.mean(0) - grand) ** 2).sum() / 49
    rest = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + grand
    ms_residual = (rest**2).sum() / (4 * 49)
    total = ms_seed + ms_image - ms_residual
    freedom = max(total**2 / (ms_seed**2 / 4 + ms_image**2 / 49 + ms_residual**2 / 196), 4)
    half = scipy_stats.t.ppf(0.975, freedom) * (total / 250) ** 0.5
    assert found.degrees_of_freedom == pytest.approx(freedom)
    assert found.low == pytest.approx(grand - half, rel=1e-6)


def test_one_seed_gives_no_interval() -> None:
    one = np.ones((PAIRS, 1, IMAGES), dtype=bool)
    assert paired_difference(one, one).low is None
    assert mean_interval(np.array([90.0])) == (90.0, None)


def test_a_mean_has_the_t_interval_over_seeds() -> None:
    values = np.array([90.0, 91.0, 93.0])
    mean, half = mean_interval(values)
    low, high = scipy_stats.t.interval(0.95, 2, loc=values.mean(), scale=scipy_stats.sem(values))
    assert (mean - half, mean + half) == pytest.approx((low, high))


def test_the_p_value_is_at_most_5_percent_exactly_where_the_interval_leaves_0_out() -> None:
    rng = np.random.default_rng(4)
    for _ in range(100):
        one, other, _ = simulate(rng, 0.2, 0.3)
        found = paired_difference(one, other)
        assert found.p_value is not None
        assert (found.p_value <= 0.05) != found.holds_zero


def test_under_no_difference_p_is_at_most_5_percent_in_no_more_than_7() -> None:
    rng = np.random.default_rng(8)
    trials, rejected = 400, 0
    for _ in range(trials):
        d = rng.normal(size=(1, 5, 1)) + rng.normal(size=(1, 1, 60)) + rng.normal(size=(1, 5, 60))
        p = crossed_difference(d).p_value
        assert p is not None
        rejected += p <= 0.05
    assert rejected / trials <= 0.07


def test_holm_equals_its_definition() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1.0, 1.0])
    assert holm([0.01, None]) == [pytest.approx(0.02), None]
    assert holm([]) == []


def test_a_verdict_follows_the_metrics_direction() -> None:
    assert verdict(1.0, 0.01) == "better"
    assert verdict(-1.0, 0.01) == "worse"
    assert verdict(-1.0, 0.01, higher_is_better=False) == "better"
    assert verdict(1.0, 0.06) == verdict(0.0, 0.0) == "not separable"


def test_without_a_p_value_nothing_is_compared() -> None:
    assert verdict(3.0, None) == "not compared"
    assert verdict(0.0, 1.0) == "not separable"
