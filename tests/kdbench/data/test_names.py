"""The names of classes: of folders, of a ClassLabel column, of data that kdbench knows; none is no failure."""

from __future__ import annotations

from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdbench.data.names import class_names
from kdbench.data.small import data_folder
from kdbench.suites import load_suite
from kdbench.tables import Data

NUMBERS = dict(train=4, test=2, validation=2, channels=3, mean=(0.5,) * 3, std=(0.5,) * 3)
NAMES = ["<b>cat</b>", "../dog"]


def data(source: str, **given: object) -> Data:
    return Data.model_validate({**NUMBERS, "num_classes": 2, "image_size": (8, 8), "source": source, **given})


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's data, and a cache to which both data sets have been decoded."""
    monkeypatch.setenv("KDBENCH_DATA", str(tmp_path))
    monkeypatch.setenv("KDBENCH_CACHE", str(tmp_path / "cache"))
    for source in ("me/pictures", "imagefolder/photos"):
        data_folder(data(source)).mkdir(parents=True)
    return tmp_path


def write(place: Path, names: list[str] | None) -> None:
    """The train part of a data set in Parquet, of which only the columns' types are read."""
    kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=names) if names else datasets.Value("int64")}
    rows = {"image": [{"bytes": b"", "path": None}] * 4, "label": np.arange(4) % 2}
    (place / "pictures").mkdir(exist_ok=True)
    table = pa.table(rows).cast(datasets.Features(kinds).arrow_schema)
    pq.write_table(table, place / "pictures" / "train.parquet")


def test_a_column_names_them_and_they_are_kept_beside_the_decoded_images(place: Path) -> None:
    write(place, NAMES)
    assert class_names(data("me/pictures")) == NAMES
    (place / "pictures" / "train.parquet").unlink()
    assert class_names(data("me/pictures")) == NAMES


def test_plain_integers_have_no_names(place: Path) -> None:
    write(place, None)
    assert class_names(data("me/pictures")) is None


@pytest.mark.parametrize("size", [(8, 8), (224, 224)], ids=["small", "large"])
@pytest.mark.parametrize("split_seed", [None, 3])
def test_folders_name_them_in_the_order_of_their_labels(
    place: Path, size: tuple[int, int], split_seed: int | None
) -> None:
    for name in ("cat", "Ant"):
        (place / "photos" / ("train" if split_seed is None else "") / name).mkdir(parents=True)
    found = data("imagefolder/photos", image_size=size, split_seed=split_seed)
    data_folder(found).mkdir(exist_ok=True)
    assert class_names(found) == ["Ant", "cat"]


def test_data_that_are_not_here_have_none() -> None:
    assert class_names(data("me/pictures")) is None
    assert class_names(data("imagefolder/photos", image_size=(224, 224))) is None


@pytest.mark.parametrize("suite", ["digits", "cifar10", "cifar100", "cifar100-quarter", "fashion_mnist"])
def test_kdbench_knows_those_of_its_suites(suite: str) -> None:
    names = class_names(load_suite(suite).data)
    assert names is not None
    assert len(set(names)) == load_suite(suite).data.num_classes
