"""Tables of encoded images and labels: Parquet files of the user's, or data sets of the Hugging Face hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kdbench.data.folders import data_dir, listed
from kdbench.errors import KdbenchError, did_you_mean, first_line
from kdbench.tables import Data

Sample = tuple[str, bytes | Path, int]  # an encoded image and its label, after its name for messages
CONVERTED = "default"  # configuration of the hub's own Parquet copies, where a data set has no others


@dataclass(frozen=True)
class Table:
    """The rows of one Parquet file, or of one part on the hub.

    Attributes:
        name: for messages.
        features: the columns, as the `datasets` library has them.
        rows: images (a struct of `bytes` and `path`, bytes, or the path of a downloaded file) and labels.
        first: the number of the first of these rows in the file.
    """

    name: str
    features: dict[str, Any]
    rows: Iterable[tuple[Any, Any]]
    first: int = 0


def table_parts(data: Data) -> list[Iterable[Sample]]:
    """The rows of the train and test parts, or of the one that is still to be split.

    Raises:
        KdbenchError: files that are missing or cannot be read; columns or labels other than the suite says.
    """
    read = local_tables if data_dir() else hub_tables
    parts = [read(data, split) for split in splits(data)]
    classes = class_names(parts[0][0], data)
    numbers = [[class_numbers(table, classes, data) for table in part] for part in parts]  # all, before any is decoded
    return [table_samples(part, of) for part, of in zip(parts, numbers, strict=True)]


def splits(data: Data) -> tuple[str, ...]:
    """The train and test parts of Parquet files, or the one that is still to be split, as the suite writes them."""
    found = data.splits or ("train", "test")
    return found if data.split_seed is None else found[:1]


def columns(data: Data) -> tuple[str, str]:
    """The names of the images' and labels' columns."""
    return data.columns or ("image", "label")


def local_files(data: Data, split: str) -> list[Path]:
    """The Parquet files of one part in the user's folder, which holds the data set or is it.

    A part is `train-*.parquet`, `train.parquet` or the files in a folder `train/`, wherever below; those of one folder,
    or below that of the data's configuration.

    Raises:
        KdbenchError: there are none, or those of several configurations.
    """
    folder, name = data_dir(), split.partition("[")[0]
    assert folder is not None
    owner, source = data.source.split("/", 1)
    patterns = (f"{name}-*.parquet", f"{name}.parquet", f"{name}/*.parquet")
    for place in (folder / owner / source, folder / source, folder):
        for pattern in patterns:
            if place == folder:  # which may hold other data sets too
                found = [*place.glob(pattern), *place.glob(f"{data.config or CONVERTED}/{pattern}")]
            else:
                found = list(place.rglob(pattern))
            if files := of_configuration(sorted(found), data, place):
                return files
    raise KdbenchError(
        f"No {patterns[0]} of '{data.source}' in {folder / source} or {folder} (--data-dir, KDBENCH_DATA), nor "
        f"{patterns[1]} or {patterns[2]}. Correct the folder, or leave it out to download."
    )


def of_configuration(files: Sequence[Path], data: Data, place: Path) -> list[Path]:
    """Of the files of one part those of the data's configuration.

    Raises:
        KdbenchError: they are of several, and the suite does not say which.
    """
    folders = sorted({path.parent for path in files})
    if data.config is not None:
        named = [path for path in files if data.config in path.relative_to(place).parts[:-1]]
        return named or (list(files) if len(folders) == 1 and place.name == data.config else [])
    if len(folders) > 1:
        folders = [folder for folder in folders if CONVERTED in folder.relative_to(place).parts] or folders
    if len(folders) > 1:
        names = listed([folder.relative_to(place).as_posix() for folder in folders])
        raise KdbenchError(f"{place} holds several configurations of the data ({names}). Say which: data.config = ...")
    return [path for path in files if path.parent in folders]


def local_tables(data: Data, split: str) -> list[Table]:
    """The files of a local copy, cut as the split says.

    Raises:
        KdbenchError: one that is no Parquet file, or lacks a column; a split that is none.
    """
    import datasets
    from pyarrow import parquet

    tables, counts = [], []
    for path in local_files(data, split):
        try:
            file = parquet.ParquetFile(path)
            features = datasets.Features.from_arrow_schema(file.schema_arrow)
        except Exception as error:  # whatever a damaged file makes pyarrow or datasets say
            raise KdbenchError(f"Cannot read {path} (--data-dir): {first_line(error)}.") from error
        check_columns(features, data, str(path))
        tables.append(Table(str(path), features, file_rows(file, path, data)))
        counts.append(file.metadata.num_rows)
    return cut_tables(tables, counts, split)


def cut_tables(tables: Sequence[Table], counts: Sequence[int], split: str) -> list[Table]:
    """The tables' rows that a split has, "train[:80%]" say, by the rules of the `datasets` library.

    Args:
        counts: rows of each.

    Raises:
        KdbenchError: the split is not of that form, or has no rows.
    """
    if "[" not in split:
        return list(tables)
    first, last = cut_rows(split, sum(counts))
    found, start = [], 0
    for table, count in zip(tables, counts, strict=True):
        begin, end = max(first - start, 0), min(last - start, count)
        if begin < end:
            found.append(Table(table.name, table.features, islice(table.rows, begin, end), begin))
        start += count
    return found


def cut_rows(split: str, rows: int) -> tuple[int, int]:
    """The first row of a split and the one after its last, of so many rows.

    Raises:
        KdbenchError: as `cut_tables`.
    """
    import datasets

    name = split.partition("[")[0]
    try:
        [cut] = datasets.ReadInstruction.from_spec(split).to_absolute({name: rows})
    except Exception as error:  # whatever the library says of what it does not know
        example = f'write "{name}[:80%]" or "{name}[100:200]"'
        raise KdbenchError(f"data.splits: '{split}' is no part of {rows} rows: {example}.") from error
    if not 0 <= cut.from_ < cut.to <= rows:
        raise KdbenchError(f"data.splits: '{split}' has no rows, of {rows}.")
    return cut.from_, cut.to


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
        found = datasets.load_dataset(data.source, data.config, split=split)
    except Exception as error:
        raise KdbenchError(
            f"Cannot download '{data.source}': {first_line(error)}. Without network, name a folder that holds its "
            "Parquet files with --data-dir or KDBENCH_DATA."
        ) from error
    check_columns(found.features, data, name)
    rows = found.select_columns([image, label]).cast_column(image, datasets.Image(decode=False))
    encoded = ((downloaded(row[image]), row[label]) for row in rows)
    return [Table(name, found.features, encoded)]


def downloaded(image: Any) -> bytes | Path | None:
    """An image of the hub: its bytes, or the file that was downloaded for it; None of a row without one."""
    if not isinstance(image, dict):
        return None
    return image["bytes"] or (Path(image["path"]) if image["path"] else None)


def check_columns(found: Iterable[str], data: Data, name: str) -> None:
    """The suite's columns are there.

    Raises:
        KdbenchError: one is not.
    """
    for column in columns(data):
        if column not in found:
            raise KdbenchError(f"There is no column '{column}' in {name} (data.columns).{did_you_mean(column, found)}")


def class_names(table: Table, data: Data, last: object = None) -> list[str] | None:
    """The names behind the labels of a table; None where these are plain integers.

    Args:
        last: the last class, for messages, if it is not known from the data.

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
            f"Column '{column}' of {table.name} holds {kind} ({odd_row(table)}); labels must be integers 0 to "
            f"{last or data.num_classes - 1}, or ClassLabel (data.columns)."
        )
    return None


def odd_row(table: Table) -> str:
    """The first row whose label is not even the text of an integer, or else the first."""
    first = ""
    for number, (_, label) in enumerate(table.rows, start=table.first):
        said = f"row {number} has {label!r:.40}"
        if not re.fullmatch(r"-?\d+", str(label)):
            return said
        first = first or said
    return first or "no rows"


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
        for number, (image, label) in enumerate(table.rows, start=table.first):
            name = f"{table.name} row {number}"
            content = image.get("bytes") if isinstance(image, dict) else image
            if image is None:
                raise KdbenchError(f"{name} has no image (null). Remove the row.")
            if not isinstance(content, bytes | Path):
                raise KdbenchError(f"{name} holds no encoded image. Files that a row names are not opened.")
            if label not in classes:
                raise KdbenchError(f"{name} has the label {label}, but classes are 0 to {len(classes) - 1}.")
            yield name, content, classes[label]
