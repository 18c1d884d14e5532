"""Rows of numbers on disk, each computed once for all processes: a sparse file, and a mask of the rows in it.

A file has its full length from the start, and takes room for the rows that were written. A row counts once its byte in
the mask is set, after it was flushed, so that a process that is killed leaves no row that is half there. Processes that
write the same row write the same values.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

import numpy as np
from filelock import FileLock

from kdbench.cache import cache_folder
from kdbench.console import Notice
from kdbench.errors import KdbenchError, writing

LIMIT = "KDBENCH_STORE_LIMIT"
DEFAULT_LIMIT = 10.0  # GB
GB = 1e9
REMEDY = "Set KDBENCH_CACHE to another folder"
ROWS, MASK = ".rows", ".mask"


def store_folder() -> Path:
    """Where all stores lie."""
    return cache_folder() / "outputs"


def store_limit() -> float:
    """How many bytes all stores may grow to, together.

    Raises:
        KdbenchError: `KDBENCH_STORE_LIMIT` is no number.
    """
    text = os.environ.get(LIMIT, "")
    try:
        limit = float(text) if text else DEFAULT_LIMIT
    except ValueError:
        limit = -1.0
    if not limit >= 0:
        raise KdbenchError(f"{LIMIT}={text}: give a number of GB, 0 for no store.")
    return limit * GB


def files_of(path: Path) -> tuple[Path, Path]:
    """The rows of a store, and their mask."""
    return path.with_name(path.name + ROWS), path.with_name(path.name + MASK)


def amount(size: float) -> str:
    """Bytes, as people read them."""
    return f"{size / GB:.3g} GB" if size >= GB else f"{size / 1e6:.3g} MB"


class RowStore:
    """Rows of one type and width, some of which are there.

    Args:
        path: of the file and its mask, without their suffixes.
        rows: how many it has room for.
        width: numbers in a row.
    """

    def __init__(self, path: Path, rows: int, width: int, dtype: np.dtype) -> None:
        self.files = files_of(path)
        self.values = np.memmap(self.files[0], dtype, mode="r", shape=(rows, width))
        self.mask = np.memmap(self.files[1], np.uint8, mode="r", shape=(rows,))

    def has(self, rows: np.ndarray) -> np.ndarray:
        """(R,) bool: whether each of the rows (R,) is there."""
        return self.mask[rows] == 1

    def read(self, rows: np.ndarray) -> np.ndarray:
        """(R, W) values of rows that are there."""
        return np.asarray(self.values[rows])

    def write(self, rows: np.ndarray, values: np.ndarray) -> None:
        """Keep the values (R, W) of rows (R,), through the file: a full disk is then an error, not a signal.

        Raises:
            KdbenchError: the disk is full or the folder cannot be written.
        """
        order = np.argsort(rows)
        payload = np.ascontiguousarray(values[order], self.values.dtype)
        with writing(self.files[0], REMEDY):
            write_rows(self.files[0], rows[order], payload)
            write_rows(self.files[1], rows[order], np.ones(len(rows), np.uint8))


def write_rows(path: Path, rows: np.ndarray, values: np.ndarray) -> None:
    """Rows of a file, on the disk when this returns; what lies between them is not touched."""
    size = values[:1].nbytes
    with FileIO(path, "r+") as file:
        for row, value in zip(rows.tolist(), values, strict=True):
            file.seek(row * size)
            left = memoryview(value.tobytes())
            while left:
                left = left[file.write(left) or 0 :]
        os.fsync(file.fileno())


def open_stores(
    wanted: Mapping[str, tuple[int, np.dtype]], rows: int, what: str, notice: Notice
) -> dict[str, RowStore] | None:
    """Stores by name, made where they are not there; None if those could outgrow the limit.

    Args:
        wanted: width and type of a row, by name.
        rows: in each.
        what: they hold, for the message: the size is said before anything grows, and so is why nothing is kept.

    Raises:
        KdbenchError: the folder cannot be written.
    """
    folder, limit = store_folder(), store_limit()
    if limit == 0:
        return None
    paths = {name: folder / name for name in wanted}
    with writing(folder, REMEDY):
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            sizes = {name: rows * width * dtype.itemsize for name, (width, dtype) in wanted.items()}
            new = {name: size for name, size in sizes.items() if not is_whole(paths[name], size, rows)}
            others = sum(p.stat().st_size for p in folder.glob(f"*{ROWS}") if p.stem not in new)
            full = sum(new.values())
            if others + full > limit:
                notice(
                    f"{what} are not kept: with {amount(full)} for them, stores could grow to more than "
                    f"{limit / GB:g} GB ({LIMIT}). 'kdbench cache --clear outputs' frees those that are there."
                )
                return None
            for name, size in new.items():
                make_store(paths[name], size, rows)
            if new:
                notice(f"{what} are computed once and kept in {folder}, in at most {amount(full)}.")
            return {name: RowStore(paths[name], rows, *wanted[name]) for name in wanted}


def is_whole(path: Path, size: int, rows: int) -> bool:
    """Whether a store's files are there in full length."""
    lengths = zip(files_of(path), (size, rows), strict=True)
    return all(file.is_file() and file.stat().st_size == length for file, length in lengths)


def make_store(path: Path, size: int, rows: int) -> None:
    """An empty store; the mask goes first and comes last, so that it never speaks of another file."""
    values, mask = files_of(path)
    mask.unlink(missing_ok=True)
    values.unlink(missing_ok=True)
    for part, length in ((values, size), (mask, rows)):
        with part.open("wb") as file:
            file.truncate(length)
