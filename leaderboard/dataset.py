"""All cells as one table, `data/board.parquet`, for whoever wants to compute on; each column with its meaning."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdbench_leaderboard.page import Page, Site
from kdbench_leaderboard.read import Found

TEXT, WHOLE, REAL, MANY = pa.string(), pa.int64(), pa.float64(), pa.list_(pa.string())


@dataclass(frozen=True)
class Field:
    """One column of the file."""

    name: str
    kind: pa.DataType
    meaning: str
    of: Callable[[Found], Any]


def cost(name: str) -> Callable[[Found], Any]:
    return lambda cell: getattr(cell.record.cost, name, None)


def network(name: str) -> Callable[[Found], Any]:
    return lambda cell: getattr(cell.record.main, name) if cell.record.status == "done" else None


def metric(name: str) -> Callable[[Found], Any]:
    return lambda cell: cell.metrics.get(name)


FIELDS = [
    Field("suite", TEXT, "the suite's name", lambda c: c.record.suite),
    Field("fingerprint", TEXT, "hash of the protocol; compare only within one", lambda c: c.record.fingerprint),
    Field("off_protocol", MANY, "what was changed; empty for what is ranked", lambda c: c.record.off_protocol),
    Field("origin", TEXT, "accepted, or yours", lambda c: c.origin),
    Field("method", TEXT, "the method's name", lambda c: c.record.method.name),
    Field("row", TEXT, "the row on the board: the method, with the parameters of a variant", lambda c: c.record.row),
    Field("version", WHOLE, "the method's version; the newest counts", lambda c: c.record.method.version),
    Field("scheme", TEXT, "offline, online, self or baseline", lambda c: c.record.method.scheme),
    Field("knowledge", MANY, "response, feature, relation", lambda c: list(c.record.method.knowledge)),
    Field("families", MANY, "data_free, multi_teacher and so on", lambda c: list(c.record.method.families)),
    Field("teacher", TEXT, "name in the suite; null for a method that reads none", lambda c: c.record.teacher),
    Field("student", TEXT, "name in the suite", lambda c: c.record.student),
    Field("seed", WHOLE, "seed of the cell", lambda c: c.record.seed),
    Field("status", TEXT, "done, or not_applicable", lambda c: c.record.status),
    Field("top1", REAL, "top-1 test accuracy after the last epoch, percent", metric("top1")),
    Field("average", REAL, "with tasks, average incremental accuracy, percent", metric("average")),
    Field("forgetting", REAL, "with tasks, what accuracy was lost by the end, percentage points", metric("forgetting")),
    Field("top5", REAL, "top-5, percent; null with at most ten classes", metric("top5")),
    Field("nll", REAL, "negative log-likelihood, nats", metric("nll")),
    Field("ece", REAL, "expected calibration error, percent", metric("ece")),
    Field("parameters", WHOLE, "of the deployed student", network("parameters")),
    Field("macs", WHOLE, "multiply-accumulates of one image", network("macs")),
    Field("train_seconds", REAL, "wall time of the training, beside other cells", cost("train_seconds")),
    Field("flops", REAL, "floating-point operations of the training, all networks", cost("flops")),
    Field("params_source", TEXT, "where the parameters come from", lambda c: c.record.params_source),
    Field("finished", TEXT, "when the training ended", lambda c: c.record.finished),
    Field("key", TEXT, "hash of all that the result depends on", lambda c: c.record.key),
    Field("verified", WHOLE, "level of verification, 0 to 3", lambda c: c.level),
]  # fmt: skip


def dataset_pages(site: Site) -> Iterator[Page]:
    """The file and the page that explains it."""
    yield "data/board.parquet", parquet(site)
    yield site.page("data.html", "data.html", "All data", "data", has_tables=False, fields=FIELDS)


def parquet(site: Site) -> bytes:
    """Every cell, in the order of suites, rows and seeds."""
    cells = sorted(site.store.cells, key=lambda c: (c.record.suite, c.record.row, c.record.key, c.origin))
    columns = {field.name: pa.array([field.of(cell) for cell in cells], field.kind) for field in FIELDS}
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()
