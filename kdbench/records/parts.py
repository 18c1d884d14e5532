"""The parts of a record (`kdbench.records.record`): the method, the teachers, what was trained and what it cost.

Importing this module needs pydantic only.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from kdbench.records.values import Count, Line, Operations, Seconds, Table, Text, Version, Year
from kdbench.tables import COMMIT, NAME, REPOSITORY

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
