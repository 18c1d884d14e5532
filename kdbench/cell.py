"""Running one cell: from its networks to its record on disk."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from filelock import FileLock, Timeout
from torch import nn

from kdbench.checkpoint import save_tensors
from kdbench.contract import check_state
from kdbench.data import Dataset, load_data
from kdbench.environment import environment
from kdbench.errors import KdbenchError, NotApplicable, writing
from kdbench.evidence import Evidence, evidence_from_logits
from kdbench.hashing import digest
from kdbench.large_images import SOURCE, FileDataset, list_images
from kdbench.method import Method, Setup
from kdbench.metrics import metrics
from kdbench.networks import build_network, count_macs, count_parameters
from kdbench.outputs import FeatureMap, OutputReader, feature_maps, match_maps
from kdbench.plan import Cell
from kdbench.plugins import find_plugin, load_method, method_info
from kdbench.records import Cost, Match, Network, Record, TeacherRef
from kdbench.store import Entry, finish_cell, partial_folder, read_cell, set_aside, weights_name
from kdbench.stream import torch_seed
from kdbench.suite import Data, Execution
from kdbench.teachers import Notice, half_precision_weights, weights_are_whole
from kdbench.trainer import OnEpoch, Trainer


class CellFailed(Exception):
    """A training that ended without a result; the others go on.

    Attributes:
        details: the traceback, for whoever wrote the method.
    """

    def __init__(self, message: str, details: str) -> None:
        super().__init__(message)
        self.details = details


def run_cell(
    cell: Cell,
    root: Path,
    device: torch.device,
    on_epoch: OnEpoch,
    notice: Notice,
    execution: Execution = "eager",
) -> tuple[Entry, bool] | None:
    """Train a cell, or carry on where it was interrupted, and write its record below `root`.

    Returns:
        the record, and whether it was made here (not by another process meanwhile); None if another process is
        training the cell now.

    Raises:
        KdbenchError: a folder that cannot be written, a full disk, a model or data set that cannot be had.
        CellFailed: the method or the training failed.
    """
    folder = cell.folder(root)
    with cell_lock(cell, root) as free:
        if not free:
            return None
        try:
            if folder.exists():
                if entry := usable_entry(cell, folder, notice):
                    return entry, False
                set_aside(folder)
            return train_cell(cell, folder, device, on_epoch, notice, execution), True
        except (KdbenchError, KeyboardInterrupt):
            raise
        except torch.OutOfMemoryError as error:
            raise CellFailed(
                f"{device} is out of memory: run fewer cells at a time (--workers), or free it of other programs",
                traceback.format_exc(),
            ) from error
        except Exception as error:  # whatever a plugin or a device does wrong costs its own cell alone
            said = " ".join(f"{type(error).__name__}: {error}".split())  # some messages have many lines
            raise CellFailed(said, traceback.format_exc()) from error


@contextmanager
def cell_lock(cell: Cell, root: Path) -> Iterator[bool]:
    """Hold a cell's lock, which ends with this process however it dies; False if another process holds it."""
    path = root / cell.suite.name / ".locks" / f"{cell.key[:16]}.lock"
    with writing(root):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        with suppress(Timeout):
            lock.acquire(timeout=0)
    try:
        yield lock.is_locked
    finally:
        lock.release()


def usable_entry(cell: Cell, folder: Path, notice: Notice) -> Entry | None:
    """The record in a folder if it serves the cell; a corrupt one is named."""
    try:
        entry = read_cell(folder)
    except KdbenchError as error:
        notice(f"{error} It is set aside and its cell trained again.")
        return None
    if cell.kind == "teacher" and not weights_are_whole(entry):
        return None
    return entry if cell.is_served_by(entry.record) else None


