"""Reading files that others may have made, and writing and moving files so that nothing is lost."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import stat
import sys
from pathlib import Path

from kdbench.errors import KdbenchError, first_line

HERE, EXCHANGE = -100, 2  # Linux: AT_FDCWD, RENAME_EXCHANGE
SAFELY = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def check_plain(path: Path, most: int) -> None:
    """A file is neither link, pipe nor device, and of at most so many bytes: asked before it is opened.

    Raises:
        FileNotFoundError: nothing is there.
        KdbenchError: it is something else, or larger.
    """
    try:
        check_status(path, path.lstat(), most)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise KdbenchError(f"Cannot read {path}: {getattr(error, 'strerror', None) or first_line(error)}.") from error


def check_status(path: Path, status: os.stat_result, most: int) -> None:
    """The same of what the system says of it."""
    if stat.S_ISLNK(status.st_mode):
        raise KdbenchError(f"{path} is a link. Put the file itself there.")
    if not stat.S_ISREG(status.st_mode):
        raise KdbenchError(f"{path} is no file. Remove it.")
    if status.st_size > most:
        raise KdbenchError(f"{path} is over {most} bytes, which is more than such a file can need.")


def read_plain(path: Path, most: int) -> bytes:
    """The content of a file from a folder that others may have filled: no link, pipe or device, of bounded size.

    Raises:
        FileNotFoundError: nothing is there.
        KdbenchError: it is something else, larger, or cannot be read.
    """
    check_plain(path, most)
    try:
        with open(os.open(path, SAFELY), "rb") as file:  # noqa: PTH123
            check_status(path, os.fstat(file.fileno()), most)  # it may have been exchanged meanwhile
            return file.read(most)
    except OSError as error:
        raise KdbenchError(f"Cannot read {path}: {error.strerror}.") from error


def check_folder(folder: Path, option: str = "--out") -> None:
    """A folder can be written, or be made: asked before any work begins.

    Raises:
        KdbenchError: it cannot.
    """
    place = folder.absolute()
    try:
        while not place.exists():
            place = place.parent
    except OSError as error:
        raise KdbenchError(f"{option} {folder}: {error.strerror}. Name another folder.") from error
    if not place.is_dir():
        raise KdbenchError(f"{option} {folder}: {place} is no folder. Name another one.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise KdbenchError(
            f"{option} {folder}: {place} cannot be written. Name another folder, or mend its permissions."
        )


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
    return path.rename(place_aside(path))


def place_aside(path: Path) -> Path:
    """Where something can be set aside."""
    for n in range(1, 1000):
        aside = path.with_name(f"{path.name}.aside-{n}")
        if not aside.exists():
            return aside
    raise KdbenchError(f"Too many files were set aside beside {path}. Remove some.")


def supersede(new: Path, place: Path) -> Path:
    """Put a folder in the place of another, which is set aside; killed at any moment, one of them is in place."""
    aside = new.rename(place_aside(place))
    if swap(aside, place):
        return aside
    old = set_aside(place)
    aside.rename(place)
    return old


def swap(one: Path, other: Path) -> bool:
    """Exchange two folders in one step of the file system; False where it has none."""
    rename = getattr(ctypes.CDLL(None), "renameat2", None) if sys.platform == "linux" else None
    return rename is not None and rename(HERE, os.fsencode(one), HERE, os.fsencode(other), EXCHANGE) == 0


def exchange(new: Path, place: Path, old: Path) -> None:
    """Put a complete folder in the place of another by renaming; killed in between, `restore` mends it."""
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def restore(place: Path, old: Path) -> None:
    """What an exchange left that was killed: the old folder returns if none is in its place, else it goes."""
    if old.exists() and not place.exists():
        old.rename(place)
    shutil.rmtree(old, ignore_errors=True)
