"""The reader of folders from strangers: plain files alone, no larger than records need, as kdbench writes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.records.columns import MAX_VALUES
from kdbench.records.curves import Curve, read_curves
from kdbench.records.distilled import read_distilled
from kdbench.records.evidence import Evidence, read_evidence
from kdbench.records.reader import Line, Reader
from kdbench.records.record import Record
from kdbench.records.store import other_key

MAX_LINE = 2**20  # bytes of a record
MAX_EPOCHS = 10_000


class Guarded(Reader):
    """Opens files from strangers: no more than records can need, each line as kdbench writes it."""

    def __init__(self, images: int = 0):
        self.images = images

    def load(self, path: Path) -> bytes:
        try:
            return super().load(path)
        except FileNotFoundError as error:
            raise KdbenchError(f"{path}: it is missing") from error

    def parse(self, parse: Callable[[bytes, str], Line], text: bytes, where: str) -> Line:
        if len(text) > MAX_LINE:
            raise KdbenchError(f"{where}: it is {len(text)} bytes long, a record has at most {MAX_LINE}")
        value = parse(text, where)
        if value.model_dump_json(exclude={"curve"}).encode() != text:
            what = "it is not as kdbench writes it (repeated keys, spaces, a curve). Submit it again"
            raise KdbenchError(f"{where}: {what}")
        return value

    def evidence(self, path: Path, records: Sequence[Record]) -> dict[str, Evidence]:
        keys = len(keys_of(records))
        return read_evidence(path, 2 * keys * (4 * self.images + 1)) if os.path.lexists(path) else {}

    def curves(self, path: Path, records: Sequence[Record]) -> dict[str, Curve]:
        return read_curves(path, min(MAX_VALUES, len(records) * MAX_EPOCHS * 100))

    def distilled(self, path: Path, records: Sequence[Record]) -> dict[str, np.ndarray]:
        return read_distilled(path) if os.path.lexists(path) else super().distilled(path, records)


def keys_of(records: Iterable[Record]) -> set[str]:
    """The keys that evidence may have."""
    return {r.key for r in records} | {other_key(r.key, network.role) for r in records for network in r.others}
