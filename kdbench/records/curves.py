"""Curves of accepted records: one file a method, beside `records.jsonl`, which leaves them out.

A record holds the hash of its curve; a curve is a list a quantity (loss terms, `loss`, `test_top1`), a value an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kdbench.errors import KdbenchError
from kdbench.records.columns import MAX_VALUES, read_columns
from kdbench.records.values import LARGEST

Curve = dict[str, list[float]]
COLUMNS = ("key", "quantity", "values")


def write_curves(path: Path, curves: Mapping[str, Curve]) -> None:
    """Write the curves of cells, by key, as Parquet: a row for each key and quantity."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [(key, name, values) for key in sorted(curves) for name, values in curves[key].items()]
    types = (pa.string(), pa.string(), pa.list_(pa.float64()))
    columns = zip(*rows, strict=True) if rows else ([], [], [])
    arrays = [pa.array(list(column), kind) for column, kind in zip(columns, types, strict=True)]
    pq.write_table(pa.table(dict(zip(COLUMNS, arrays, strict=True))), path, compression="zstd")


def read_curves(path: Path, most: int = MAX_VALUES) -> dict[str, Curve]:
    """Read the curves of cells, by key; none where there is no file.

    Args:
        most: values that the file may hold.

    Raises:
        KdbenchError: no Parquet, larger than it may be, other columns, or a value that no loss has.
    """
    import pyarrow as pa

    try:
        text = pa.string()
        table = read_columns(path, dict(zip(COLUMNS, (text, text, pa.list_(pa.float64())), strict=True)), most)
    except FileNotFoundError:
        return {}
    found: dict[str, Curve] = {}
    for key, name, values in zip(*(table.column(c).to_pylist() for c in COLUMNS), strict=True):
        if not all(value is not None and abs(value) <= LARGEST for value in values):
            raise KdbenchError(f"{path} cannot be read: '{name:.60}' of key {key[:16]} is not finite.")
        found.setdefault(key, {})[name] = values
    return found
