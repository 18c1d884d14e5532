"""How long a command may train: until its time is up, or until it is told to stop (SIGTERM)."""

from __future__ import annotations

import math
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_double
from multiprocessing.sharedctypes import RawValue

from kdbench.errors import KdbenchError

NUMBER = r"(\d+(?:\.\d+)?)"
DURATION = re.compile(rf"(?:{NUMBER}h)?(?:{NUMBER}m)?(?:{NUMBER}s)?", re.ASCII)
SPARE = 1.1  # times as long as the epochs before it, an epoch must fit
CLOSING = 5.0  # seconds at most, and a tenth of a limit, that the report and the end of the processes take of it


class OutOfTime(Exception):
    """A training stopped at an epoch's end, with its checkpoint written, as there is no time for another epoch."""


class TimeLimit:
    """The time at which training must have stopped, in memory that worker processes share.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        self._end = RawValue(c_double, time.time() + seconds)
        self._epoch = RawValue(c_double, 0.0)

    def end_now(self) -> None:
        """No further epoch begins."""
        self._end.value = -math.inf

    def left(self) -> float:
        """Seconds that are left; below zero once time is up."""
        return self._end.value - time.time()

    def epoch(self) -> float:
        """Seconds of an epoch, as learnt; 0 before."""
        return self._epoch.value

    def learn(self, epoch: float) -> None:
        """Note how many seconds epochs take now, for whoever has had none yet."""
        self._epoch.value = epoch

    def suffices(self, epoch: float | None = None) -> bool:
        """Whether an epoch of so many seconds ends in time; unknown, one as long as any training had last."""
        return time.time() + SPARE * (self._epoch.value if epoch is None else epoch) < self._end.value


@contextmanager
def time_limit(text: str | None) -> Iterator[TimeLimit]:
    """A limit for all that a command does from now on, as `--time-limit` gives it; meanwhile SIGTERM ends it.

    Raises:
        KdbenchError: not of the form 90s, 9m or 1h30m, or zero.
    """
    seconds = math.inf if text is None else parse_duration(text)
    limit = TimeLimit(seconds - min(CLOSING, seconds / 10))
    before = signal.signal(signal.SIGTERM, lambda number, frame: limit.end_now())
    try:
        yield limit
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def parse_duration(text: str, option: str = "--time-limit ") -> float:
    """Seconds of a duration such as 90s, 9m or 1h30m.

    Args:
        option: what it was given for.

    Raises:
        KdbenchError: not of that form, or zero.
    """
    match, number = DURATION.fullmatch(text.strip()), re.fullmatch(NUMBER, text.strip(), re.ASCII)
    parts = match.groups() if match else ()
    seconds = sum(float(part or 0) * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    if seconds > 0:
        return seconds
    hint = f" Did you mean {text.strip()}s?" if number and float(number[0]) else ""
    raise KdbenchError(f"{option}{text}: give hours, minutes or seconds, more than none: 90s, 9m or 1h30m.{hint}")
