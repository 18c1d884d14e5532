"""The record: one per cell, the only source of truth. Everything shown anywhere is derived from records.

A record is a JSON object, validated on reading and on writing; its evidence lies beside it (`evidence`).
Importing this module needs numpy and pydantic only.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from kdbench.errors import KdbenchError, first_problem
from kdbench.hashing import digest
from kdbench.records.values import Count, Curves, Line, Operations, Seconds, Seed, Table, Text, Version, Year
from kdbench.tables import COMMIT, NAME, REPOSITORY

SCHEMA_VERSION = 1
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ROLE = r"^[a-z0-9][a-z0-9_. -]{0,59}$"
Name = Annotated[str, Field(pattern=NAME, max_length=100)]
Percent = Annotated[float, Field(ge=0, le=100)]


class Part(BaseModel):
    """A part of a record: unknown keys, wrong types and non-finite numbers are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class GrownPart(Part):
    """A part to which keys were added after the first records were written; these are left out where they are None.

    So the JSON and the hashes of older records stay as they are.
    """

    LATER: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _leave_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {name: value for name, value in handler(self).items() if value is not None or name not in self.LATER}


class MethodInfo(GrownPart):
    """The method's own metadata; the site has no other source.

    Attributes:
        name, version: of the method; a record of an older version is stale.
        title, authors, year, arxiv: of the paper; None for a baseline.
        scheme, knowledge, families: its place in the survey's taxonomy.
        requires: the outputs it reads.
        deviations: what it changes of the protocol for itself.
        docstring: what it is and its equation.
        distribution, distribution_version: the Python package that it came with.
        source_sha256: of the modules that it is made of (`kdbench.source`), as loaded.
        excused_checks: conformance checks that it fails and declares, each with its reason.
        repository, commit: where the source of a package other than kdbench is, and which state of it.
        files_read: of its own package, by their paths in it: their SHA-256; of a method that did not come with kdbench.
        strays: what else the code of such a method was seen to open, start or look into.
        checks: the outcome of each conformance check when the record was submitted.
    """

    LATER = frozenset({"excused_checks", "repository", "commit", "files_read", "strays", "checks"})
    name: Name
    version: Version
    title: Line | None
    authors: Text | None
    year: Year | None
    arxiv: Line | None
    scheme: Literal["baseline", "offline", "online", "self"]
    knowledge: list[Literal["response", "feature", "relation"]]
    families: list[Line]
    requires: list[Line]
    deviations: list[Line]
    docstring: Text
    distribution: Line
    distribution_version: Line
    source_sha256: Hash
    excused_checks: dict[Line, Line] | None = None
    repository: Annotated[str, Field(pattern=REPOSITORY)] | None = None
    commit: Annotated[str, Field(pattern=COMMIT)] | None = None
    files_read: dict[Line, Hash] | None = None
    strays: list[Line] | None = None
    checks: dict[Name, Literal["passed", "expected"]] | None = None


class TeacherRef(GrownPart):
    """A teacher that the cell read.

    Attributes:
        model: its name in the suite.
        sha256: of its weights file.
        origin: where its weights come from, if they were not trained by the suite's recipe nor are timm's.
        outputs: "live" (its forward pass ran in the step) or "stored" (computed once for each view of an image, before
            an epoch that asked for it, by this cell or an earlier one).
    """

    LATER = frozenset({"origin"})
    model: Name
    sha256: Hash
    outputs: Literal["live", "stored"]
    origin: str | None = Field(None, max_length=200)


class Match(GrownPart):
    """Two feature maps that belong together, as 'module (channels x height x width)'.

    Attributes:
        by: what they have in common: the position among their networks' stages, where both have equally many, or the
            relative depth; in older records also the stride.
    """

    LATER = frozenset({"by"})
    student: Line
    teacher: Line
    by: Literal["position", "depth", "stride"] | None = None


class Metrics(GrownPart):
    """What the evidence says of one network on the test set, stored. A key that is added later goes to `LATER`.

    Attributes:
        top1, top5: accuracy in percent; `top5` is None where there are ten classes or fewer.
        nll: mean negative log-probability of the true class, in nats.
        ece: expected calibration error in percent, over 15 equally wide bins of the top probability.
    """

    top1: float = Field(ge=0, le=100)
    top5: float | None = Field(ge=0, le=100)
    nll: float = Field(ge=0, le=70_000)  # half precision ends at 65,504
    ece: float = Field(ge=0, le=100)


class Network(GrownPart):
    """One network that the cell trained.

    Attributes:
        role: exactly one "student" in a cell's record (the network that is ranked), one "teacher" in a teacher's;
            others are peers, earlier generations, heads or assistants, each role once.
        model: its name in the suite.
        timm_name, arguments: how timm builds it, with an input size and normalisation of its own if it has such.
        parameters: how many it has when deployed.
        macs: multiply-accumulate operations of one image's forward pass.
        sha256: of its weights file, for a teacher.
        size_bytes: of its weights, where they are of another type than float32.
        origin: of a teacher, where its weights come from, if they were not trained by the suite's recipe.
        evidence_sha256: of its evidence arrays, for networks beside the student or teacher.
        differs: of a ranked network that is not the suite's student, what sets it apart, as the trainer found it.
    """

    LATER = frozenset({"size_bytes", "origin", "evidence_sha256", "differs"})
    role: Annotated[str, Field(pattern=ROLE)]
    model: Name
    timm_name: Line
    arguments: Table
    metrics: Metrics
    parameters: Count
    macs: Operations
    sha256: Hash | None = None
    size_bytes: Count | None = None
    origin: str | None = Field(None, max_length=200)
    evidence_sha256: Hash | None = None
    differs: list[Line] | None = None


class Passes(Part):
    """Images that went through a network while training.

    Attributes:
        forward, backward: through the network, and back through it.
    """

    forward: Count
    backward: Count


class Cost(GrownPart):
    """What the suite paid for this cell, with whatever shared the machine; not what a method costs.

    Attributes:
        train_seconds: wall time in the training loop, over all interruptions.
        steps: optimizer steps.
        method_parameters: trainable parameters that the method added to the student's.
        main_epochs: of the main stage, where they are not the recipe's.
        flops: floating-point operations of convolutions, matrix products and attention, forward and backward, of all
            networks together. Counted on the first step of each stage, or its first epoch where steps differ.
        passes: by network: the student, the teachers, the method's own.
        synthetic_images: how many synthetic images the student was trained on, each time that it saw one.
    """

    LATER = frozenset({"main_epochs", "flops", "passes", "synthetic_images"})
    train_seconds: Seconds
    steps: Count
    method_parameters: Count
    main_epochs: int | None = Field(None, ge=1, le=10**6)
    flops: Operations | None = None
    passes: dict[Line, Passes] | None = None
    synthetic_images: Count | None = None


class Distilled(GrownPart):
    """The distilled data that a student learned from; they lie beside the record (`records.distilled`).

    Attributes:
        sha256: of the images.
        seconds: what making them took, once for all students.
    """

    sha256: Hash
    seconds: Seconds


class TaskResult(Part):
    """What a student could after each task, in percent (`kdbench.records.tasks`).

    Attributes:
        images: test images of each task.
        accuracy: after each task, on each of the tasks so far.
        seen: after each task, on the test images of all classes so far.
        average, forgetting: means over tasks of `seen`, and of what was lost of `accuracy` by the end.
    """

    images: list[Count]
    accuracy: list[list[Percent]]
    seen: list[Percent]
    average: Percent
    forgetting: float = Field(ge=-100, le=100)


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
