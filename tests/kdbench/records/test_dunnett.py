"""Corrected p-values equal the multivariate normal's, and the chance of any wrong claim stays at the level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from kdbench.records.dunnett import adjusted, critical_p

KNOWN = 1000.0  # degrees of freedom of a variance that is as good as known


def two_sided(z: np.ndarray) -> list[float]:
    return [float(p) for p in 2 * scipy_stats.norm.sf(np.abs(z))]


def test_the_smallest_p_value_is_corrected_as_by_the_multivariate_normal() -> None:
    shared = [0.5, 0.5, 0.2, 0.2]
    loads = np.sqrt(shared)
    covariance = np.outer(loads, loads) + np.diag(1 - loads**2)
    draws = np.random.default_rng(0).multivariate_normal(np.zeros(4), covariance, 400_000)
    for z in (1.8, 2.4, 3.0):
        exact = (np.abs(draws).max(axis=1) >= z).mean()
        p = 2 * scipy_stats.norm.sf(z)
        found = adjusted([p, 0.9, 0.95, 0.99], shared, [KNOWN] * 4)[0]
        assert found == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("freedom", [4, 12])
def test_own_errors_of_few_degrees_of_freedom_are_corrected_as_by_simulation(freedom: int) -> None:
    rng, rows, part = np.random.default_rng(0), 20, 0.4
    own = rng.standard_t(freedom, (100_000, rows))
    draws = np.abs(np.sqrt(part) * rng.normal(size=(100_000, 1)) + np.sqrt(1 - part) * own)
    for bound in (3.0, 4.5):
        p, exact = float((draws >= bound).mean()), float((draws.max(axis=1) >= bound).mean())
        found = adjusted([p] + [0.99] * (rows - 1), [part] * rows, [freedom] * rows)[0]
        assert found == pytest.approx(exact, rel=0.03)
        milder = adjusted([p] + [0.99] * (rows - 1), [part] * rows, [KNOWN] * rows)[0]
        assert milder is not None
        assert milder < exact


def test_the_critical_value_is_dunnetts() -> None:
    """Dunnett (1964), table of two-sided comparisons at 5 %: 9 treatments, infinite degrees of freedom, 2.69."""
    assert scipy_stats.norm.isf(critical_p([0.5] * 9, [KNOWN] * 9) / 2) == pytest.approx(2.69, abs=0.01)
    assert critical_p([0.5], [KNOWN]) == pytest.approx(0.05, abs=1e-4)


def test_one_difference_needs_no_correction() -> None:
    assert adjusted([0.03], [0.5], [KNOWN]) == [pytest.approx(0.03)]
    assert adjusted([], [], []) == []


def test_a_corrected_p_value_lies_between_the_raw_one_and_bonferronis_and_keeps_the_order() -> None:
    p_values = two_sided(np.random.default_rng(1).normal(0, 2, 40))
    found = adjusted(p_values, [0.5] * 40, [12.0] * 40)
    assert all(p <= q <= min(1, 40 * p) for p, q in zip(p_values, found, strict=True))
    order = np.argsort(p_values)
    assert np.all(np.diff(np.array(found)[order]) >= 0)


def test_correlation_makes_it_milder_and_more_rows_stricter() -> None:
    def first(shared: float, rows: int) -> float:
        found = adjusted([0.001] + [0.5] * (rows - 1), [shared] * rows, [KNOWN] * rows)[0]
        assert found is not None
        return found

    assert first(0.9, 40) < first(0.5, 40) < first(0.0, 40)
    assert first(0.5, 10) < first(0.5, 100)


def test_what_is_told_apart_costs_the_others_nothing() -> None:
    """Step-down: a row far off does not weaken the rest."""
    assert adjusted([1e-12, 0.03], [0.5, 0.5], [KNOWN, KNOWN])[1] == pytest.approx(0.03, abs=1e-6)


def test_p_values_of_any_size_are_corrected() -> None:
    p_values = [0.0, 1e-300, 1e-12, 1e-3, 0.5, 1.0]
    for freedom in (1.0, 2.0, 4.0, KNOWN, float("nan")):
        found = adjusted(p_values, [0.0, 0.3, 0.95, 1.0, 0.5, 0.5], [freedom] * 6)
        assert all(p <= q <= 1 for p, q in zip(p_values, found, strict=True) if q is not None)
        assert found[2] == pytest.approx(4e-12, rel=0.1)


def test_a_row_without_a_p_value_counts_and_stays_without_one() -> None:
    found = adjusted([0.01, None], [0.5, 0.5], [KNOWN, KNOWN])
    assert found[1] is None
    assert found[0] == pytest.approx(adjusted([0.01, 0.5], [0.5, 0.5], [KNOWN, KNOWN])[0], rel=1e-9)


@pytest.mark.parametrize("references", [5, 20])
def test_the_chance_of_any_wrong_claim_is_5_percent(references: int) -> None:
    rng = np.random.default_rng(3)
    rows, seeds, trials, wrong = 30, 5, 3000, 0
    shared = (1 / references) / (1 / references + 1 / seeds)
    for _ in range(trials):
        means = rng.normal(0, 1 / np.sqrt(seeds), rows) - rng.normal(0, 1 / np.sqrt(references))
        means[:10] += 3.0  # a third is better by far
        found = adjusted(two_sided(means / np.sqrt(1 / seeds + 1 / references)), [shared] * rows, [KNOWN] * rows)
        wrong += min(p for p in found[10:] if p is not None) <= 0.05
    assert 0.03 <= wrong / trials <= 0.06
