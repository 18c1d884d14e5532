"""A space's values, and the grid over several."""

from __future__ import annotations

import pytest

from kdbench.running.space import Choices, Range, grid, grid_size, is_finite


def test_a_continuum_is_cut_evenly_on_its_own_scale() -> None:
    assert Range("linear", 0.0, 1.0).points(5) == [0, 0.25, 0.5, 0.75, 1]
    assert Range("log", 0.01, 100.0).points(5) == [0.01, 0.1, 1, 10, 100]
    assert Range("int", 2, 5).points(2) == [2, 3, 4, 5]


def test_a_value_is_as_short_as_a_person_would_copy_it_and_stays_inside() -> None:
    assert Range("log", 0.1, 10.0).rounded(0.355555) == 0.3556
    assert Range("linear", 0.123412, 0.654389).rounded(0.1234123) == 0.123412
    assert Range("linear", 0.123412, 0.654389).rounded(0.6543878) == 0.654389
    assert Range("int", 1, 99999).rounded(12345) == 12345


def test_true_is_not_one() -> None:
    assert not Choices((1, 2)).has(True)
    assert not Choices((True,)).has(1)
    assert Choices((1.0,)).has(1.0)
    assert not Range("int", 0, 3).has(True)
    assert not Range("int", 0, 3).has(1.5)
    assert Range("linear", 0.0, 3.0).has(3)
    assert not Range("linear", 0.0, 3.0).has("1")


@pytest.mark.parametrize("trials", [4, 8, 9, 17, 18, 64, 100])
def test_a_grid_is_the_largest_within_the_trials(trials: int) -> None:
    space = {"a": Range("log", 0.1, 10.0), "b": Range("linear", 0.0, 1.0), "c": Choices(("x",))}
    size, count = grid_size(space, trials)
    points = grid(space, trials)
    assert len(points) == size == count**2 <= trials < (count + 1) ** 2
    assert len({tuple(point.values()) for point in points}) == size
    assert not is_finite(space)


def test_a_grid_holds_every_combination_of_single_values() -> None:
    space = {"a": Choices((1, 2)), "b": Range("int", 1, 3)}
    assert is_finite(space)
    assert grid_size(space, 2)[0] == 6
    assert grid(space, 6) == [{"a": a, "b": b} for a in (1, 2) for b in (1, 2, 3)]
