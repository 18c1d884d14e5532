"""Curves of accepted records: one file a method, beside `records.jsonl`, which leaves them out.

A record holds the hash of its curve; a curve is a list a quantity (loss terms, `loss`, `test_top1`), a value an epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kdbench.errors import KdbenchError

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


def read_curves(path: Path) -> dict[str, Curve]:
    """Read the curves of cells, by key; none where there is no file, as beside records of old.

    Raises:
        KdbenchError: no Parquet, or other columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return {}
    try:
        with pq.ParquetFile(path) as file:
            table = file.read(columns=list(COLUMNS))
        if table.column("values").type != pa.list_(pa.float64()):
            raise ValueError("column values is of another type")
        found: dict[str, Curve] = {}
        for key, name, values in zip(*(table.column(c).to_pylist() for c in COLUMNS), strict=True):
            found.setdefault(str(key), {})[str(name)] = list(values)
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise KdbenchError(f"Curves file {path} cannot be read: {str(error).splitlines()[0]}.") from error
    return found
