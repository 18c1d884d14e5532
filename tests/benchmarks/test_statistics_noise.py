"""What a suite states of its noise is what its records show."""

from __future__ import annotations

import pytest

from benchmarks.statistics_noise import samples_of, spread_of
from kdbench.suites import list_suites, load_suite

STATED = {name: suite for name in list_suites() if (suite := load_suite(name)).statistics is not None}


def test_suites_with_many_accepted_rows_state_their_noise() -> None:
    assert {"digits", "cifar100-quarter"} <= STATED.keys()


@pytest.mark.parametrize(
    ("name", "pair"), [(name, pair) for name in STATED for pair in ("", *map(str, STATED[name].pairs))]
)
def test_a_suite_states_the_spread_over_seeds_that_its_accepted_rows_have(name: str, pair: str) -> None:
    statistics = STATED[name].statistics
    assert statistics is not None
    stated = statistics.pairs[pair] if pair else statistics

    found = spread_of(samples_of(name, (pair,) if pair else ()))

    assert found is not None
    assert found.sd == pytest.approx(stated.seed_sd, rel=0.2)
    assert found.correlation == pytest.approx(stated.seed_correlation, abs=0.1)
