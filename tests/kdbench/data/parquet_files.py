"""A data set of a few pictures in Parquet files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from kdbench.tables import Data

DATA = Data(
    source="someone/pictures",
    columns=("img", "fine_label"),
    num_classes=3,
    image_size=(4, 5),
    channels=3,
    train=12,
    test=6,
    validation=3,
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
)
NAMES = ["ant", "bee", "cat"]
TEST = "test-00000-of-00001.parquet"


def pictures(rows: int, seed: int = 0, size: tuple[int, int] = (4, 5)) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (rows, *size, 3), dtype=np.uint8), np.arange(rows) % 3


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def write(path: Path, pixels: np.ndarray, labels: np.ndarray | pa.Array, names: Sequence[str] | None = None) -> None:
    """A Parquet file; with `names`, its labels are a ClassLabel column."""
    table = pa.table({"img": [{"bytes": png(image), "path": None} for image in pixels], "fine_label": labels})
    if names is not None:
        features = datasets.Features({"img": datasets.Image(), "fine_label": datasets.ClassLabel(names=list(names))})
        table = table.cast(features.arrow_schema)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
