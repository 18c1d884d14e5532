"""Small images and where they come from: scikit-learn's digits, Parquet files of the hub or a folder, class folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kdbench.data.folders import data_dir, list_parts
from kdbench.data.images import open_image
from kdbench.data.parquet import Sample, local_files, splits, table_parts
from kdbench.errors import KdbenchError, did_you_mean, first_line
from kdbench.tables import Data

Images = tuple[np.ndarray, np.ndarray]  # (N, C, H, W) uint8 pixels and (N,) int64 labels
OnRows = Callable[[int], None]  # rows decoded so far, of both parts


def read_source(data: Data, on_rows: OnRows = lambda rows: None) -> list[Images]:
    """The images of a suite: one pool that is still to be split, or its train and test parts.

    Raises:
        KdbenchError: unknown source; files that are missing, truncated or of another layout than the suite says.
    """
    if data.source in POOLS:
        return [POOLS[data.source]()]
    parts: list[Images] = []
    sizes = (data.train, data.test) if data.split_seed is None else (data.train + data.test,)
    for samples, size in zip(read_samples(data), sizes, strict=True):
        parts.append(decode(samples, size, data, on_rows, sum(len(labels) for _, labels in parts)))
    return parts


def source_files(data: Data) -> list[Path]:
    """The user's files that the data are read from, train's first; none where they are downloaded.

    Raises:
        KdbenchError: they are not there.
    """
    if data.is_folder:
        return [path for part in list_parts(data) for path in part.paths]
    check_known(data)
    if data_dir() is None or data.source in POOLS:
        return []
    return list(dict.fromkeys(path for split in splits(data) for path in local_files(data, split)))


def sklearn_digits() -> Images:
    """1,797 handwritten digits of 8 x 8 pixels (UCI), 17 grey levels spread over 0..255.

    Read from scikit-learn's file, since every process of every cell would take seconds to import scikit-learn.

    Raises:
        KdbenchError: scikit-learn is not there, or has the file elsewhere.
    """
    spec = find_spec("sklearn")
    path = Path(spec.origin if spec and spec.origin else "sklearn").parent / "datasets" / "data" / "digits.csv.gz"
    try:
        rows = np.loadtxt(path, delimiter=",")
    except OSError as error:
        raise KdbenchError(f"Cannot read {path}: {first_line(error)}. Install scikit-learn anew.") from error
    pixels = np.rint(rows[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    return pixels, rows[:, -1].astype(np.int64)


POOLS: dict[str, Callable[[], Images]] = {"sklearn/digits": sklearn_digits}


def check_known(data: Data) -> None:
    """The source is one that images can come from.

    Raises:
        KdbenchError: it is not.
    """
    if data.source not in POOLS and ("/" not in data.source or data.source.startswith("sklearn/")):
        raise KdbenchError(
            f"Unknown data source '{data.source}' (data.source).{did_you_mean(data.source, POOLS)} "
            "Data sets of the Hugging Face hub are written owner/name."
        )


def read_samples(data: Data) -> list[Iterable[Sample]]:
    """The images of the train and test parts, or of what is still to be split, encoded.

    Raises:
        KdbenchError: unknown source; files that are missing; columns or labels other than the suite says.
    """
    if data.is_folder:
        return [
            [(str(path), path, label) for path, label in zip(part.paths, part.labels.tolist(), strict=True)]
            for part in list_parts(data)
        ]
    check_known(data)
    return table_parts(data)


def decode(samples: Iterable[Sample], size: int, data: Data, on_rows: OnRows, done: int) -> Images:
    """Samples to arrays, after `done` rows of other parts.

    Raises:
        KdbenchError: an image of another size than the suite says, or too many rows.
    """
    height, width = data.image_size
    pixels = np.empty((size, height, width, data.channels), dtype=np.uint8)
    labels = np.empty(size, dtype=np.int64)
    n = 0
    for name, source, label in samples:
        image = open_image(source, data.channels, name)
        if (image.height, image.width) != (height, width):
            if data.resize is None:
                raise KdbenchError(
                    f"{name} is an image of {image.height} x {image.width} pixels, but the suite's data.image_size "
                    f"says {height} x {width}. To scale all images, set data.resize = 'box'."
                )
            image = ImageOps.fit(image, (width, height), Image.Resampling.BOX)
        if n < size:
            pixels[n], labels[n] = np.asarray(image).reshape(height, width, data.channels), label
        n += 1
        if n % 500 == 0:
            on_rows(done + n)
    if n != size:
        raise KdbenchError(f"Data source '{data.source}' has {n} rows, but the suite's [data] says {size}.")
    return pixels.transpose(0, 3, 1, 2), labels
