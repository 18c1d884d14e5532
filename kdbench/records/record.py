"""The record: one per cell, the only source of truth. Everything shown anywhere is derived from records.

A record is a JSON object, validated on reading and on writing; its evidence lies beside it (`evidence`).
Importing this module needs numpy and pydantic only.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ValidationError, model_validator

from kdbench.errors import KdbenchError, first_problem
from kdbench.hashing import digest
from kdbench.records.parts import (
    Cost,
    Distilled,
    GrownPart,
    Hash,
    Match,
    MethodInfo,
    Name,
    Network,
    TaskResult,
    TeacherRef,
)
from kdbench.records.values import Count, Curves, Line, Seed, Table

SCHEMA_VERSION = 1


class Record(GrownPart):
    """The outcome of one cell (or of a teacher's training).

    Attributes:
        schema_version: of this schema.
        kind: "cell", or "teacher" for the training of a teacher.
        status: "done", or "not_applicable" with the `reason` why the method cannot serve the pair.
        key: hash of all that the result depends on.
        suite: its name.
        protocol, fingerprint: the suite's protocol and its hash; rows rank only inside one fingerprint.
        off_protocol: why the record cannot be on the board (fewer epochs, a validation run); empty for one that can.
        student, seed, params, teachers: what was trained, how and under whom.
        variant: the parameters that the user set to other values than the suite's own; a variant is a row of its own.
        params_source, trials: where the parameters come from, and after how many trials.
        recipe: the recipe that the student was trained with.
        matching: which feature maps were compared, for a method that reads them.
        networks: what was trained; empty for a cell that is not applicable.
        tasks: in a suite with tasks, what the student could after each.
        curve: a list a quantity with a value an epoch: every loss term, `loss`, `test_top1` (a diagnostic, never
            ranked; taken after the epochs that `schedule.evaluated` gives). Left out of the files in `results/`.
        distilled: the images that the student learned from, on a suite of distilled data.
        environment: library versions, hardware and kdbench's commit; no host, user or path names.
        finished: UTC time, ISO 8601.
        evidence_sha256, curve_sha256: of the evidence arrays and of the curve.
        sha256: of this record without `sha256` and `curve`.
    """

    LATER = frozenset({"distilled", "tasks"})
    schema_version: Literal[1] = 1
    kind: Literal["cell", "teacher"]
    status: Literal["done", "not_applicable"]
    reason: Line | None
    key: Hash
    suite: Name
    fingerprint: Hash
    protocol: Table
    off_protocol: list[Line]
    student: Name
    seed: Seed
    method: MethodInfo
    params: Table
    variant: Table
    params_source: Literal["paper", "paper per pair", "suite", "user", "tuned"]
    trials: Count
    teachers: list[TeacherRef]
    recipe: Table
    matching: list[Match]
    networks: list[Network]
    tasks: TaskResult | None = None
    curve: Curves | None = None
    cost: Cost | None
    distilled: Distilled | None = None
    environment: dict[Line, Line]
    finished: Line
    evidence_sha256: Hash | None
    curve_sha256: Hash | None = None
    sha256: str = ""

    @model_validator(mode="after")
    def _is_whole(self) -> Record:
        if digest(self.protocol) != self.fingerprint:
            raise ValueError("fingerprint does not follow from protocol")
        if self.status == "not_applicable":
            if not self.reason:
                raise ValueError("reason is missing for a cell that is not applicable")
        else:
            role = "teacher" if self.is_teacher else "student"
            roles = [network.role for network in self.networks]
            if roles.count(role) != 1:
                raise ValueError(f"networks needs exactly one {role}")
            if len(set(roles)) != len(roles):
                raise ValueError("networks has a role twice")
            if any(network.evidence_sha256 is None for network in self.others):
                raise ValueError("a further network lacks its evidence_sha256")
            if self.evidence_sha256 is None or self.cost is None:
                raise ValueError("evidence_sha256 or cost is missing")
        return self

    @property
    def is_teacher(self) -> bool:
        """Whether it is of the training of a teacher."""
        return self.kind == "teacher"

    @property
    def main(self) -> Network:
        """The ranked student, or the teacher."""
        return next(n for n in self.networks if n.role == ("teacher" if self.is_teacher else "student"))

    @property
    def accuracy(self) -> float:
        """What rows are ranked by, in percent: top-1; with tasks its average over them."""
        return self.tasks.average if self.tasks else self.main.metrics.top1

    @property
    def others(self) -> list[Network]:
        """The networks beside the ranked one."""
        return [network for network in self.networks if network is not self.main] if self.networks else []

    @property
    def main_epochs(self) -> int:
        """Epochs of the main stage; 0 where the recipe does not say."""
        own = self.cost.main_epochs if self.cost else None
        epochs = self.recipe.get("epochs")
        return own or (epochs if isinstance(epochs, int) else 0)

    @property
    def teacher(self) -> str | None:
        """The teacher's name in the suite; None for a cell without one."""
        return self.teachers[0].model if self.teachers else None

    @property
    def num_classes(self) -> int:
        """How many classes the data have; 0 where the protocol does not say."""
        data = self.protocol.get("data")
        classes = data.get("num_classes") if isinstance(data, dict) else None
        return classes if isinstance(classes, int) else 0

    @property
    def row(self) -> str:
        """The board's row that the record belongs to: the method, with its parameters where they are a variant."""
        return row_name(self.method.name, self.variant, self.budget)

    @property
    def budget(self) -> int | None:
        """After how many trials its parameters were tuned; None for those of papers, the suite or a user."""
        return self.trials if self.params_source == "tuned" else None

    @property
    def result(self) -> tuple[Any, ...]:
        """What two trainings of a cell agree in, if they do: its key, the method's source and all predictions."""
        others = [(network.role, network.evidence_sha256) for network in self.others]
        return self.key, self.status, self.method.source_sha256, self.evidence_sha256, others

    def content_sha256(self) -> str:
        return digest(self.model_dump(mode="json", exclude={"sha256", "curve"}))

    def sealed(self) -> Record:
        """The same record with its hashes filled in, validated as a reader would."""
        record = self.model_copy(update={"curve_sha256": None if self.curve is None else digest(self.curve)})
        record = record.model_copy(update={"sha256": record.content_sha256()})
        return parse_record(record.to_json(), "The new record")

    def to_json(self, curve: bool = True) -> str:
        """One line of JSON."""
        return self.model_dump_json(exclude=None if curve else {"curve"})


def row_name(method: str, variant: dict[str, Any], budget: int | None = None) -> str:
    """A method's row: its name, with its parameters where they are a variant.

    Args:
        budget: after how many trials the others were tuned: "kd[tuned=8]" is another row than "kd".
    """
    tuned = [] if budget is None else [("tuned", budget)]
    values = ", ".join(f"{name}={value}" for name, value in (*sorted(variant.items()), *tuned))
    return f"{method}[{values}]" if values else method


def parse_record(text: str | bytes, where: str) -> Record:
    """Read one record and check its schema and hash.

    Raises:
        KdbenchError: names `where` and the first problem.
    """
    try:
        record = Record.model_validate_json(text)
        intact = record.curve is None or digest(record.curve) == record.curve_sha256
        intact = intact and record.sha256 == record.content_sha256()
    except ValidationError as error:
        raise KdbenchError(f"{where} is no valid record: {first_problem(error)}.") from error
    except ValueError as error:  # a number that JSON has no place for, where any value may stand
        raise KdbenchError(f"{where} is no valid record: {error}.") from error
    if not intact:
        raise KdbenchError(f"{where} is corrupt: its content does not match its hash.")
    return record
