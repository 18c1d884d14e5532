"""What must hold of a record for the board: `submit` asks it of each in `runs/`, `validate` of each in `results/`.

No torch: the networks' sizes and the training itself are for `kdbench verify`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.records.curves import Curve
from kdbench.records.evidence import Evidence
from kdbench.records.keys import cell_key, teacher_key
from kdbench.records.metrics import wrong_metrics
from kdbench.records.record import Network, Record
from kdbench.records.rows import REFERENCES
from kdbench.suite import Suite
from kdbench.tables import Pair

PRIVATE = re.compile(r"(^|[\s=:])(/(home|root|Users|tmp|mnt|var|opt)/|[A-Za-z]:\\)|@")
LAST_EPOCH = 0.2  # percentage points between the last epoch's diagnostic and the evidence, which a GPU may round apart


def record_problems(
    record: Record,
    evidence: Evidence | None,
    suite: Suite,
    labels: np.ndarray,
    teachers: Mapping[str, str],
    curve: Curve | None = None,
    others: Mapping[str, Evidence] | None = None,
) -> Iterator[str]:
    """What keeps a record from the board, each in one line.

    Args:
        labels: (I,) the suite's own test labels.
        teachers: names of the suite's teachers by the hash of their weights.
        curve: if it is kept.
        others: evidence of further networks, by role.
    """
    yield from protocol_problems(record, suite)
    if record.student in suite.models:
        yield from place_problems(record, suite, teachers)
    yield from form_problems(record)
    if record.status == "done":
        yield from evidence_problems(record, evidence, suite, labels)
        for network in record.others:
            yield from other_problems(network, (others or {}).get(network.role), suite, labels)
        yield from last_epoch_problems(record, curve)


def protocol_problems(record: Record, suite: Suite) -> Iterator[str]:
    protocol = suite.teacher_protocol() if record.is_teacher else suite.protocol()
    if record.off_protocol:
        yield f"it is off the protocol: {record.off_protocol[0]}"
    elif record.fingerprint != digest(protocol):
        yield (
            f"its protocol {record.fingerprint[:12]} is not the suite's, {digest(protocol)[:12]}: "
            "move its row to WITHDRAWN.md, or run it again"
        )


def place_problems(record: Record, suite: Suite, teachers: Mapping[str, str]) -> Iterator[str]:
    """Pair, seed, recipe, teacher and key, as the suite has them."""
    students = {pair.student for pair in suite.pairs}
    recipe = suite.teacher_recipe() if record.is_teacher else suite.recipe_of(record.student)
    if record.recipe != recipe.model_dump(mode="json", exclude_none=True):
        yield "its recipe is not the suite's"
    if record.is_teacher:
        if record.student not in {pair.teacher for pair in suite.pairs}:
            yield f"the suite has no teacher '{record.student}'"
        if record.key != teacher_key(suite, record.student, record.method.version):
            yield "its key does not follow from its content"
        return
    if record.seed >= suite.seeds and record.row not in REFERENCES:
        yield f"seed {record.seed} is not one of the suite's {suite.seeds}"
    if record.student not in students:
        yield f"'{record.student}' is no student of the suite"
    method, pair = record.method, Pair(teacher=record.teacher or "", student=record.student)
    read = suite.read_by(method.requires, pair)
    if bool(record.teachers) != bool(read):
        yield "it names a teacher and its method reads none, or the other way round"
    if record.teachers and pair not in suite.pairs:
        yield f"'{pair}' is no pair of the suite"
    if record.teachers and tuple(teacher.model for teacher in record.teachers[1:]) != read[1:]:
        yield "its further teachers are not those that the suite names"
    for teacher in record.teachers:
        if teachers.get(teacher.sha256) != teacher.model:
            yield f"its teacher '{teacher.model}' {teacher.sha256[:12]} is none of the suite's accepted ones"
    hashes = [teacher.sha256 for teacher in record.teachers]
    coordinates = (record.student, record.seed, method.name, method.version, record.params, hashes)
    if record.key != cell_key(suite, *coordinates, suite.between(method.requires, pair)):
        yield "its key does not follow from its content"


def form_problems(record: Record) -> Iterator[str]:
    """What the schema cannot say of single values."""
    try:
        datetime.fromisoformat(record.finished)
    except ValueError:
        yield "finished is no time in ISO 8601"
    for name, value in record.environment.items():
        if PRIVATE.search(value):
            yield f"environment.{name} names a host, a user or a path"
    for stray in record.method.strays or ():
        yield f"its method's code {stray}, which is neither of its package nor of the suite"
    unknown = {name for name in record.variant if record.params.get(name) != record.variant[name]}
    if unknown:
        yield f"variant names what params does not say: {', '.join(sorted(unknown))}"


def evidence_problems(record: Record, evidence: Evidence | None, suite: Suite, labels: np.ndarray) -> Iterator[str]:
    """The metrics follow from the evidence and the suite's own labels."""
    model = suite.models.get(record.student)
    if record.main.model != record.student or model is None:
        yield f"its network '{record.main.model}' is not its student '{record.student}' of the suite"
    elif (record.main.timm_name, record.main.arguments) != (model.name, model.about):
        yield f"its network is '{record.main.timm_name}' with arguments other than the suite's"
    yield from metrics_problems(record.main, evidence, suite, labels)


def other_problems(network: Network, evidence: Evidence | None, suite: Suite, labels: np.ndarray) -> Iterator[str]:
    """A further network is one of the suite's, and its metrics follow from its evidence."""
    about, model = f"network '{network.role}': ", suite.models.get(network.model)
    if model is None or (network.timm_name, network.arguments) != (model.name, model.about):
        yield f"{about}'{network.model}' is no model of the suite, or has other arguments"
    if evidence is not None and evidence.sha256() != network.evidence_sha256:
        yield f"{about}its evidence does not match its hash"
        return
    yield from (about + problem for problem in metrics_problems(network, evidence, suite, labels))


def metrics_problems(network: Network, evidence: Evidence | None, suite: Suite, labels: np.ndarray) -> Iterator[str]:
    if evidence is None:
        yield "its evidence is missing"
        return
    try:
        yield from wrong_metrics(network.metrics, evidence, labels, suite.data.num_classes)
    except KdbenchError as error:
        yield str(error).removesuffix(".")


def last_epoch_problems(record: Record, curve: Curve | None) -> Iterator[str]:
    """The result is the last epoch's: the curve ends at the recipe's end, with the evidence's accuracy."""
    if record.protocol.get("selection") != "last epoch":
        yield "its protocol does not select the last epoch"
    if not curve or record.is_teacher:
        return
    if digest(curve) != record.curve_sha256:
        yield "its curve does not match its hash"
        return
    tops = curve.get("test_top1", [])
    if len(tops) != record.main_epochs:
        yield f"its curve has {len(tops)} epochs, its main stage {record.main_epochs}"
    elif abs(tops[-1] - record.main.metrics.top1) > LAST_EPOCH:
        yield (
            f"its accuracy is {record.main.metrics.top1:.2f}, that of its last epoch {tops[-1]:.2f}: "
            "the last epoch counts"
        )
