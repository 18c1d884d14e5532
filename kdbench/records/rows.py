"""Rows of the board: the records that stand for a method on a suite, and what is missing. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from kdbench.console import Notice
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.layout import RESERVED
from kdbench.records.evidence import Evidence
from kdbench.records.reader import read_results
from kdbench.records.record import Record
from kdbench.records.store import Entry, read_runs
from kdbench.suite import NAME, Pair, Suite

Origin = Literal["accepted", "yours"]


@dataclass
class Row:
    """A method (with its variant's parameters, if it is one) on a suite, from one origin.

    Attributes:
        found: by teacher (None for a method that reads none), student and seed; one protocol, one method version.
    """

    suite: Suite
    name: str
    origin: Origin
    version: int
    found: dict[tuple[str | None, str, int], Entry] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return self.name if self.origin == "accepted" else f"{self.name} (yours)"

    def entry(self, pair: Pair, seed: int) -> Entry | None:
        """The record of a pair and seed; a method without a teacher stands under every pair of its student."""
        return self.found.get((pair.teacher, pair.student, seed)) or self.found.get((None, pair.student, seed))

    def gaps(self) -> list[str]:
        """What keeps the row from being ranked: each pair and seed without a result, in a few words."""
        gaps: list[str] = []
        for pair in self.suite.pairs:
            for seed in range(self.suite.seeds):
                entry = self.entry(pair, seed)
                if entry is None:
                    gaps.append(f"{pair} seed {seed}")
                elif entry.evidence is None:
                    gaps.append(f"{pair} (not applicable: {entry.record.reason})")
                    break
        return gaps

    def values(self, of: Callable[[Evidence], np.ndarray | float]) -> np.ndarray:
        """(P, S, ...) of a complete row: what `of` says of each pair and seed's evidence."""
        entries = [[self.entry(pair, seed) for seed in range(self.suite.seeds)] for pair in self.suite.pairs]
        return np.array([[of(e.evidence) for e in seeds if e and e.evidence] for seeds in entries])


def with_recorded_content(suite: Suite, methods: Iterable[str], runs: Path, results: Path | None) -> Suite:
    """The suite bound to the data of the latest record of these methods, where it does not state its data itself."""
    entries = [
        entry for method in methods for part in read_entries(suite, method, runs, results, silent) for entry in part
    ]
    found = [e.record for e in entries if ranked(e.record, e.record.fingerprint) and suite.states(e.record.protocol)]
    return suite.bound_to(max(found, key=lambda record: record.finished).protocol) if found else suite


def silent(text: str) -> None:
    """No notice: the same records are read, and spoken of, again."""


def read_entries(
    suite: Suite, method: str, runs: Path, results: Path | None, notice: Notice
) -> tuple[list[Entry], list[Entry]]:
    """The accepted records of a method, and yours; corrupt ones are left out, and `notice` is told."""
    accepted: list[Entry] = []
    try:
        accepted = read_results(results / suite.name / method) if results else []
    except KdbenchError as error:
        notice(f"{error} The accepted records of {method} are left out.")
    mine: list[Entry] = []
    for entry in read_runs(runs, suite.name, method):
        if isinstance(entry, KdbenchError):
            notice(str(entry))
        else:
            mine.append(entry)
    return accepted, mine


def read_rows(suite: Suite, method: str, runs: Path, results: Path | None, notice: Notice) -> list[Row]:
    """The rows of a method that have any record of the suite's protocol, accepted ones first.

    Records of another protocol or other data are left out, and a corrupt one is too; `notice` is told.
    """
    accepted, mine = read_entries(suite, method, runs, results, notice)
    fingerprint = suite.fingerprint
    others = sum(not ranked(e.record, fingerprint) for e in (*accepted, *mine))
    if others:
        notice(f"{method}: {others} records of another protocol or other data than {fingerprint[:12]} are left out.")
    return [*group(suite, accepted, "accepted", fingerprint), *group(suite, mine, "yours", fingerprint)]


def ranked(record: Record, fingerprint: str) -> bool:
    return record.kind == "cell" and record.fingerprint == fingerprint and not record.off_protocol


def group(suite: Suite, entries: Iterable[Entry], origin: Origin, fingerprint: str) -> list[Row]:
    """Entries as rows; of several versions of a method the newest counts, of several records of a place the latest."""
    rows: dict[str, Row] = {}
    for entry in sorted(entries, key=lambda e: (e.record.method.version, e.record.finished)):
        record = entry.record
        if not ranked(record, fingerprint):
            continue
        row = rows.get(record.row)
        if row is None or row.version < record.method.version:
            row = rows[record.row] = Row(suite, record.row, origin, record.method.version)
        row.found[record.teacher, record.student, record.seed] = entry
    return list(rows.values())


def find_row(suite: Suite, name: str, runs: Path, results: Path | None, notice: Notice) -> Row:
    """The row of this name: the accepted one, or yours where it is more complete or of a newer version.

    Raises:
        KdbenchError: no record of it.
    """
    method = name.partition("[")[0]
    known = {path.name for root in (runs, results) if root for path in (root / suite.name).glob("*") if path.is_dir()}
    known = {name for name in known if re.fullmatch(NAME, name)} - RESERVED
    if method not in known:
        raise KdbenchError(
            f"No records of method '{method}' on suite '{suite.name}'.{did_you_mean(method, known)} "
            f"Run: kdbench run --method {method} --suite {suite.name}"
        )
    rows = read_rows(suite, method, runs, results, notice)
    named = [row for row in rows if row.name == name]
    if not named:
        raise KdbenchError(
            f"No records of '{name}' on suite '{suite.name}'.{did_you_mean(name, {row.name for row in rows})}"
        )
    return min(named, key=lambda row: (-row.version, len(row.gaps()), row.origin == "yours"))
