"""What must hold of a record for the board: `submit` asks it of each in `runs/`, `validate` of each in `results/`.

No torch: the networks' sizes and the training itself are for `kdbench verify`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.records.built_in import DISTRIBUTION, built_in
from kdbench.records.curves import Curve
from kdbench.records.evidence import Evidence
from kdbench.records.keys import cell_key, teacher_key
from kdbench.records.metrics import wrong_metrics
from kdbench.records.parts import Network
from kdbench.records.privacy import private_texts
from kdbench.records.record import Record
from kdbench.records.rows import FAMILY, PLAIN, REFERENCES
from kdbench.records.tasks import in_order, task_result
from kdbench.records.values import possible_day
from kdbench.suite import Suite
from kdbench.tables import Pair
from kdbench.tasks import task_stages
from kdbench.teacher_names import teacher_name

PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
VERSION = r"\d[\w.+!-]{0,60}"
ENVIRONMENT = {
    **dict.fromkeys(("python", "kdbench", "torch", "timm", "numpy", "safetensors"), VERSION),
    "system": r"\w{1,20}",
    "machine": r"\w{1,20}",
    "device": "cpu|cuda",
}
ALSO = {"cpu": ".{1,100}", "gpu": ".{1,100}", "cuda": VERSION, "execution": "captured|compiled"}
ALSO["commit"] = r"[0-9a-f]{40}(\+changes)?"
Sizes = Mapping[str, tuple[int, int]]  # by student, the parameters and MACs of its plain network
LAST_EPOCH = 0.2  # percentage points between the last epoch's diagnostic and the evidence, which a GPU may round apart


def record_problems(
    record: Record,
    evidence: Evidence | None,
    suite: Suite,
    labels: np.ndarray,
    teachers: Mapping[str, str],
    curve: Curve | None = None,
    others: Mapping[str, Evidence] | None = None,
    sizes: Sizes | None = None,
    images: np.ndarray | None = None,
) -> Iterator[str]:
    """What keeps a record from the board, each in one line.

    Args:
        labels: (I,) the suite's own test labels.
        teachers: names of the suite's teachers by the hash of their weights, as `vit` or `vit@3`.
        curve: of all cells; of teachers if it is kept.
        others: evidence of further networks, by role.
        sizes: of the accepted plain students.
        images: the distilled data that the student learned from, their hash verified.
    """
    yield from protocol_problems(record, suite)
    if record.student in suite.models:
        yield from place_problems(record, suite, teachers)
    yield from form_problems(record)
    yield from method_problems(record, suite)
    yield from distilled_problems(record, suite, images)
    if record.status == "not_applicable":
        yield from empty_problems(record, evidence, curve)
        return
    yield from evidence_problems(record, evidence, suite, labels)
    for network in record.others:
        yield from other_problems(network, (others or {}).get(network.role), suite, labels)
    yield from size_problems(record, sizes or {})
    yield from task_problems(record, evidence, others or {}, suite, labels)
    if record.protocol.get("selection") != "last epoch":
        yield "its protocol does not select the last epoch"
    if not record.is_teacher:
        yield from curve_problems(record, curve, suite)


def protocol_problems(record: Record, suite: Suite) -> Iterator[str]:
    protocol = suite.teacher_protocol() if record.is_teacher else suite.protocol()
    if record.off_protocol and tuple(record.off_protocol) != suite.off_protocol:
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
        if (name := teacher_name(record.student, record.seed)) not in suite.teacher_names:
            yield f"the suite has no teacher '{name}'"
        if record.key != teacher_key(suite, record.student, record.method.version, number=record.seed):
            yield "its key does not follow from its content"
        return
    most = suite.most_seeds or suite.seeds
    if record.seed >= most and record.row not in REFERENCES:
        yield f"seed {record.seed} is not one of the suite's {most}"
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
        due, found = suite.teacher_of(teacher.model, record.seed), teachers.get(teacher.sha256)
        if found != due:
            what = f"'{found}', and seed {record.seed} has '{due}'" if found else "none of the suite's accepted ones"
            yield f"its teacher '{teacher.model}' {teacher.sha256[:12]} is {what}"
    hashes = [teacher.sha256 for teacher in record.teachers]
    coordinates = (record.student, record.seed, method.name, method.version, record.params, hashes)
    if record.key != cell_key(suite, *coordinates, suite.between(method.requires, pair)):
        yield "its key does not follow from its content"


def form_problems(record: Record) -> Iterator[str]:
    """What the schema cannot say of single values."""
    if not possible_day(record.finished):
        yield f"finished is no time in ISO 8601 at which it can have been: '{record.finished}'"
    for name in sorted(ENVIRONMENT.keys() | record.environment):
        if not re.fullmatch((ENVIRONMENT | ALSO).get(name, "(?!)"), record.environment.get(name, "")):
            yield f"environment.{name} is nothing that kdbench writes"
    for place, what in private_texts(record.model_dump(mode="json", exclude={"curve", "protocol", "recipe"})):
        yield f"{place} names {what}"
    cost = None if record.is_teacher else record.cost
    if cost and (cost.train_seconds <= 0 or cost.steps < record.main_epochs):
        yield "cost.train_seconds or cost.steps is too small for its epochs"
    for stray in record.method.strays or ():
        yield f"its method's code {stray}, which is neither of its package nor of the suite"
    unknown = {name for name in record.variant if record.params.get(name) != record.variant[name]}
    if unknown:
        yield f"variant names what params does not say: {', '.join(sorted(unknown))}"
    said = [*record.method.deviations, *record.method.families, *record.method.requires]
    if not all(text.strip() for text in said) or len(set(record.method.deviations)) < len(record.method.deviations):
        yield "method.deviations, families or requires has an entry that is blank or stands there twice"
    if record.status == "done" and record.reason is not None:
        yield "reason is of a cell that is not applicable"


def method_problems(record: Record, suite: Suite) -> Iterator[str]:
    """Where the method comes from, its parameters and what it deviates in: of a built-in one as its class says."""
    method, known = record.method, built_in().get(record.method.name)
    if (method.distribution == DISTRIBUTION) != (known is not None):
        owner = f"kdbench has the method '{method.name}' itself" if known else f"kdbench has no method '{method.name}'"
        yield f"method.distribution is '{method.distribution}', and {owner}"
        return
    if not PACKAGE.fullmatch(method.distribution) or method.distribution == "unknown":
        yield f"method.distribution '{method.distribution}' is no name of a package"
    if not re.fullmatch(VERSION, method.distribution_version):
        yield "method.distribution_version is no version"
    if method.scheme != "baseline" and not (method.title and method.authors and method.year and method.docstring):
        yield "method.title, authors, year or docstring is missing"
    if known is None and not (method.repository and method.commit):
        yield "method.repository and commit do not say where its source is: kdbench submit --source ADDRESS@COMMIT"
    if record.is_teacher:
        return
    pair = Pair(teacher=record.teacher, student=record.student) if record.teacher else None
    given, override = suite.override(method.name, pair)
    source = ("user" if record.variant else override.source, override.trials)
    if (record.params_source, record.trials) != source:
        own = f"{record.params_source}, {record.trials}"
        yield f"params_source and trials are {own}; the suite's are {source[0]}, {source[1]}"
    if wrong := sorted(n for n, value in given.items() if n not in record.variant and record.params.get(n) != value):
        yield f"params.{wrong[0]} is not the suite's, and variant does not say so"
    if known is None:
        return
    if method.version > known.version:
        yield f"method.version is {method.version}, kdbench has {known.version}"
    if method.version == known.version:
        params = known.defaults | given | record.variant
        if wrong := sorted(n for n in params.keys() | record.params.keys() if record.params.get(n) != params.get(n)):
            yield f"params.{wrong[0]} is not the method's default, and variant does not say so"
        for name in ("title", "authors", "year", "arxiv", "scheme", "knowledge", "families", "requires"):
            if getattr(method, name) != getattr(known, name):
                yield f"method.{name} is not what its class says"
        if gone := [text for text in known.deviations if text not in method.deviations]:
            yield f"method.deviations lacks what its class says: '{gone[0]}'"


def distilled_problems(record: Record, suite: Suite, images: np.ndarray | None) -> Iterator[str]:
    """On distilled data every student but the plain one learned from images of the suite's number and shape."""
    distils = FAMILY in record.method.families
    if not record.is_teacher and distils != (suite.distilled is not None) and record.method.name != PLAIN:
        yield f"its method {'distils' if distils else 'does not distil'} data, and its suite is of the other kind"
        return
    if (record.distilled is not None) != (distils and record.status == "done"):
        yield "distilled names images, and its method makes none, or the other way round"
    elif record.distilled is not None:
        wanted = (suite.learned_from, suite.data.channels, *suite.data.image_size)
        if images is None:
            yield "its distilled images are missing"
        elif images.shape != wanted:
            yield f"its distilled images are of shape {images.shape}, the suite's of {wanted}"


