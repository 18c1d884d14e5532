"""Variances are moderated as Smyth (2004) has it, far-off rows and outlying variances leave the others alone."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.records.moderation import Prior, estimate_prior, moderated, moderation, seed_correlation, stated_prior
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Statistics


def scores(rng: np.random.Generator, rows: int, df: float, correlation: float = 0.0, seeds: int = 5) -> np.ndarray:
    """(rows, seeds) of standard deviation 0.5 on the whole, and correlated at a seed."""
    sd = 0.5 * np.sqrt(df / rng.chisquare(df, (rows, 1)))
    common, own = rng.normal(size=seeds), rng.normal(size=(rows, seeds))
    return 95 + rng.normal(size=(rows, 1)) + sd * (correlation**0.5 * common + (1 - correlation) ** 0.5 * own)


def rows_of(table: np.ndarray) -> list[dict[int, float]]:
    return [dict(enumerate(map(float, row))) for row in table]


def test_a_moderated_variance_is_the_mean_weighted_by_degrees_of_freedom() -> None:
    assert moderated(0.5, 4, Prior(0.5, 10)) == (pytest.approx((10 * 0.25 + 4 * 0.5) / 14), 14)
    assert moderated(0.5, 4, None) == (0.5, 4)


def test_a_variance_that_the_prior_excludes_stands_for_itself() -> None:
    assert moderated(9.0, 4, Prior(0.5, 10)) == (9.0, 4)
    assert moderated(0.0001, 4, Prior(0.5, 10))[1] == 14  # a small one is chance


@pytest.mark.parametrize("df", [4.0, 10.0])
def test_the_prior_that_made_the_rows_is_found(df: float) -> None:
    found = [estimate_prior(rows_of(scores(np.random.default_rng(n), 400, df))) for n in range(8)]
    assert np.median([p.sd for p in found if p]) == pytest.approx(0.5, rel=0.05)
    assert np.median([p.df for p in found if p]) == pytest.approx(df, rel=0.3)
    assert not any(p.stated for p in found if p)


def test_equal_variances_give_a_prior_that_is_worth_much() -> None:
    found = estimate_prior(rows_of(scores(np.random.default_rng(0), 300, 1e6)))
    assert found is not None
    assert found.df > 20


def test_rows_far_off_do_not_move_the_prior() -> None:
    table = scores(np.random.default_rng(1), 60, 10)
    broken = 20 + 15 * np.random.default_rng(2).normal(size=(4, 5))
    assert estimate_prior(rows_of(np.vstack([table, broken]))) == estimate_prior(rows_of(table))


def test_few_rows_or_one_seed_give_no_prior() -> None:
    table = scores(np.random.default_rng(1), 5, 10)
    assert estimate_prior(rows_of(table)) is None
    assert estimate_prior(rows_of(scores(np.random.default_rng(1), 50, 10, seeds=1))) is None
    assert estimate_prior([]) is None
    assert estimate_prior([{0: 1.0, 1: 1.0}] * 10) is None


def test_seeds_correlate_as_far_as_they_do() -> None:
    def mean(correlation: float) -> float:
        tables = [scores(np.random.default_rng(n), 50, 1e6, correlation, seeds=40) for n in range(10)]
        return float(np.mean([seed_correlation(rows_of(table)) for table in tables]))

    assert mean(0.4) == pytest.approx(0.4, abs=0.08)
    assert 0 <= mean(0.0) < 0.005


def test_a_correlation_is_of_the_seeds_that_all_have() -> None:
    table = scores(np.random.default_rng(3), 20, 10, 0.5)
    rows = rows_of(table)
    longer = [{**rows[0], 5: 200.0, 6: -200.0}, *rows[1:]]
    assert seed_correlation(longer) == seed_correlation(rows)
    assert seed_correlation([{0: 1.0}, {1: 1.0}]) == 0


@pytest.fixture(scope="module")
def suite() -> Suite:
    spread = {"seed_sd": 0.5, "seed_df": 10.0, "seed_correlation": 0.1}
    stated = Statistics.model_validate({**spread, "pairs": {"resnet8:vit_w32": {"seed_sd": 1.6, "seed_df": 5.0}}})
    return load_suite("digits").model_copy(update={"statistics": stated})


def test_a_suite_states_its_prior(suite: Suite) -> None:
    assert stated_prior(suite) == Prior(0.5, 10.0, 0.1)
    assert stated_prior(suite, "resnet8:vit_w32") == Prior(1.6, 5.0, 0.0)
    assert stated_prior(suite, "vit:resnet8_w4") is None


def test_off_its_protocol_a_suite_states_nothing(suite: Suite) -> None:
    assert stated_prior(suite.with_epochs(3)) is None
    assert stated_prior(suite.with_validation()) is None


def test_what_is_stated_is_no_part_of_the_protocol(suite: Suite) -> None:
    assert suite.fingerprint == suite.model_copy(update={"statistics": None}).fingerprint


def test_what_digits_states_is_what_its_records_were_when_it_was_measured() -> None:
    stated = stated_prior(load_suite("digits"))
    assert stated is not None
    assert f"what the suite states: a standard deviation of {stated.sd:.2g}" in moderation(stated)
    assert "the suite's complete rows" in moderation(Prior(0.4, 8, 0, stated=False))
    assert "own" in moderation(None)
