"""What was verified of a record, and where: `verified.jsonl` in the folder of its method, a line a record.

Level 1: its metrics follow from its evidence; 2: its first epoch was trained again; 3: its cell was trained again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from kdbench.errors import KdbenchError, first_problem, writing
from kdbench.records.parts import GrownPart, Hash
from kdbench.records.reader import Problem, Reader
from kdbench.records.store import VERIFIED
from kdbench.records.values import Line


class Verification(GrownPart):
    """The highest level that a record has reached.

    Attributes:
        by: who verified it, as they said: the address of the board's run, say.
        key, record_sha256: of the record; it says nothing of another record of the same cell.
        outcome: in what way the record held.
        date: of UTC, ISO 8601.
        environment: where it was verified; no host, user or path names.
    """

    LATER = frozenset({"by"})
    key: Hash
    record_sha256: Hash
    level: Literal[1, 2, 3]
    outcome: str = Field(max_length=300)
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    environment: dict[Line, Line]
    by: Line | None = None


def parse_verification(text: str | bytes, where: str) -> Verification:
    """Read one line.

    Raises:
        KdbenchError: names `where` and the first problem.
    """
    try:
        return Verification.model_validate_json(text)
    except ValidationError as error:
        raise KdbenchError(f"{where} is no valid verification: {first_problem(error)}.") from error


def read_verified(folder: Path) -> list[Verification]:
    """All lines of a method's folder; none where there is no file.

    Raises:
        KdbenchError: a line is broken; names the file and line.
    """
    found: list[Verification] = []
    for line in Reader().lines(folder / VERIFIED, parse_verification):
        if isinstance(line, Problem):
            raise line.error
        found.append(line[1])
    return found


def write_verified(folder: Path, found: Iterable[Verification]) -> None:
    """Write the lines of a method's folder, in the order of their keys; no file where there are none."""
    path = folder / VERIFIED
    text = "".join(v.model_dump_json() + "\n" for v in sorted(found, key=lambda v: v.key))
    with writing(path, remedy=""):
        path.write_text(text, encoding="utf-8") if text else path.unlink(missing_ok=True)


def add_verified(folder: Path, new: Iterable[Verification]) -> None:
    """Keep the highest level of each record; a later verification of the same level replaces the earlier."""
    found = {v.key: v for v in read_verified(folder)}
    for v in new:
        old = found.get(v.key)
        if old is None or old.record_sha256 != v.record_sha256 or old.level <= v.level:
            found[v.key] = v
    write_verified(folder, found.values())
