"""A job of SLURM as submitit calls it: how long it may work, and what it does when SLURM speaks to it.

Nothing that takes seconds to import is imported before it listens.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from submitit.helpers import Checkpointable

from kdbench.training.limit import TimeLimit

CLOSING = 30.0  # seconds at most, and a tenth of a job's time, for its end


class Crew(Checkpointable):
    """The jobs of an array.

    Args:
        folder: of the array, and the hash of the orders in it.
        seconds: of a job, as the parent asked for.
    """

    def __init__(self, folder: Path, sha256: str, seconds: float) -> None:
        self.folder, self.sha256, self.seconds = folder, sha256, seconds

    def __call__(self, number: int) -> None:
        limit = job_limit(self.seconds)

        def work() -> bool:
            from kdbench.running.engines.slurm_crew import work_off

            return work_off(self.folder, self.sha256, number, limit)

        with_signals(limit, work)


def job_limit(seconds: float) -> TimeLimit:
    """Until shortly before SLURM ends this job."""
    end = float(os.environ.get("SLURM_JOB_END_TIME") or time.time() + seconds)
    return TimeLimit(end - time.time() - min(CLOSING, seconds / 10))


def with_signals(limit: TimeLimit, work: Callable[[], bool]) -> None:
    """Work until it is done, or until SLURM says that the job's time is up or that it is cancelled.

    Args:
        work: returns whether it left anything for another time.
    """
    time_is_up = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}")
    cancelled: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        limit.end_now()
        if number == signal.SIGTERM:
            cancelled.append(number)

    signal.signal(signal.SIGTERM, stop)
    queue_again = signal.signal(time_is_up, stop)
    try:
        left = work()
    finally:
        signal.signal(time_is_up, queue_again)
    if left and not cancelled:
        signal.raise_signal(time_is_up)  # submitit's handler has the job queued again