def empty_problems(record: Record, evidence: Evidence | None, curve: Curve | None) -> Iterator[str]:
    """A cell that is not applicable was not trained."""
    hashes = (record.evidence_sha256, record.curve_sha256)
    if record.networks or record.cost or record.matching or curve or evidence is not None or any(hashes):
        yield "status is not_applicable, and it has networks, a cost, a curve or evidence"


def size_problems(record: Record, sizes: Sizes) -> Iterator[str]:
    """The network is the suite's student, or a larger one: its method is known for that, or the trainer found it."""
    main = record.main
    if not main.parameters or not main.macs:
        yield "networks: parameters or macs of its network are 0"
    if record.is_teacher or record.student not in sizes:
        return
    plain, own = sizes[record.student], (main.parameters, main.macs)
    known = built_in().get(record.method.name)
    may = known.deploys if known else bool(main.differs)
    if own != plain and (min(own[0] - plain[0], own[1] - plain[1]) < 0 or record.method.name == PLAIN or not may):
        yield (
            f"networks: its network has {own[0]} parameters and {own[1]} MACs, the suite's '{record.student}' "
            f"{plain[0]} and {plain[1]}"
        )


def plain_sizes(records: Iterable[Record]) -> dict[str, tuple[int, int]]:
    """Parameters and MACs of the students in the records of the plain method."""
    sizes: dict[str, tuple[int, int]] = {}
    for record in records:
        if record.status == "done" and not record.is_teacher:
            sizes.setdefault(record.student, (record.main.parameters, record.main.macs))
    return sizes


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


