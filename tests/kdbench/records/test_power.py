"""A gain of the size that a board says it detects is found four times in five."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.statistics_power import DIGITS, STATED, Layout, board, detectable
from kdbench.records.contrast import contrast_scores
from kdbench.records.dunnett import critical_p
from kdbench.records.moderation import Prior
from kdbench.records.power import detectable_between, detectable_from
from kdbench.records.standings import contrasts_with


@pytest.mark.parametrize("layout", [Layout(20, 5, 20), Layout(20, 10, 10)])
def test_a_gain_of_that_size_is_found_four_times_in_five(layout: Layout) -> None:
    rng, found, tried = np.random.default_rng(2), 0, 0
    size = detectable(DIGITS, layout)
    for _ in range(150):
        scores, gain = board(rng, DIGITS, layout, [size])
        tested = STATED(scores, gain, DIGITS)
        limit = critical_p(tested.shared, tested.own)
        found += sum(p <= limit for p, g in zip(tested.none, gain, strict=True) if g)
        tried += int((gain > 0).sum())
    assert 0.75 <= found / tried <= 0.85


def test_more_seeds_find_less_and_more_rows_need_more() -> None:
    assert detectable(DIGITS, Layout(20, 10, 40)) < detectable(DIGITS, Layout(20, 5, 20))
    assert detectable(DIGITS, Layout(20, 5, 20)) < detectable(DIGITS, Layout(20, 5, 5))
    assert detectable(DIGITS, Layout(100, 5, 20)) > detectable(DIGITS, Layout(20, 5, 20))


def test_a_row_of_another_kind_does_not_move_it() -> None:
    wave = [0.0, 1.0, 0.0, 1.0, 0.5]
    rows = [dict(enumerate((n + 0.5 * np.array(wave)).tolist())) for n in range(5)]
    wild = dict(enumerate([0.0, 90.0, 10.0, 70.0, 30.0]))
    prior = Prior(0.5, 10)
    usual, beside = (contrast_scores(found, 0.0, prior) for found in ([*rows, rows[0]], [*rows, wild]))
    assert detectable_from(beside, 0) == pytest.approx(detectable_from(usual, 0), rel=0.05)
    assert detectable_between(beside) == pytest.approx(detectable_between(usual), rel=1e-9)


def test_one_seed_detects_nothing() -> None:
    found = contrast_scores([{0: 1.0}, {0: 2.0}], 0.0, None)
    assert detectable_from(found, 0) is None
    assert detectable_between(found) is None


def test_not_better_does_not_become_easier_to_say_with_less_power() -> None:
    """A gain that matters is ruled out, or it is not: by fewer seeds and among more rows it is ruled out less often."""

    def open_(seeds: int, rows: int, noise: float) -> bool:
        wave = noise * np.array([0.0, 1.0, 0.2, 0.8, 0.5, 0.6, 0.1, 0.9, 0.3, 0.7][:seeds])
        scores = [dict(enumerate(map(float, wave - wave.mean()))) for _ in range(rows)]
        found = contrasts_with(contrast_scores(scores, 0.0, None), 0)
        assert {c.verdict for c in found.values()} == {"not separable"}
        return found[1].gain_is_open

    assert not open_(10, 3, 0.5)
    assert [open_(10, 3, 3.0), open_(10, 60, 2.0), open_(3, 3, 1.0)] == [True, True, True]
    assert [open_(10, 3, 2.0), open_(10, 3, 1.0)] == [False, False]
