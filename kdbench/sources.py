"""Where images come from: scikit-learn's digits, or Parquet files on the Hugging Face hub or in a local folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.errors import KdbenchError, did_you_mean, first_line
from kdbench.suite import Data

Images = tuple[np.ndarray, np.ndarray]  # (N, C, H, W) uint8 pixels and (N,) int64 labels
OnRows = Callable[[int], None]  # rows decoded so far, of both parts


def read_source(data: Data, on_rows: OnRows = lambda rows: None) -> list[Images]:
    """The images of a suite: one pool that is still to be split, or its train and test parts.

    Raises:
        KdbenchError: unknown source; files that are missing, truncated or of another layout than the suite says.
    """
    if data.source in POOLS:
        return [POOLS[data.source]()]
    if "/" not in data.source or data.source.startswith("sklearn/"):
        raise KdbenchError(
            f"Unknown data source '{data.source}' (data.source).{did_you_mean(data.source, POOLS)} "
            "Data sets of the Hugging Face hub are written owner/name."
        )
    parts: list[Images] = []
    for split, size in zip(data.splits or ("train", "test"), (data.train, data.test), strict=True):
        rows = local_rows(data, split) if data_dir() else hub_rows(data, split)
        try:
            parts.append(decode(rows, size, data, on_rows, sum(len(labels) for _, labels in parts)))
        except KdbenchError:
            raise
        except Exception as error:  # whatever a damaged file makes pyarrow, datasets or Pillow say
            raise KdbenchError(f"Cannot read {place(data, split)}: {first_line(error)}.") from error
    return parts


def sklearn_digits() -> Images:
    """1,797 handwritten digits of 8 x 8 pixels (UCI), 17 grey levels spread over 0..255."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return pixels[:, None], digits.target.astype(np.int64)


POOLS: dict[str, Callable[[], Images]] = {"sklearn/digits": sklearn_digits}


def data_dir() -> Path | None:
    """The user's own copy of data sets: `--data-dir`, else `KDBENCH_DATA`."""
    found = os.environ.get("KDBENCH_DATA")
    return Path(found).expanduser().absolute() if found else None


def place(data: Data, split: str) -> str:
    """Where a part is read from, for messages."""
    folder = data_dir()
    return f"'{split}' of '{data.source}' " + (f"in {folder} (--data-dir)" if folder else "on the Hugging Face hub")


def local_files(data: Data, split: str) -> list[Path]:
    """The Parquet files of one part in the user's folder, which holds the data set or is it.

    Raises:
        KdbenchError: there are none.
    """
    folder = data_dir()
    assert folder is not None
    owner, name = data.source.split("/", 1)
    pattern = f"{split}-*.parquet"
    for found in ((folder / owner / name).rglob(pattern), (folder / name).rglob(pattern), folder.glob(pattern)):
        if files := sorted(found):
            return files
    raise KdbenchError(
        f"No {pattern} of '{data.source}' in {folder / name} or {folder} (--data-dir, KDBENCH_DATA). "
        "Correct the folder, or leave it out to download."
    )


def local_rows(data: Data, split: str) -> Iterable[dict[str, Any]]:
    """Rows of a local copy; nothing outside it is reached."""
    import datasets

    files = [str(path) for path in local_files(data, split)]
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # it logs what it raises: one line is enough
    try:
        rows = datasets.load_dataset("parquet", data_files={split: files}, split=split, streaming=True)
        return with_images(rows, rows.features or {}, data, split)
    except KdbenchError:
        raise
    except Exception as error:
        raise KdbenchError(f"Cannot read {place(data, split)}: {first_line(error)}.") from error


def hub_rows(data: Data, split: str) -> Iterable[dict[str, Any]]:
    """Rows of a data set on the hub, downloaded once into the cache of the `datasets` library."""
    import datasets

    try:
        rows = datasets.load_dataset(data.source, split=split)
    except Exception as error:
        raise KdbenchError(
            f"Cannot download '{data.source}': {first_line(error)}. Without network, name a folder that holds its "
            "Parquet files with --data-dir or KDBENCH_DATA."
        ) from error
    return with_images(rows, rows.features, data, split)


def with_images(rows: Any, found: Iterable[str], data: Data, split: str) -> Iterable[dict[str, Any]]:
    """The rows' two columns, images decoded as the suite's channels say."""
    import datasets

    image, label = columns(data)
    for column in (image, label):
        if column not in found:
            raise KdbenchError(
                f"There is no column '{column}' in {place(data, split)} (data.columns).{did_you_mean(column, found)}"
            )
    mode = {1: "L", 3: "RGB"}.get(data.channels)
    if mode is None:
        raise KdbenchError(f"Images of '{data.source}' have 1 or 3 channels, not {data.channels} (data.channels).")
    return rows.select_columns([image, label]).cast_column(image, datasets.Image(mode=mode))


def columns(data: Data) -> tuple[str, str]:
    """The names of the images' and labels' columns."""
    return data.columns or ("image", "label")


def decode(rows: Iterable[dict[str, Any]], size: int, data: Data, on_rows: OnRows, done: int) -> Images:
    """Rows to arrays, after `done` rows of other parts.

    Raises:
        KdbenchError: an image of another size than the suite says, or too many rows.
    """
    height, width = data.image_size
    image_column, label_column = columns(data)
    pixels = np.empty((size, height, width, data.channels), dtype=np.uint8)
    labels = np.empty(size, dtype=np.int64)
    n = 0
    for row in rows:
        image = np.asarray(row[image_column])
        if image.shape[:2] != (height, width):
            raise KdbenchError(
                f"Data source '{data.source}' has an image of {image.shape[0]} x {image.shape[1]} pixels, "
                f"but the suite's data.image_size says {height} x {width}."
            )
        if n < size:
            pixels[n], labels[n] = image.reshape(height, width, data.channels), row[label_column]
        n += 1
        if n % 500 == 0:
            on_rows(done + n)
    if n != size:
        raise KdbenchError(f"Data source '{data.source}' has {n} rows, but the suite's [data] says {size}.")
    return pixels.transpose(0, 3, 1, 2), labels
