r"""`results/WITHDRAWN.md`: rows that were accepted once and are no longer, or not with the same records, and why.

A Markdown table, a line a row:  | date | suite | row | version | protocol | status | reason |
`version` is the method's, `protocol` the first 12 digits of the fingerprint; `status` is "withdrawn" (the row is not in
`results/` any more) or "superseded" (other records stand in its place). A bar within a cell is written `\|`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal, cast

from kdbench.errors import KdbenchError, writing
from kdbench.files import read_plain
from kdbench.records.record import Record
from kdbench.records.values import possible_day
from kdbench.tables import NAME

FILE = "WITHDRAWN.md"
MAX_FILE = 2**24  # bytes
HEAD = ["date", "suite", "row", "version", "protocol", "status", "reason"]
INTRODUCTION = (
    "# Withdrawn and superseded rows\n\nNothing disappears: rows that left the board, or whose records were replaced, "
    "with the reason.\nTheir records are in the history of this repository.\n\n"
)
Place = tuple[str, str, int, str]  # suite, row, method version, protocol


@dataclass(frozen=True)
class Withdrawn:
    """One line of the file."""

    date: str
    suite: str
    row: str
    version: int
    protocol: str
    status: Literal["withdrawn", "superseded"]
    reason: str

    @property
    def place(self) -> Place:
        return self.suite, self.row, self.version, self.protocol


def place_of(record: Record) -> Place:
    """The row that a record belongs to."""
    return record.suite, record.row, record.method.version, record.fingerprint[:12]


def read_withdrawn(path: Path) -> Iterator[tuple[int, Withdrawn | KdbenchError]]:
    """Each line of the table with its number, or what is wrong with it; nothing where there is no file."""
    try:
        lines = read_plain(path, MAX_FILE).decode().split("\n")
    except FileNotFoundError:
        return
    except UnicodeDecodeError as error:
        yield 1, KdbenchError(f"{path} cannot be read: {error}")
        return
    except KdbenchError as error:
        yield 1, error
        return
    table = [(n, cells(line)) for n, line in enumerate(lines, start=1) if line.startswith("|")]
    if [row for _, row in table[:2]] != [HEAD, ["---"] * len(HEAD)]:
        yield 1, KdbenchError(f"{path} has no table with the head | {' | '.join(HEAD)} |")
        return
    for n, row in table[2:]:
        try:
            yield n, parse(row)
        except ValueError as error:
            yield n, KdbenchError(str(error))


def cells(line: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def parse(row: list[str]) -> Withdrawn:
    """One line.

    Raises:
        ValueError: a cell that is missing or of another form.
    """
    if len(row) != len(HEAD):
        raise ValueError(f"the table has {len(HEAD)} columns, this line {len(row)}")
    day, suite, name, version, protocol, status, reason = row
    if date.fromisoformat(day).isoformat() != day or not possible_day(day):
        raise ValueError("date is none on which it can have been")
    if not re.fullmatch(NAME, suite) or not name:
        raise ValueError("suite or row is not a name")
    if not re.fullmatch(r"[1-9][0-9]{0,6}", version) or not re.fullmatch(r"[0-9a-f]{12}", protocol):
        raise ValueError("version is no number, or protocol not the first 12 digits of a fingerprint")
    if status not in ("withdrawn", "superseded") or not reason:
        raise ValueError("status is 'withdrawn' or 'superseded', with a reason")
    return Withdrawn(day, suite, name, int(version), protocol, cast(Literal["withdrawn", "superseded"], status), reason)


def add_superseded(path: Path, place: Place, reason: str) -> None:
    """Append a line for records that others replace.

    Raises:
        KdbenchError: the file cannot be written.
    """
    suite, row, version, protocol = place
    day = datetime.now(UTC).date().isoformat()
    values = [day, suite, row, str(version), protocol, "superseded", " ".join(reason.split())]
    with writing(path):
        if not path.exists():
            path.write_text(INTRODUCTION + line(HEAD) + line(["---"] * len(HEAD)), encoding="utf-8")
        with path.open("a", encoding="utf-8") as file:
            file.write(line(values))


def line(values: list[str]) -> str:
    return "| " + " | ".join(value.replace("|", "\\|") for value in values) + " |\n"
