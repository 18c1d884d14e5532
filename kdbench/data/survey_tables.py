"""A look at tables of encoded images: Parquet files, or a data set of the Hugging Face hub."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from kdbench.data.images import open_image
from kdbench.data.parquet import class_names, hub_tables, local_tables, table_samples
from kdbench.data.sources import OnRows
from kdbench.data.survey import SAMPLED, TEST, TRAIN, Survey, is_without_colour
from kdbench.errors import KdbenchError, first_line
from kdbench.tables import Data

SHARD = re.compile(r"(.+?)-\d+(?:-of-\d+)?")  # of a part's files
LABELS = ("label", "labels", "fine_label", "class", "target", "y")


def survey_parquet(path: Path, on_rows: OnRows = lambda rows: None) -> Survey:
    """A Parquet file, or a folder that holds those of a train and a test part.

    Raises:
        KdbenchError: no columns of images and labels, or a row that cannot be used.
    """
    from pyarrow import parquet

    path = path.resolve()
    files = [path] if path.is_file() else sorted(path.rglob("*.parquet"))
    folder = path.parent if path.is_file() else path
    names = sorted({part_name(file, folder) for file in files})
    try:
        import datasets

        features = datasets.Features.from_arrow_schema(parquet.read_schema(files[0]))
    except Exception as error:  # whatever a damaged file makes pyarrow or datasets say
        raise KdbenchError(f"Cannot read {files[0]}: {first_line(error)}.") from error
    with reading_from(folder):
        return survey_tables(f"local/{folder.name or 'data'}", folder, None, names, features, str(files[0]), on_rows)


@contextmanager
def reading_from(folder: Path | None) -> Iterator[None]:
    """Let data be read from a folder, or from the hub, whatever the user named."""
    before = os.environ.pop("KDBENCH_DATA", None)
    try:
        if folder is not None:
            os.environ["KDBENCH_DATA"] = str(folder)
        yield
    finally:
        os.environ.pop("KDBENCH_DATA", None)
        if before is not None:
            os.environ["KDBENCH_DATA"] = before


def part_name(file: Path, folder: Path) -> str:
    """The part that a Parquet file is of: by its name, or by its folder's."""
    if shard := SHARD.fullmatch(file.stem):
        return shard[1]
    return file.parent.name if file.stem.isdigit() and file.parent != folder else file.stem


def survey_hub(source: str, config: str | None, on_rows: OnRows = lambda rows: None) -> Survey:
    """A data set of the hub, downloaded for it.

    Raises:
        KdbenchError: it cannot be had, has several configurations and none is named, or as `survey_parquet`.
    """
    import datasets

    try:
        configs = datasets.get_dataset_config_names(source)
        if config is None and len(configs) > 1:
            raise KdbenchError(f"'{source}' has the configurations {', '.join(configs)}. Choose one: --config NAME.")
        names = datasets.get_dataset_split_names(source, config or configs[0])
        features = datasets.load_dataset(source, config, split=names[0]).features
    except KdbenchError:
        raise
    except Exception as error:
        raise KdbenchError(f"Cannot download '{source}': {first_line(error)}.") from error
    with reading_from(None):
        return survey_tables(source, None, config, names, features, source, on_rows)


def survey_tables(
    source: str,
    folder: Path | None,
    config: str | None,
    names: Sequence[str],
    features: Mapping[str, Any],
    where: str,
    on_rows: OnRows,
) -> Survey:
    """Tables whose parts and columns are known.

    Args:
        names: of the parts.
        where: the columns are, for messages.
    """
    train = next((name for name in TRAIN if name in names), names[0])
    test = next((name for name in TEST if name in names and name != train), None)
    if test is None and len(names) > 1 and train not in TRAIN:
        raise KdbenchError(f"{where}: which of the parts {', '.join(names)} is for training is not known.")
    given: dict[str, object] = {"config": config} if config else {}
    given |= {"columns": list(columns_of(features, where))}
    given |= {"splits": [train, test or train]}
    given |= {} if test else {"split_seed": 0}
    data = stub(source, given)
    parts: list[Counter[str]] = []
    sizes: list[tuple[int, int]] = []
    kept: list[Image.Image] = []
    classes: list[str] = []
    grey = True
    for split in [train, test] if test else [train]:
        counts: Counter[str] = Counter()
        for image, label, numbered in rows(data, split):
            classes = classes or numbered
            counts[str(label)] += 1
            sizes.append((image.height, image.width))
            grey = grey and is_without_colour(image)
            if not parts and len(kept) < SAMPLED:
                kept.append(image)
            on_rows(len(sizes))
        parts.append(counts)
    number = max(int(label) for counts in parts for label in counts) + 1
    classes = classes or [str(label) for label in range(number)]
    named = [Counter({name: counts[str(i)] for i, name in enumerate(classes)}) for counts in parts]
    if len(classes) < 2:
        raise KdbenchError(f"{where} has one class. Distillation needs two or more.")
    unused = [name for name in names if name not in (train, test)]
    notes = [f"Further parts are not used: {', '.join(unused)}."] if unused else []
    return Survey(source, folder, given, classes, named, sizes, grey, notes=notes, sample=lambda: kept)


def columns_of(features: Mapping[str, Any], where: str) -> tuple[str, str]:
    """The columns of images and of labels.

    Raises:
        KdbenchError: none that could be, or several and none with a usual name.
    """
    import datasets

    def is_image(feature: Any) -> bool:
        struct = isinstance(feature, dict) and "bytes" in feature
        return isinstance(feature, datasets.Image) or struct or getattr(feature, "dtype", "") == "binary"

    images = [name for name, feature in features.items() if is_image(feature)]
    named = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    plain = [n for n, feature in features.items() if str(getattr(feature, "dtype", "")).startswith(("int", "uint"))]
    labels = [n for n in named if n in LABELS] or named or [n for n in plain if n in LABELS] or plain
    texts = [name for name in LABELS if name in features]
    labels = labels or texts  # of a type that is refused, with the row
    if not images or not labels or (len(labels) > 1 and labels[0] not in LABELS):
        what = "images" if not images else "labels"
        raise KdbenchError(f"{where} has the columns {', '.join(features)}: which one holds {what} is not known.")
    return images[0], labels[0]


def rows(data: Data, split: str) -> Iterator[tuple[Image.Image, int, list[str]]]:
    """The images and class numbers of a part, and the names of the classes, if they have some.

    Raises:
        KdbenchError: a row without an image, or one that cannot be read; a label that is no class number.
    """
    read = hub_tables if data.source.partition("/")[0] != "local" else local_tables
    for table in read(data, split):
        names = class_names(table, data, "C - 1")
        numbers = AnyLabel() if names is None else {label: label for label in range(len(names))}
        for name, content, label in table_samples([table], [numbers]):
            yield open_image(content, 3, name), label, names or []


class AnyLabel(dict[int, int]):
    """Every number from 0 on, as itself."""

    def __contains__(self, label: object) -> bool:
        return isinstance(label, int) and label >= 0

    def __missing__(self, label: int) -> int:
        return label


def stub(source: str, given: Mapping[str, object]) -> Data:
    """A suite's data as far as they are known before they are read."""
    numbers: dict[str, object] = dict(num_classes=2, image_size=(1, 1), channels=3, train=2, test=1, validation=1)
    unknown = {**numbers, "source": source, "mean": (0.5,), "std": (0.5,)}
    return Data.model_validate({**unknown, **{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}})
