"""The interval of a difference covers, whatever part of the noise seeds and images have."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as scipy_stats

from kdbench.records.contrast import Contrasts, Sample, contrast_samples, contrast_scores, image_variance, sample
from kdbench.records.moderation import Prior

PRIOR = Prior(0.5, 10, 0.1)


def rows_of(*rows: list[float]) -> list[dict[int, float]]:
    return [dict(enumerate(row)) for row in rows]


def test_without_a_prior_the_interval_is_welchs() -> None:
    one, other = [95.0, 96.0, 95.5, 94.0, 96.5], [94.0, 94.5, 94.2, 94.9]
    found = contrast_scores(rows_of(one, other), 0.0, None).difference(0, 1)
    welch = scipy_stats.ttest_ind(one, other, equal_var=False)
    bounds = welch.confidence_interval()
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert found.p_value == pytest.approx(welch.pvalue)
    assert found.mean == pytest.approx(np.mean(one) - np.mean(other))


def test_a_difference_is_antisymmetric() -> None:
    found = contrast_scores(rows_of([1.0, 2.0, 4.0], [3.0, 3.5, 5.0]), 0.01, PRIOR)
    forth, back = found.difference(0, 1), found.difference(1, 0)
    assert forth.low is not None
    assert back.high is not None
    assert (forth.mean, forth.low, forth.p_value) == pytest.approx((-back.mean, -back.high, back.p_value))


def test_another_row_moves_no_difference_under_a_stated_prior() -> None:
    rows = rows_of([1.0, 2.0, 4.0], [3.0, 3.5, 5.0], [2.0, 9.0, 9.0])
    assert contrast_scores(rows, 0.01, PRIOR).difference(0, 1) == contrast_scores(rows[:2], 0.01, PRIOR).difference(
        0, 1
    )


def test_seeds_that_correlate_and_are_common_narrow_the_interval() -> None:
    one, other = [1.0, 2.0, 4.0], [3.0, 3.5, 5.0]
    same = contrast_scores(rows_of(one, other), 0.0, Prior(0.5, 10, 0.5)).error[0, 1]
    apart = [dict(zip((0, 1, 2), one, strict=True)), dict(zip((3, 4, 5), other, strict=True))]
    assert contrast_scores(apart, 0.0, Prior(0.5, 10, 0.5)).error[0, 1] > same
    assert contrast_scores(rows_of(one, other), 0.0, Prior(0.5, 10, 0.0)).error[0, 1] > same


def test_one_seed_gives_no_interval() -> None:
    found = contrast_scores(rows_of([1.0], [2.0, 3.0]), 0.0, PRIOR).difference(0, 1)
    assert (found.low, found.p_value) == (None, None)
    assert found.mean == -1.5


def test_rows_without_any_noise_differ_or_do_not() -> None:
    found = contrast_scores(rows_of([1.0, 1.0], [1.0, 1.0], [2.0, 2.0]), 0.0, None)
    assert (found.p_value(0, 1), found.p_value(0, 2)) == (1.0, 0.0)
    assert found.difference(0, 2).low == found.difference(0, 2).high == -1.0


def test_half_of_a_variance_is_shared_by_all_differences_from_an_equal_row() -> None:
    row = [1.0, 2.0, 3.0]
    assert contrast_scores(rows_of(row, row), 0.0, None).shared[0, 1] == pytest.approx(0.5)
    longer = [*row, *row, *row, *row]
    assert contrast_scores(rows_of(row, longer), 0.0, Prior(1.0, 1e6)).shared[0, 1] == pytest.approx(0.2, abs=0.01)


def test_scores_and_images_of_a_sample_are_means() -> None:
    values = np.random.default_rng(0).random((2, 3, 50))
    found = sample(values, [4, 7, 9])
    assert list(found.scores) == [4, 7, 9]
    assert found.scores[7] == pytest.approx(values[:, 1].mean())
    assert found.images == pytest.approx(values.mean(axis=(0, 1)))
    assert found.mean == pytest.approx(values.mean())


def test_the_part_of_the_images_is_that_of_what_methods_do_on_them() -> None:
    """Its mean over draws is the variance of the mean difference over images, and 0 where methods agree on them."""
    rng = np.random.default_rng(5)

    def drawn(spread: float) -> float:
        difficulty = rng.normal(0, 30, 400)
        rows = [difficulty + rng.normal(0, spread, 400) + rng.normal(0, 20, (1, 5, 400)) for _ in range(2)]
        return float(image_variance([sample(row, range(5)) for row in rows])[0, 1])

    assert np.mean([drawn(10.0) for _ in range(300)]) == pytest.approx(2 * 100 / 400, rel=0.1)
    assert np.mean([drawn(0.0) for _ in range(300)]) < 0.05


def simulate(rng: np.random.Generator, seeds: tuple[int, int], images: float) -> tuple[Contrasts, float]:
    """A reference and a method whose seeds' noise comes from the prior, and the true difference."""
    rows: list[Sample] = []
    common = rng.normal(size=max(seeds))
    for count in seeds:
        sd = PRIOR.sd * np.sqrt(PRIOR.df / rng.chisquare(PRIOR.df))
        noise = PRIOR.correlation**0.5 * common[:count] + (1 - PRIOR.correlation) ** 0.5 * rng.normal(size=count)
        by_image = 90 + images * rng.normal(size=200)
        rows.append(sample((sd * noise)[None, :, None] + by_image, range(count)))
    return contrast_samples(rows, PRIOR), 0.0


@pytest.mark.parametrize(("seeds", "images"), [((5, 5), 0.0), ((5, 20), 0.0), ((10, 40), 1.0), ((2, 20), 3.0)])
def test_the_interval_covers_93_to_97_percent(seeds: tuple[int, int], images: float) -> None:
    rng = np.random.default_rng(7)
    trials, covered = 1200, 0
    for _ in range(trials):
        found, truth = simulate(rng, seeds, images)
        difference = found.difference(0, 1)
        assert difference.low is not None
        assert difference.high is not None
        covered += difference.low <= truth <= difference.high
    assert 0.93 <= covered / trials <= 0.97


def test_small_p_values_are_as_rare_as_they_say() -> None:
    rng = np.random.default_rng(9)
    p_values = np.array([simulate(rng, (5, 20), 0.0)[0].p_value(0, 1) for _ in range(8_000)])
    assert (p_values < 0.001).mean() <= 0.002
    assert 0.04 <= (p_values < 0.05).mean() <= 0.055
