"""What a suite states of its noise is what its records show."""

from __future__ import annotations

import pytest

from benchmarks.statistics_noise import samples_of, spread_of
from kdbench.suites import load_suite


@pytest.mark.parametrize("pair", ["", *map(str, load_suite("digits").pairs)])
def test_digits_states_the_spread_over_seeds_that_its_accepted_rows_have(pair: str) -> None:
    suite = load_suite("digits")
    assert suite.statistics is not None
    stated = suite.statistics.pairs[pair] if pair else suite.statistics

    found = spread_of(samples_of("digits", (pair,) if pair else ()))

    assert found is not None
    assert found.sd == pytest.approx(stated.seed_sd, rel=0.2)
    assert found.correlation == pytest.approx(stated.seed_correlation, abs=0.1)
