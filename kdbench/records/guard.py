"""The reader of folders from strangers: plain files alone, no larger than records need, as kdbench writes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from kdbench.errors import KdbenchError
from kdbench.records.curves import Curve, read_curves
from kdbench.records.evidence import Evidence, read_evidence
from kdbench.records.reader import Line, Reader
from kdbench.records.record import Record
from kdbench.records.store import other_key

MAX_LINE = 2**20  # bytes of a record
MAX_FILE = 2**28
MAX_EPOCHS = 10_000
Columns = TypeVar("Columns", Evidence, Curve)


class Guarded(Reader):
    """Opens files from strangers: no links, no more than records can need, each line as kdbench writes it."""

    def __init__(self, images: int = 0):
        self.images = images

    def load(self, path: Path) -> bytes:
        if path.is_symlink() or not path.is_file():
            raise KdbenchError(f"{path}: it is missing, or no file")
        if path.stat().st_size > MAX_FILE:
            raise KdbenchError(f"{path}: it is over {MAX_FILE} bytes")
        return path.read_bytes()

    def parse(self, parse: Callable[[bytes, str], Line], text: bytes, where: str) -> Line:
        if len(text) > MAX_LINE:
            raise KdbenchError(f"{where}: it is {len(text)} bytes long, a record has at most {MAX_LINE}")
        value = parse(text, where)
        if value.model_dump_json(exclude={"curve"}).encode() != text:
            what = "it is not as kdbench writes it (repeated keys, spaces, a curve). Submit it again"
            raise KdbenchError(f"{where}: {what}")
        return value

    def evidence(self, path: Path, records: Sequence[Record]) -> dict[str, Evidence]:
        return read_bounded(path, len(keys_of(records)), self.images, read_evidence)

    def curves(self, path: Path, records: Sequence[Record]) -> dict[str, Curve]:
        return read_bounded(path, len(records), MAX_EPOCHS * 100, read_curves)


def keys_of(records: Iterable[Record]) -> set[str]:
    """The keys that evidence may have."""
    return {r.key for r in records} | {other_key(r.key, network.role) for r in records for network in r.others}


def read_bounded(path: Path, keys: int, most: int, read: Callable[[Path], dict[str, Columns]]) -> dict[str, Columns]:
    """A Parquet file, unless it is larger than its records can need: a small file can unfold to a huge one.

    Raises:
        KdbenchError: too large, a link, or no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.is_symlink():
        raise KdbenchError(f"{path} is a link.")
    if not path.exists():
        return {}
    try:
        about = pq.ParquetFile(path).metadata
        columns = [about.row_group(g).column(c) for g in range(about.num_row_groups) for c in range(about.num_columns)]
        values = max((column.num_values for column in columns), default=0)
        unfolded = sum(column.total_uncompressed_size for column in columns)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise KdbenchError(f"{path} cannot be read: {str(error).splitlines()[0]}.") from error
    if about.num_rows > 100 * keys or values > most * max(1, keys) or unfolded > MAX_FILE:
        raise KdbenchError(f"{path} is larger than its records can need.")
    return read(path)
