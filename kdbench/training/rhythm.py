"""When a training keeps a checkpoint, and whether there is time for another epoch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from kdbench.training.limit import OutOfTime, TimeLimit

CHECKPOINT_EVERY = 1.0  # seconds at least, at an epoch's end
CHECKPOINT_SHARE = 0.05  # of the time at most
RECENT = 3  # epochs, the longest of which says how long the next one takes: the first may warm up


class Rhythm:
    """The times of one training's epochs.

    Args:
        save: writes its checkpoint.
    """

    def __init__(self, save: Callable[[], None], limit: TimeLimit) -> None:
        self.save, self.limit = save, limit
        self.recent = deque[float](maxlen=RECENT)
        self.saved = self.started = time.monotonic()
        self.pause, self.is_unsaved = CHECKPOINT_EVERY, False

    def begin(self) -> None:
        """Before an epoch.

        Raises:
            OutOfTime: the limit leaves no time for it; the checkpoint holds all that was done.
        """
        if not self.limit.suffices(max(self.recent, default=None)):
            if self.is_unsaved:
                self.save()
            raise OutOfTime
        self.started = time.monotonic()

    def elapsed(self) -> float:
        """Seconds of the epoch so far."""
        return time.monotonic() - self.started

    def keep(self) -> None:
        """After an epoch that is not the last: a checkpoint, if the last one is old for what it costs."""
        now, self.is_unsaved = time.monotonic(), True
        if now - self.saved > self.pause:
            self.save()
            self.saved, self.is_unsaved = time.monotonic(), False
            self.pause = max(CHECKPOINT_EVERY, (self.saved - now) / CHECKPOINT_SHARE)

    def end(self) -> None:
        """After an epoch and all that follows it."""
        self.recent.append(self.elapsed())
        self.limit.learn(max(self.recent))