def task_problems(
    record: Record, evidence: Evidence | None, others: Mapping[str, Evidence], suite: Suite, labels: np.ndarray
) -> Iterator[str]:
    """What it says of tasks follows from the evidence of the network after each."""
    if suite.tasks is None or record.is_teacher:
        if record.tasks is not None:
            yield "tasks: the suite has none"
        return
    after = in_order(evidence, others, len(suite.tasks.classes)) if evidence is not None else None
    if record.tasks is None or after is None or {len(one.rank) for one in after} != {len(labels)}:
        yield "tasks: what it could after each task, or the evidence of it, is missing"
    elif record.tasks != task_result(after, labels, suite.tasks):
        yield "tasks: they do not follow from the evidence"


def metrics_problems(network: Network, evidence: Evidence | None, suite: Suite, labels: np.ndarray) -> Iterator[str]:
    if evidence is None:
        yield "its evidence is missing"
        return
    try:
        yield from wrong_metrics(network.metrics, evidence, labels, suite.data.num_classes)
    except KdbenchError as error:
        yield str(error).removesuffix(".")


def may_have(quantity: str, count: int, epochs: int) -> bool:
    """Whether a curve may have so many values: one an epoch; test accuracies are taken after some epochs alone."""
    return 0 < count <= epochs if quantity == "test_top1" else count == epochs


def curve_problems(record: Record, curve: Curve | None, suite: Suite) -> Iterator[str]:
    """The result is the last epoch's: the curve ends at the recipe's end, with the evidence's accuracy."""
    if not curve:
        yield "curve: it is missing"
        return
    if digest(curve) != record.curve_sha256:
        yield "curve: it does not match curve_sha256"
        return
    epochs, recipe, said = record.main_epochs, record.recipe.get("epochs"), record.method.deviations
    if epochs != recipe and f"{epochs} epochs instead of the suite's {recipe}" not in said:
        yield f"method.deviations does not say that it trained {epochs} epochs"
    stages = {name.partition(".")[0] for name in curve if "." in name} - set(task_stages(suite.tasks))
    for stage in sorted(stages):
        if not any(f"stage '{stage}'" in text for text in said):
            yield f"method.deviations does not tell of the stage '{stage}' in its curve"
    main = {name: values for name, values in curve.items() if "." not in name}
    if wrong := next((name for name in ("loss", "test_top1") if name not in main), None):
        yield f"curve: it has no '{wrong}'"
    elif wrong := next((name for name, values in main.items() if not may_have(name, len(values), epochs)), None):
        yield f"curve: '{wrong}' has {len(main[wrong])} epochs, its main stage {epochs}"
    elif abs(main["test_top1"][-1] - record.main.metrics.top1) > LAST_EPOCH:
        yield (
            f"metrics.top1 is {record.main.metrics.top1:.2f}, that of its last epoch {main['test_top1'][-1]:.2f}: "
            "the last epoch counts"
        )
    elif not all(0 <= top <= 100 for top in main["test_top1"]):
        yield "curve: 'test_top1' is no accuracy"
