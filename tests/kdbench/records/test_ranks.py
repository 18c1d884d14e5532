"""Sets of ranks hold the true rank, and never contradict the order of means."""

from __future__ import annotations

import numpy as np

from kdbench.records.contrast import Contrasts, contrast_scores
from kdbench.records.moderation import Prior
from kdbench.records.ranks import rank_sets

PRIOR = Prior(0.5, 10)


def contrasts(means: list[float], seeds: int = 5, noise: float = 0.5, seed: int = 0) -> Contrasts:
    rng = np.random.default_rng(seed)
    rows = [dict(enumerate((mean + rng.normal(0, noise, seeds)).tolist())) for mean in means]
    return contrast_scores(rows, 0.0, PRIOR)


def test_clearly_different_rows_have_one_rank_each() -> None:
    found = contrasts([90.0, 80.0, 95.0], noise=0.3)
    assert rank_sets(found) == [(2, 2), (3, 3), (1, 1)]
    assert rank_sets(found, higher_is_better=False) == [(2, 2), (1, 1), (3, 3)]


def test_equal_rows_leave_their_ranks_open() -> None:
    found = contrast_scores([{0: 1.0, 1: 2.0, 2: 3.0}] * 2 + [{0: 90.0, 1: 91.0, 2: 92.0}], 0.0, PRIOR)
    assert rank_sets(found) == [(2, 3), (2, 3), (1, 1)]


def test_a_rank_set_holds_the_place_of_the_mean() -> None:
    found = contrasts(np.linspace(90, 94, 25).tolist())
    places = 1 + (found.mean > 0).sum(axis=0)
    sets = rank_sets(found)
    assert all(s is not None and s[0] <= place <= s[1] for s, place in zip(sets, places, strict=True))


def test_one_seed_gives_no_set() -> None:
    assert rank_sets(contrasts([1.0, 2.0], seeds=1)) == [None, None]
    assert rank_sets(contrasts([1.0])) == [(1, 1)]


def test_the_set_of_a_row_holds_its_true_rank_in_95_percent() -> None:
    means = [90.0, 91.0, 91.5, 92.0, 92.5, 93.0, 95.0]
    held = np.zeros(len(means))
    trials = 250
    for n in range(trials):
        for i, found in enumerate(rank_sets(contrasts(means, noise=0.45, seed=n))):
            true = 1 + sum(mean > means[i] for mean in means)
            held[i] += found is not None and found[0] <= true <= found[1]
    assert held.min() / trials >= 0.93
