"""Locks that end with their process: of a cell, and of a folder that is changed as a whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from kdbench.cache import cache_folder
from kdbench.errors import KdbenchError, writing
from kdbench.hashing import digest


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


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder that is to be replaced or changed as a whole; the lock's file is in the cache, not beside it.

    Raises:
        KdbenchError: another process holds it.
    """
    path = cache_folder() / "locks" / f"{digest(str(folder.resolve()))[:16]}.lock"
    with writing(path.parent, "Set KDBENCH_CACHE to another folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        with suppress(Timeout):
            lock.acquire(timeout=0)
    if not lock.is_locked:
        raise KdbenchError(f"Another kdbench is writing {folder}. Wait until it has ended.")
    try:
        yield
    finally:
        lock.release()
