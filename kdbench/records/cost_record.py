"""The record of `kdbench cost`: what a method's training step costs on one pair and one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from kdbench.errors import KdbenchError, first_problem
from kdbench.files import read_plain
from kdbench.hashing import digest
from kdbench.records.parts import Hash, MethodInfo, Name, Part
from kdbench.records.values import Count, Line, Table

MAX_COST = 2**20  # bytes


class StepCost(Part):
    """One network's training step.

    Attributes:
        milliseconds: of a step, the median over rounds.
        peak_memory: bytes on the GPU; None on a CPU.
        parameters: trainable ones, the method's own among them.
    """

    milliseconds: float = Field(gt=0, le=1e10)
    peak_memory: Count | None
    parameters: Count


class CostRecord(Part):
    """What a method costs on one pair and one machine.

    Attributes:
        fingerprint: of the suite's protocol.
        plain, method: the step of the plain student and of the method, with a live teacher where it reads one.
        steps: timed in each of the rounds.
        sha256: of this record without `sha256`.
    """

    schema_version: Literal[1] = 1
    kind: Literal["cost"] = "cost"
    suite: Name
    fingerprint: Hash
    pair: Line
    info: MethodInfo
    params: Table
    batch_size: int = Field(gt=0, le=10**9)
    precision: Line
    plain: StepCost
    method: StepCost
    rounds: Count
    steps: Count
    environment: dict[Line, Line]
    finished: Line
    sha256: str = ""

    def sealed(self) -> CostRecord:
        """The same record with its hash filled in."""
        return self.model_copy(update={"sha256": self.content_sha256()})

    def content_sha256(self) -> str:
        return digest(self.model_dump(mode="json", exclude={"sha256"}))


def file_name(record: CostRecord) -> str:
    """One file for each method, parameters, pair and machine; a later measurement replaces it."""
    place = {key: record.environment.get(key) for key in ("device", "cpu", "gpu", "execution")}
    about = [record.fingerprint, record.pair, record.info.name, record.info.version, record.params, place]
    return f"{record.info.name}-{digest(about)[:16]}.json"


def read_cost(path: Path) -> CostRecord:
    """Read one record's file.

    Raises:
        KdbenchError: no plain file, or no record; names the file and the first problem.
    """
    try:
        return parse_cost(read_plain(path, MAX_COST), str(path))
    except FileNotFoundError as error:
        raise KdbenchError(f"Cannot read {path}: {error.strerror}.") from error


def parse_cost(text: str | bytes, where: str) -> CostRecord:
    """Read one record and check its schema and hash.

    Raises:
        KdbenchError: names `where` and the first problem.
    """
    try:
        record = CostRecord.model_validate_json(text)
        intact = record.sha256 == record.content_sha256()
    except ValidationError as error:
        raise KdbenchError(f"{where} is no valid cost record: {first_problem(error)}.") from error
    except ValueError as error:
        raise KdbenchError(f"{where} is no valid cost record: {error}.") from error
    if not intact:
        raise KdbenchError(f"{where} is corrupt: its content does not match its hash.")
    return record