def train_cell(
    cell: Cell, folder: Path, device: torch.device, on_epoch: OnEpoch, notice: Notice, execution: Execution
) -> Entry:
    """The cell itself, under its lock."""
    set_up_device(device)
    dataset = load_dataset(cell.data)
    teacher = cell.teacher.load(cell.suite) if cell.teacher else None
    try:
        trainer, matching = prepare(cell, dataset, teacher, device, execution, notice)
    except NotApplicable as reason:
        record = build_record(cell, device, execution, status="not_applicable", reason=str(reason)).sealed()
        finish_cell(folder, record, None)
        return Entry(record, None, folder)

    partial = partial_folder(folder)
    checkpoint = partial / f"checkpoint-{device.type}-{cell.source_sha256[:12]}.safetensors"
    with writing(folder):
        partial.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        try:
            trainer.restore(checkpoint)
        except KdbenchError as error:
            notice(f"{error} Set aside as {set_aside(checkpoint).name}; '{cell}' starts again.")
    if not is_pretrained(cell):
        trainer.train(checkpoint, on_epoch)

    weights = half_precision_weights(trainer.student) if cell.kind == "teacher" else trainer.deployed.state_dict()
    logits = trainer.predict().cpu()
    labels = dataset.test_labels.numpy()
    evidence = evidence_from_logits(logits.numpy(), labels)
    example = torch.zeros(1, cell.suite.data.channels, *cell.suite.data.image_size)
    deployed = trainer.deployed.cpu()
    with writing(folder):
        save_tensors(partial / "logits.safetensors", {"logits": logits})
        sha256 = save_tensors(partial / "weights.safetensors", weights)
        (partial / "weights.safetensors").replace(partial / weights_name(cell.student, sha256))
    spec = cell.suite.models[cell.student]
    network = Network(
        role="teacher" if cell.kind == "teacher" else "student",
        model=cell.student,
        timm_name=spec.name,
        arguments=spec.arguments,
        metrics=metrics(evidence, labels, cell.suite.data.num_classes),
        parameters=count_parameters(deployed),
        macs=count_macs(deployed, example),
        sha256=sha256 if cell.kind == "teacher" else None,
    )
    cost = Cost(
        train_seconds=trainer.seconds,
        steps=trainer.epochs_done * trainer.steps_per_epoch,
        method_parameters=sum(p.numel() for p in trainer.method.parameters() if p.requires_grad),
    )
    stages = [f"a stage '{stage.name}' of {stage.epochs} epochs before the others" for stage in trainer.stages[:-1]]
    record = build_record(
        cell, device, trainer.execution, matching, [network], cost, trainer.curve, evidence, deviations=stages
    ).sealed()
    finish_cell(folder, record, evidence)
    return Entry(record, evidence, folder)


def is_pretrained(cell: Cell) -> bool:
    """Whether a cell is a teacher with timm's own weights: evaluated, not trained."""
    return cell.kind == "teacher" and cell.suite.teachers == "pretrained"


def load_dataset(data: Data) -> Dataset | FileDataset:
    """A suite's images: decoded, or as files where they are large.

    Raises:
        KdbenchError: they cannot be had, or are others than the suite says.
    """
    return list_images(data) if data.source.startswith(SOURCE) else load_data(data)


def set_up_device(device: torch.device) -> None:
    """What a training wants of PyTorch's switches."""
    if device.type == "cpu":
        torch.set_num_threads(1)  # so that a result does not depend on the machine's cores or on other cells
    else:
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 means float32
        torch.backends.cudnn.benchmark = True


