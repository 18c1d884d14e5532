"""The lock of a cell: whoever trains it, or puts its record into place, holds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from kdbench.errors import writing


@contextmanager
def key_lock(root: Path, suite: str, key: str) -> Iterator[bool]:
    """Hold a cell's lock, which ends with this process however it dies; False if another process holds it.

    It is one of the operating system's (`flock`). On a shared file system that keeps none, two may hold it: the record
    that comes second is then compared with the first and dropped (`store.finish_cell`).
    """
    path = root / suite / ".locks" / f"{key[:16]}.lock"
    with writing(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        with suppress(Timeout):
            lock.acquire(timeout=0)
    try:
        yield lock.is_locked
    finally:
        lock.release()
