"""Distributions equal scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from scipy import stats as scipy_stats

from kdbench.records.distributions import (
    digamma,
    f_tail,
    student_t_cdf,
    student_t_quantile,
    student_t_tails,
    student_t_tails_of,
    trigamma,
    trigamma_inverse,
)


@pytest.mark.parametrize("df", [1, 2, 4, 4.7, 30, 800, 3184, 1e5])
@pytest.mark.parametrize("p", [0.02, 0.6, 0.9, 0.975, 0.9999])
def test_students_t_equals_scipys(df: float, p: float) -> None:
    assert student_t_quantile(p, df) == pytest.approx(scipy_stats.t.ppf(p, df), rel=1e-6)
    assert student_t_cdf(1.3, df) == pytest.approx(scipy_stats.t.cdf(1.3, df), abs=1e-9)


@pytest.mark.parametrize("df", [1, 2, 4, 4.7, 30, 800, 3184, 1e5])
@pytest.mark.parametrize("t", [0, 1e-3, 0.3, 1.3, 2, 5, 12, 40])
def test_the_tails_of_students_t_equal_scipys_however_small(t: float, df: float) -> None:
    assert student_t_tails(t, df) == pytest.approx(2 * scipy_stats.t.sf(t, df), rel=1e-9, abs=1e-300)
    assert student_t_tails(-t, df) == student_t_tails(t, df)


@pytest.mark.parametrize("x", [0.2, 1.0, 2.5, 9.9, 40.0, 1e4])
def test_derivatives_of_log_gamma_equal_scipys(x: float) -> None:
    assert digamma(x) == pytest.approx(special.digamma(x), rel=1e-9)
    assert trigamma(x) == pytest.approx(special.polygamma(1, x), rel=1e-9)
    assert trigamma_inverse(trigamma(x)) == pytest.approx(x, rel=1e-8)


def test_the_tail_of_f_equals_scipys() -> None:
    for f, one, other in ((0.5, 4, 10), (3.0, 4, 10), (40.0, 19, 1000), (0.0, 4, 5)):
        assert f_tail(f, one, other) == pytest.approx(scipy_stats.f.sf(f, one, other), rel=1e-9)


def test_the_tails_of_many_are_those_of_each() -> None:
    t = np.array([0.0, 1e-3, 0.3, -1.3, 2, 5, 40, np.nan, 1.0])
    df = np.array([1, 2.5, 4, 4.7, 30, 800, 1e5, 3, np.nan])
    found = student_t_tails_of(t, df)
    assert found[:7] == pytest.approx([student_t_tails(a, b) for a, b in zip(t[:7], df[:7], strict=True)], rel=1e-12)
    assert np.isnan(found[7:]).all()
