"""Small images and where they come from: scikit-learn's digits, Parquet files of the hub or a folder, class folders."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from kdbench.data.folders import data_dir, list_parts
from kdbench.data.images import open_image
from kdbench.errors import KdbenchError, did_you_mean, first_line
from kdbench.tables import Data

Images = tuple[np.ndarray, np.ndarray]  # (N, C, H, W) uint8 pixels and (N,) int64 labels
OnRows = Callable[[int], None]  # rows decoded so far, of both parts
Sample = tuple[str, bytes | Path, int]  # an encoded image and its label, after its name for messages


@dataclass(frozen=True)
class Table:
    """The rows of one Parquet file, or of one part on the hub.

    Attributes:
        name: for messages.
        features: the columns, as the `datasets` library has them.
        rows: images (a struct of `bytes` and `path`, bytes, or the path of a downloaded file) and labels.
    """

    name: str
    features: dict[str, Any]
    rows: Iterable[tuple[Any, Any]]


def read_source(data: Data, on_rows: OnRows = lambda rows: None) -> list[Images]:
    """The images of a suite: one pool that is still to be split, or its train and test parts.

    Raises:
        KdbenchError: unknown source; files that are missing, truncated or of another layout than the suite says.
    """
    if data.source in POOLS:
        return [POOLS[data.source]()]
    parts: list[Images] = []
    for samples, size in zip(read_samples(data), (data.train, data.test), strict=True):
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
    return [path for split in splits(data) for path in local_files(data, split)]


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
    """The images of the train and test parts, still encoded.

    Raises:
        KdbenchError: unknown source; files that are missing; columns or labels other than the suite says.
    """
    if data.is_folder:
        return [
            [(str(path), path, label) for path, label in zip(part.paths, part.labels.tolist(), strict=True)]
            for part in list_parts(data)
        ]
    check_known(data)
    read = local_tables if data_dir() else hub_tables
    parts = [read(data, split) for split in splits(data)]
    classes = class_names(parts[0][0], data)
    numbers = [[class_numbers(table, classes, data) for table in part] for part in parts]  # all, before any is decoded
    return [table_samples(part, of) for part, of in zip(parts, numbers, strict=True)]


def splits(data: Data) -> tuple[str, str]:
    """The names of the train and test parts of Parquet files."""
    return data.splits or ("train", "test")


def columns(data: Data) -> tuple[str, str]:
    """The names of the images' and labels' columns."""
    return data.columns or ("image", "label")


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


def local_tables(data: Data, split: str) -> list[Table]:
    """The files of a local copy.

    Raises:
        KdbenchError: one that is no Parquet file, or lacks a column.
    """
    import datasets
    from pyarrow import parquet

    tables = []
    for path in local_files(data, split):
        try:
            file = parquet.ParquetFile(path)
            features = datasets.Features.from_arrow_schema(file.schema_arrow)
        except Exception as error:  # whatever a damaged file makes pyarrow or datasets say
            raise KdbenchError(f"Cannot read {path} (--data-dir): {first_line(error)}.") from error
        check_columns(features, data, str(path))
        tables.append(Table(str(path), features, file_rows(file, path, data)))
    return tables


def file_rows(file: Any, path: Path, data: Data) -> Iterator[tuple[Any, Any]]:
    """The two columns of a Parquet file, a few rows in memory at a time."""
    names = columns(data)
    try:
        for batch in file.iter_batches(batch_size=256, columns=list(names)):
            yield from zip(*(batch.column(name).to_pylist() for name in names), strict=True)
    except Exception as error:  # as above
        raise KdbenchError(f"Cannot read {path} (--data-dir): {first_line(error)}.") from error


def hub_tables(data: Data, split: str) -> list[Table]:
    """One part of a data set on the hub, downloaded once into the cache of the `datasets` library.

    Raises:
        KdbenchError: it cannot be downloaded, or lacks a column.
    """
    import datasets

    image, label = columns(data)
    name = f"{data.source} ({split})"
    try:
        found = datasets.load_dataset(data.source, split=split)
    except Exception as error:
        raise KdbenchError(
            f"Cannot download '{data.source}': {first_line(error)}. Without network, name a folder that holds its "
            "Parquet files with --data-dir or KDBENCH_DATA."
        ) from error
    check_columns(found.features, data, name)
    rows = found.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    encoded = ((row[image]["bytes"] or Path(row[image]["path"]), row[label]) for row in rows)
    return [Table(name, found.features, encoded)]


def check_columns(found: Iterable[str], data: Data, name: str) -> None:
    """The suite's columns are there.

    Raises:
        KdbenchError: one is not.
    """
    for column in columns(data):
        if column not in found:
            raise KdbenchError(f"There is no column '{column}' in {name} (data.columns).{did_you_mean(column, found)}")


def class_names(table: Table, data: Data) -> list[str] | None:
    """The names behind the labels of a table; None where these are plain integers.

    Raises:
        KdbenchError: labels of another type.
    """
    column = columns(data)[1]
    feature = table.features[column]
    if (names := getattr(feature, "names", None)) is not None:
        return list(names)
    kind = str(getattr(feature, "dtype", type(feature).__name__))
    if not kind.startswith(("int", "uint")):
        raise KdbenchError(
            f"Column '{column}' of {table.name} holds {kind}, but labels are integers from 0 on, or ClassLabel "
            "(data.columns)."
        )
    return None


def class_numbers(table: Table, classes: list[str] | None, data: Data) -> dict[int, int]:
    """The class of each label that a table may hold; names are numbered as train has them.

    Raises:
        KdbenchError: names that train does not have; names in one table and plain integers in another.
    """
    names = class_names(table, data)
    if (names is None) != (classes is None):
        one, other = ("plain integers", "names") if names is None else ("names", "plain integers")
        raise KdbenchError(
            f"Labels of {table.name} are {one}, but those of the train part's first file are {other}: whether they "
            "mean the same is not known. Write both alike."
        )
    if names is None or classes is None:
        return {label: label for label in range(data.num_classes)}
    if strange := [name for name in names if name not in classes]:
        raise KdbenchError(
            f"Labels of {table.name} have the names {', '.join(strange)}, which the train part's do not have. Give "
            "each class the same name in both."
        )
    return {label: classes.index(name) for label, name in enumerate(names)}


def table_samples(tables: Iterable[Table], numbers: Iterable[dict[int, int]]) -> Iterator[Sample]:
    """The rows of one part's tables.

    Raises:
        KdbenchError: a row without an image of its own, or with a label that is no class.
    """
    for table, classes in zip(tables, numbers, strict=True):
        for number, (image, label) in enumerate(table.rows):
            name = f"{table.name} row {number}"
            content = image.get("bytes") if isinstance(image, dict) else image
            if not isinstance(content, bytes | Path):
                raise KdbenchError(f"{name} holds no encoded image. Files that a row names are not opened.")
            if label not in classes:
                raise KdbenchError(f"{name} has the label {label}, but classes are 0 to {len(classes) - 1}.")
            yield name, content, classes[label]


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
