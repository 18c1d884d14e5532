"""The training stream is a pure function of (suite, seed), epoch by epoch."""

from __future__ import annotations

import numpy as np

from kdbench.data.stream import epoch_stream, torch_seed


def test_an_epoch_visits_every_sample_once() -> None:
    index, view = epoch_stream("digits", 0, 3, 1000, 9)
    assert np.array_equal(np.sort(index), np.arange(1000))
    assert set(view) == set(range(9))


def test_the_stream_is_pinned() -> None:
    index, view = epoch_stream("digits", 0, 0, 1000, 9)
    assert index[:5].tolist() == [460, 429, 928, 959, 117]
    assert view[:5].tolist() == [6, 6, 6, 0, 4]


def test_an_epoch_does_not_depend_on_those_before_it() -> None:
    alone = epoch_stream("digits", 1, 7, 100, 9)
    for epoch in range(8):
        after_others = epoch_stream("digits", 1, epoch, 100, 9)
    assert all(np.array_equal(a, b) for a, b in zip(alone, after_others, strict=True))


def test_suites_seeds_and_epochs_have_streams_of_their_own() -> None:
    places = [("digits", 0, 0), ("digits", 1, 0), ("digits", 0, 1), ("other", 0, 0)]
    orders = {tuple(epoch_stream(*place, 50, 9)[0]) for place in places}
    assert len(orders) == len(places)


def test_each_kind_of_draw_has_a_seed_of_its_own() -> None:
    assert len({torch_seed("digits", 0, kind) for kind in ("data", "student", "dropout", "method")}) == 4
