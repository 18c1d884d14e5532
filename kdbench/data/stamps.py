"""What files were when they were last read: an index from their names, sizes and times to the hash of their content.

Files that have not changed since are known by a look at each. Each entry is a file of its own, named by the stamp, so
that processes that write at once do not meet; one that is damaged is made anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from filelock import FileLock

from kdbench.cache import cache_folder
from kdbench.errors import KdbenchError, writing
from kdbench.files import write_atomically
from kdbench.hashing import digest
from kdbench.tables import Data

REMEDY = "Set KDBENCH_CACHE to another folder"
WHERE = {"source", "columns", "splits", "image_size", "resize", "channels"}  # what pixels and labels of files depend on
WHERE_GIVEN = {"config", "split_seed", "exclude"}  # the same, of suites that have them


def whereabouts(data: Data, *further: str) -> dict[str, Any]:
    """What the pixels and labels of a suite's files depend on, beside the files, and further keys."""
    given = {key for key in WHERE_GIVEN if getattr(data, key) is not None}
    sizes = {"train", "test"} if data.split_seed is not None else set()
    return data.model_dump(mode="json", include={*WHERE, *given, *sizes, *further})


def stamp(data: Data, files: Iterable[Path]) -> str:
    """Hash of the names, sizes, times and inodes of the files that a suite's data come from, and of how they are read.

    Raises:
        KdbenchError: one is not there any more.
    """
    found = hashlib.sha256(digest(whereabouts(data)).encode())
    for path in files:
        try:
            about = path.stat()
        except OSError as error:
            raise KdbenchError(f"Cannot read {path}: {error.strerror}.") from error
        found.update(f"{path}\0{about.st_size} {about.st_mtime_ns} {about.st_ctime_ns} {about.st_ino}\n".encode())
    return found.hexdigest()


def entry(of: str) -> Path:
    """Where the index has a stamp."""
    return cache_folder() / "data" / "contents" / of


def known_content(of: str) -> str | None:
    """The hash of the content behind a stamp; None if it is not known, or the entry is damaged."""
    try:
        sha256, check = entry(of).read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return sha256 if check == digest([of, sha256]) else None


def content_behind(before: str, stamp_now: Callable[[], str], compute: Callable[[], str]) -> str:
    """The hash of the content behind a stamp, computed once: other processes wait for it.

    Args:
        stamp_now: of the same files, once they have been read.

    Raises:
        KdbenchError: files changed while they were read, or the cache cannot be written.
    """
    path = entry(before)
    with writing(path.parent, REMEDY):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_suffix(".lock"))
    with lock:
        if (known := known_content(before)) is not None:
            return known
        found = compute()
        if stamp_now() != before:
            raise KdbenchError("Files of the data set changed while they were read. Run the command again.")
        with writing(path, REMEDY):
            write_atomically(path, f"{found} {digest([before, found])}\n".encode())
        return found
