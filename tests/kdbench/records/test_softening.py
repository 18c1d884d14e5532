"""Soft targets, their limits, and the gradient of distilling them, against numerical derivatives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from kdbench.records.softening import (
    confusion,
    distance_from_matching,
    entropy,
    logit_gradient,
    soft_gradient,
    soften,
)

RNG = np.random.default_rng(0)
STUDENT, TEACHER = RNG.normal(0, 3, (5, 4)), RNG.normal(0, 3, (5, 4))


def test_soft_targets_are_those_of_the_definition_and_survive_extreme_temperatures():
    expected = [math.exp(z / 2) for z in (1.0, 3.0, -2.0)]
    assert soften(np.array([1.0, 3.0, -2.0]), 2.0) == pytest.approx(np.array(expected) / sum(expected))
    assert soften(np.array([1.0, 3.0, -2.0]), 1e-3).tolist() == [0.0, 1.0, 0.0]
    assert soften(np.array([1.0, 3.0, -2.0]), 1e6) == pytest.approx([1 / 3] * 3, abs=1e-5)


def test_entropy_goes_from_none_to_that_of_even_odds():
    assert entropy(np.array([1.0, 0.0])) == 0
    assert entropy(np.full(10, 0.1)) == pytest.approx(math.log(10))
    found = [float(entropy(soften(TEACHER[0], t))) for t in (0.1, 1, 4, 100)]
    assert found == sorted(found)


def test_a_row_of_the_confusion_is_the_mean_of_its_class():
    labels = np.array([0, 0, 1, 2, 3])
    table = confusion(TEACHER, labels, 4.0)
    assert table[0] == pytest.approx((soften(TEACHER[0], 4.0) + soften(TEACHER[1], 4.0)) / 2)
    assert table.sum(axis=1) == pytest.approx(np.ones(4))


@pytest.mark.parametrize("temperature", [0.5, 4.0, 30.0])
def test_the_gradient_is_the_derivative_of_the_soft_loss(temperature: float):
    def loss(student: np.ndarray) -> float:
        p, q = soften(TEACHER[0], temperature), soften(student, temperature)
        return float(temperature**2 * (p * np.log(p / q)).sum())

    step = 1e-5
    numerical = [
        (loss(STUDENT[0] + step * e) - loss(STUDENT[0] - step * e)) / (2 * step) for e in np.eye(STUDENT.shape[1])
    ]
    assert soft_gradient(STUDENT, TEACHER, temperature)[0] == pytest.approx(numerical, abs=1e-6)


def test_the_gradient_becomes_that_of_matching_logits_as_one_over_the_temperature():
    found = [distance_from_matching(STUDENT, TEACHER, t) for t in (100.0, 1000.0, 10000.0)]
    assert found[0] / found[1] == pytest.approx(10, rel=0.1)
    assert found[1] / found[2] == pytest.approx(10, rel=0.1)
    assert soft_gradient(STUDENT, TEACHER, 1e6) == pytest.approx(logit_gradient(STUDENT, TEACHER), abs=1e-4)
