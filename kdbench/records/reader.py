"""The one reader of a folder of `results/`: each record with its evidence, each problem with its file and line.

What a problem costs is the caller's affair: `read_results` raises the first, the site leaves out that record, the gate
lists all and opens the files through a `Reader` with limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.files import read_plain
from kdbench.hashing import digest
from kdbench.layout import TEACHERS
from kdbench.records.columns import MAX_FILE
from kdbench.records.curves import Curve, read_curves
from kdbench.records.distilled import checked_images, read_distilled
from kdbench.records.evidence import Evidence, read_evidence
from kdbench.records.parts import Part
from kdbench.records.record import Record, parse_record
from kdbench.records.store import CURVES, DISTILLED, EVIDENCE, RECORDS, Entry, checked, checked_others
from kdbench.suites import SUITES

Line = TypeVar("Line", bound=Part)


@dataclass(frozen=True)
class Problem:
    """What cannot be read; `where` is a file, or file:line."""

    where: str
    error: KdbenchError

    @property
    def what(self) -> str:
        """The message without the place that it begins with."""
        return str(self.error).removeprefix(self.where).strip(" :")


@dataclass(frozen=True)
class Contents:
    """A folder as it lies there, the evidence not yet held against its hashes.

    Attributes:
        records: with file and line.
        evidence: by the keys of records and of their further networks.
        images: distilled data, by the hash that they are kept under.
        bad_lines, bad_files: what could not be read of `records.jsonl`, and beside it.
    """

    folder: Path
    records: list[tuple[str, Record]]
    evidence: dict[str, Evidence]
    curves: dict[str, Curve]
    bad_lines: list[Problem]
    bad_files: list[Problem]
    images: dict[str, np.ndarray] = field(default_factory=dict)

    def entries(self) -> Iterator[Entry | Problem]:
        """Each problem, then each record with its evidence, and its curve where that is the record's."""
        yield from (*self.bad_lines, *self.bad_files)
        for where, record in self.records:
            try:
                yield self.entry(record)
            except KdbenchError as error:
                yield Problem(where, error)

    def entry(self, record: Record) -> Entry:
        """A record with its evidence.

        Raises:
            KdbenchError: the evidence or its distilled data are missing or do not match their hash.
        """
        curve = self.curves.get(record.key)
        if curve and digest(curve) == record.curve_sha256:
            record = record.model_copy(update={"curve": curve})
        if record.evidence_sha256 is None:
            return Entry(record, None, self.folder)
        evidence = checked(record, self.evidence, self.folder)
        others = checked_others(record, self.evidence, self.folder)
        return Entry(record, evidence, self.folder, others, self.images_of(record))

    def images_of(self, record: Record) -> np.ndarray | None:
        """The distilled data of a record; None for a student that learned from no such.

        Raises:
            KdbenchError: they are missing, or do not match their hash.
        """
        if record.distilled is None:
            return None
        sha256 = record.distilled.sha256
        return checked_images(self.images, sha256, sha256, self.folder / DISTILLED)


class Reader:
    """Opens the files of a folder. Each of the first five methods may be narrowed by a caller that trusts nobody."""

    def load(self, path: Path) -> bytes:
        return read_plain(path, MAX_FILE)

    def parse(self, parse: Callable[[bytes, str], Line], text: bytes, where: str) -> Line:
        return parse(text, where)

    def evidence(self, path: Path, records: Sequence[Record]) -> dict[str, Evidence]:
        return read_evidence(path) if any(record.evidence_sha256 for record in records) else {}

    def curves(self, path: Path, records: Sequence[Record]) -> dict[str, Curve]:
        return read_curves(path)

    def distilled(self, path: Path, records: Sequence[Record]) -> dict[str, np.ndarray]:
        return read_distilled(path) if any(record.distilled for record in records) else {}

    def lines(self, path: Path, parse: Callable[[bytes, str], Line]) -> Iterator[tuple[str, Line] | Problem]:
        """What each line of a file says, with file and line; nothing where there is no file."""
        try:
            content = self.load(path)
        except FileNotFoundError:
            return
        except KdbenchError as error:
            yield Problem(str(path), error)
            return
        for n, text in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
            where = f"{path}:{n}"
            try:
                yield where, self.parse(parse, text, where)
            except KdbenchError as error:
                yield Problem(where, error)

    def contents(self, folder: Path, with_curves: bool = True) -> Contents:
        """All of a folder; empty where there are no records."""
        found = Contents(folder, [], {}, {}, [], [])
        for line in self.lines(folder / RECORDS, parse_record):
            found.bad_lines.append(line) if isinstance(line, Problem) else found.records.append(line)
        records = [record for _, record in found.records]
        try:
            found.evidence.update(self.evidence(folder / EVIDENCE, records))
        except KdbenchError as error:
            found.bad_files.append(Problem(str(folder / EVIDENCE), error))
        try:
            found.curves.update(self.curves(folder / CURVES, records) if with_curves else {})
        except KdbenchError as error:
            found.bad_files.append(Problem(str(folder / CURVES), error))
        try:
            found.images.update(self.distilled(folder / DISTILLED, records))
        except FileNotFoundError:
            problem = KdbenchError(f"{folder / DISTILLED}: it is missing")
            found.bad_files.append(Problem(str(folder / DISTILLED), problem))
        except KdbenchError as error:
            found.bad_files.append(Problem(str(folder / DISTILLED), error))
        return found


def read_results(folder: Path, with_curves: bool = False) -> list[Entry]:
    """The accepted records of one method (or of a suite's teachers), by default without curves; it may have none.

    Raises:
        KdbenchError: a line or the evidence is corrupt; names the file and line.
    """
    entries: list[Entry] = []
    for entry in Reader().contents(folder, with_curves).entries():
        if isinstance(entry, Problem):
            raise entry.error
        entries.append(entry)
    return entries


def is_shipped_teachers(path: Path) -> bool:
    """Whether a link leads to the teachers that ship with kdbench, here or in the checkout that holds the results."""
    suite = path.parent.name
    shipped = (SUITES, path.parent.parent.resolve().parent / "kdbench" / "suites")
    return path.name == TEACHERS and path.resolve() in {(root / suite / TEACHERS).resolve() for root in shipped}
