"""A job of SLURM: when it goes back into the queue, and until when it works."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from kdbench.training.limit import TimeLimit

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'kdbench[slurm]'")


@pytest.fixture
def queued() -> Iterator[list[int]]:
    """How often the handler of submitit's signal was called, which is one of the test here."""
    calls: list[int] = []
    before = [(number, signal.getsignal(number)) for number in (signal.SIGUSR2, signal.SIGTERM)]
    signal.signal(signal.SIGUSR2, lambda number, frame: calls.append(number))
    yield calls
    for number, handler in before:
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("sent", "left", "times"),
    [
        (signal.SIGUSR2, True, 1),
        (None, True, 1),
        (None, False, 0),
        (signal.SIGUSR2, False, 0),
        (signal.SIGTERM, True, 0),
    ],
)
def test_what_is_left_is_queued_again_unless_the_job_was_cancelled(
    sent: signal.Signals | None, left: bool, times: int, queued: list[int]
) -> None:
    from kdbench.running.engines.slurm_job import with_signals

    limit = TimeLimit(600)

    def work() -> bool:
        if sent is not None:
            os.kill(os.getpid(), sent)
            assert not limit.suffices()
        assert queued == []
        return left

    with_signals(limit, work)
    assert len(queued) == times


def test_a_job_stops_before_slurm_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from kdbench.running.engines.slurm_job import job_limit

    monkeypatch.setenv("SLURM_JOB_END_TIME", str(int(time.time()) + 3600))
    assert 3550 < job_limit(7200).left() <= 3570
    monkeypatch.delenv("SLURM_JOB_END_TIME")
    assert 7150 < job_limit(7200).left() <= 7170
    assert 50 < job_limit(60).left() <= 54