def prepare(
    cell: Cell,
    dataset: Dataset | FileDataset,
    teacher: nn.Module | None,
    device: torch.device,
    execution: Execution = "eager",
    notice: Notice = print,
    cls: type[Method] | None = None,
) -> tuple[Trainer, list[Match]]:
    """Networks, method and optimizer of a cell, before the first step.

    Args:
        teacher: in evaluation mode, without gradients to its weights; None for a method that reads none.
        cls: the method, where it is not the registered one of the cell's name.

    Raises:
        NotApplicable: the method cannot serve the pair.
    """
    suite, recipe = cell.suite, cell.recipe
    cls = cls or load_method(cell.method)
    example = torch.zeros(1, suite.data.channels, *suite.data.image_size)
    given = is_pretrained(cell)
    student = build_network(suite, cell.student, torch_seed(cell.stream, cell.seed, "student"), given)
    wanted = {
        role: {output.split(".")[1] for output in cls.requires if output.startswith(f"{role}.")}
        for role in ("student", "teacher")
    }
    maps: list[tuple[FeatureMap, FeatureMap]] = []
    mapped = {"features", "pre_activations"}
    if wanted["teacher"] & mapped and teacher is not None:
        names = (f"student {cell.student}", f"teacher {cell.teacher.model}") if cell.teacher else ("student", "teacher")
        maps = match_maps(feature_maps(student, example), feature_maps(teacher, example), names)
    elif wanted["student"] & mapped:
        maps = [(m, m) for m in feature_maps(student, example)]
    read_student = OutputReader("student", student, wanted["student"], [s for s, _ in maps])
    reads_outputs = wanted["teacher"] - {"network"}
    read_teacher = None
    if teacher is not None and reads_outputs:
        read_teacher = OutputReader("teacher", teacher, reads_outputs, [t for _, t in maps])

    def untrained(role: Literal["student", "teacher"]) -> nn.Module:
        like: Any = student if role == "student" else teacher
        if like is None:
            raise ValueError("without a teacher there is no other like it: add 'teacher.network' to `requires`")
        network: Any = build_network(suite, like.suite_model, int(torch.randint(2**62, ())))
        return nn.Sequential(network.own_input, network)

    generator = torch.Generator(device).manual_seed(torch_seed(cell.stream, cell.seed, "method"))
    method = build_method(
        cls,
        cell,
        Setup(
            student=read_student.shapes(example),
            teacher=read_teacher.shapes(example) if read_teacher else None,
            train_labels=dataset.train_labels.to(device),
            num_classes=suite.data.num_classes,
            mean=suite.data.mean,
            std=suite.data.std,
            num_steps=recipe.epochs * -(-len(dataset.train_labels) // recipe.batch_size),
            device=device,
            generator=generator,
            batch_size=recipe.batch_size,
            image_shape=(suite.data.channels, *suite.data.image_size),
            teacher_network=teacher if "network" in wanted["teacher"] else None,
            untrained=untrained,
        ),
    )
    for module in (student, teacher, method):
        if isinstance(module, nn.Module):
            module.to(device).to(memory_format=torch.channels_last)
    trainer = Trainer(
        cell.data,
        recipe,
        dataset,
        cell.stream,
        cell.seed,
        student,
        method,
        read_student,
        read_teacher,
        generator,
        device,
        execution,
        notice,
    )
    matching = [Match(student=str(s), teacher=str(t)) for s, t in maps] if teacher else []
    return trainer, matching


def build_method(cls: type[Method], cell: Cell, setup: Setup) -> Method:
    """The method with its own modules, made under its own seed whatever was drawn before."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(cell.stream, cell.seed, "method"))
        method = cls(cls.Params.model_validate(cell.params, strict=False))
        method.build(setup)
    check_state(method, setup.generator)
    return method


def build_record(
    cell: Cell,
    device: torch.device,
    execution: Execution,
    matching: list[Match] | None = None,
    networks: list[Network] | None = None,
    cost: Cost | None = None,
    curve: dict[str, list[float]] | None = None,
    evidence: Evidence | None = None,
    status: Literal["done", "not_applicable"] = "done",
    reason: str | None = None,
    deviations: Sequence[str] = (),
) -> Record:
    """The record of a cell, not yet sealed."""
    info = method_info(load_method(cell.method), find_plugin(cell.method))
    info = info.model_copy(update={"deviations": [*info.deviations, *deviations]})
    teachers = [TeacherRef(model=t.model, sha256=t.sha256, outputs="live") for t in [cell.teacher] if t]
    return Record(
        kind=cell.kind,
        status=status,
        reason=reason,
        key=cell.key,
        suite=cell.suite.name,
        fingerprint=digest(cell.protocol),
        protocol=cell.protocol,
        off_protocol=[] if cell.kind == "teacher" else list(cell.suite.off_protocol),
        student=cell.student,
        seed=cell.seed,
        method=info,
        params=cell.params,
        variant=cell.variant,
        params_source=cell.params_source,
        trials=cell.trials,
        teachers=teachers,
        recipe=cell.recipe.model_dump(mode="json", exclude_none=True),
        matching=matching or [],
        networks=networks or [],
        curve=curve,
        cost=cost,
        environment=environment(device, execution),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        evidence_sha256=evidence.sha256() if evidence else None,
    )
