"""Writing and moving files so that nothing is lost, whatever happens meanwhile."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from kdbench.errors import KdbenchError


def write_atomically(path: Path, payload: bytes) -> None:
    """Write a file so that a reader, or a crash at any moment, finds the old content or the new one."""
    temporary = path.with_name(f".{path.name}.{platform.node()}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Force a file or folder to the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no descriptors of folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_aside(path: Path) -> Path:
    """Rename a corrupt or replaced file or folder, so that nothing is lost and its place is free."""
    for n in range(1, 1000):
        aside = path.with_name(f"{path.name}.aside-{n}")
        if not aside.exists():
            path.rename(aside)
            return aside
    raise KdbenchError(f"Too many files were set aside beside {path}. Remove some.")
