"""How results vary with the teacher."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.teacher_variance import spread_of


def test_the_teachers_spread_is_what_the_seeds_do_not_explain() -> None:
    draw = np.random.default_rng(0)
    teachers, seeds = draw.normal(0, 0.8, (2000, 1)), draw.normal(0, 0.5, (2000, 5))

    found = spread_of(70 + teachers + seeds)

    assert found.teachers == pytest.approx(0.8, rel=0.05)
    assert found.seeds == pytest.approx(0.5, rel=0.05)


def test_teachers_that_differ_by_no_more_than_seeds_explain_have_no_spread() -> None:
    accuracies = np.array([[70.0, 71.0, 72.0], [72.0, 70.0, 71.0]])

    found = spread_of(accuracies)

    assert found.teachers == 0
    assert found.seeds == pytest.approx(1)


def test_a_shift_of_one_teachers_students_is_that_teachers() -> None:
    found = spread_of(np.array([[70.0, 70.0], [73.0, 73.0]]))

    assert found.teachers == pytest.approx(3 / 2**0.5)
    assert found.seeds == 0
