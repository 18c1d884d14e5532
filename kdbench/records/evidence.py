"""The evidence of a cell: what its network said of every test image. All metrics (`metrics`) follow from it.

Kept in half precision where it is a probability, *before* metrics are computed, so that they recompute exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.errors import KdbenchError, first_line
from kdbench.records.columns import MAX_VALUES, read_columns


@dataclass(frozen=True)
class Evidence:
    """One network on the I test images, in canonical order.

    Attributes:
        predicted: (I,) int16, the predicted class.
        rank: (I,) int16, the rank of the true class, 0 for the top.
        log_probability: (I,) float16, of the true class, in nats.
        top_probability: (I,) float16, of the predicted class.
    """

    predicted: np.ndarray
    rank: np.ndarray
    log_probability: np.ndarray
    top_probability: np.ndarray

    DTYPES = {"predicted": "<i2", "rank": "<i2", "log_probability": "<f2", "top_probability": "<f2"}

    def __post_init__(self) -> None:
        for name, dtype in self.DTYPES.items():
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=dtype))
        if {getattr(self, name).shape for name in self.DTYPES} != {(len(self.predicted),)}:
            raise ValueError("the four arrays differ in length")

    def sha256(self) -> str:
        """Hash of the four arrays."""
        digest = hashlib.sha256()
        for field in fields(self):
            digest.update(getattr(self, field.name).tobytes())
        return digest.hexdigest()


def evidence_from_logits(logits: np.ndarray, labels: np.ndarray) -> Evidence:
    """Evidence from (I, C) logits and (I,) labels. Ties go to the lower class, so that rank 0 means a correct top."""
    logits = logits.astype(np.float64)
    log_p = logits - logits.max(axis=1, keepdims=True)
    log_p -= np.log(np.exp(log_p).sum(axis=1, keepdims=True))
    true = np.take_along_axis(logits, labels[:, None], axis=1)
    before = np.arange(logits.shape[1])[None] < labels[:, None]
    rank = ((logits > true) | ((logits == true) & before)).sum(axis=1)
    return Evidence(
        predicted=logits.argmax(axis=1),
        rank=rank,
        log_probability=np.maximum(np.take_along_axis(log_p, labels[:, None], axis=1)[:, 0], np.finfo(np.float16).min),
        top_probability=np.exp(log_p.max(axis=1)),
    )


def agreement(one: Evidence, other: Evidence) -> float:
    """On how many test images two networks predict the same class, in percent."""
    return float(100 * np.mean(one.predicted == other.predicted))


def write_evidence(path: Path, cells: Mapping[str, Evidence]) -> None:
    """Write the evidence of cells, by key, as Parquet: a row a cell, a list column an array."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    keys = sorted(cells)
    columns: dict[str, pa.Array] = {"key": pa.array(keys, pa.string())}
    for name in Evidence.DTYPES:
        values = np.concatenate([np.empty(0, Evidence.DTYPES[name]), *(getattr(cells[key], name) for key in keys)])
        offsets = np.cumsum([0, *(len(getattr(cells[key], name)) for key in keys)], dtype=np.int32)
        columns[name] = pa.ListArray.from_arrays(pa.array(offsets), pa.array(values))
    pq.write_table(pa.table(columns), path, compression="zstd")


def numbers(array: Any, dtype: str) -> np.ndarray:
    """The numbers of an Arrow array, as `to_numpy` would give them, which imports pandas.

    Raises:
        ValueError: one is missing.
    """
    if array.null_count:
        raise ValueError("a value is missing")
    offset = array.offset * np.dtype(dtype).itemsize
    content = array.buffers()[1]
    return np.frombuffer(content, dtype, len(array), offset) if len(array) else np.empty(0, dtype)


def read_evidence(path: Path, most: int = MAX_VALUES) -> dict[str, Evidence]:
    """Read the evidence of cells, by key.

    Args:
        most: values that the file may hold.

    Raises:
        KdbenchError: the file is missing, no Parquet, larger than it may be or has other columns.
    """
    import pyarrow as pa

    lists = {name: pa.list_(pa.from_numpy_dtype(np.dtype(dtype))) for name, dtype in Evidence.DTYPES.items()}
    try:
        table = read_columns(path, {"key": pa.string(), **lists}, most)
        columns = {name: table[name].combine_chunks() for name in Evidence.DTYPES}
        if any(column.values.null_count for column in columns.values()):
            raise ValueError("a value is missing")
        arrays = {
            name: np.split(numbers(column.flatten(), Evidence.DTYPES[name]), numbers(column.offsets, "<i4")[1:-1])
            for name, column in columns.items()
        }
        keys = table["key"].to_pylist()
        return {key: Evidence(**{name: arrays[name][i] for name in arrays}) for i, key in enumerate(keys)}
    except FileNotFoundError as error:
        raise KdbenchError(f"Evidence file {path} cannot be read: it is missing.") from error
    except (pa.ArrowException, MemoryError, TypeError, ValueError) as error:
        raise KdbenchError(f"Evidence file {path} cannot be read: {first_line(error)}.") from error
