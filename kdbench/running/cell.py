"""Running one cell: from its networks to its record on disk."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch

from kdbench.console import Notice
from kdbench.data.access import load_dataset
from kdbench.data.contract import LabelledData
from kdbench.data.names import class_names
from kdbench.environment import environment, software
from kdbench.errors import KdbenchError, NotApplicable, writing
from kdbench.files import set_aside
from kdbench.foreign import Sightings, brief, of_import, watching_method
from kdbench.hashing import digest
from kdbench.plugins import find_plugin, load_method, method_info
from kdbench.records.classes import write_classes
from kdbench.records.distilled import images_sha256
from kdbench.records.evidence import Evidence, evidence_from_logits
from kdbench.records.locks import key_lock
from kdbench.records.parts import Cost, Distilled, Match, MethodInfo, Network, TaskResult, TeacherRef
from kdbench.records.record import Record
from kdbench.records.store import Entry, assembling, finish_cell, read_cell, weights_name
from kdbench.records.successors import is_asked_again, partial_folder
from kdbench.records.tasks import in_order, task_result
from kdbench.running.describe import changed_stages, cost_of, describe, main_role, set_apart, trained_networks
from kdbench.running.distilling import Made, distilled_data, learner
from kdbench.running.plan import Cell
from kdbench.running.prepare import load_teachers, prepare, set_up_device
from kdbench.running.synthetic import save_pixels, save_synthetic
from kdbench.running.teachers import weights_are_whole
from kdbench.source import source_sha256
from kdbench.tables import Execution
from kdbench.training.capture import CaptureFailed
from kdbench.training.checkpoint import save_tensors
from kdbench.training.limit import OutOfTime, TimeLimit
from kdbench.training.trainer import OnEpoch


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
    limit: TimeLimit | None = None,
    stored: bool = False,
) -> tuple[Entry, bool] | None:
    """Train a cell, or carry on where it was interrupted, and write its record below `root`.

    Args:
        stored: its teacher's outputs may come from a store.

    Returns:
        the record, and whether it was made here (not by another process meanwhile); None if another process is
        training the cell now.

    Raises:
        KdbenchError: a folder that cannot be written, a full disk, a model or data set that cannot be had.
        CellFailed: the method or the training failed.
        CaptureFailed: the step cannot be captured; run the cell again, eagerly and in a fresh process.
        OutOfTime: the limit leaves no time for another epoch; what was done is in a checkpoint.
    """
    folder = cell.folder(root)
    software()  # what this process has loaded, whatever is installed meanwhile
    with cell_lock(cell, root) as free:
        if not free:
            return None
        try:
            loaded_info(cell.method)
            if source_sha256(load_method(cell.method)) != cell.source_sha256:
                said = f"the source of '{cell.method}' changed after this run was planned: run the command again"
                raise CellFailed(said, "")
            if folder.exists() and (entry := usable_entry(cell, folder, notice)):
                return entry, False
            with watching_method(load_method(cell.method)) as watching:
                return train_cell(cell, folder, device, on_epoch, notice, execution, limit, stored, watching.seen)
        except (KdbenchError, CellFailed, CaptureFailed, OutOfTime, KeyboardInterrupt):
            raise
        except torch.OutOfMemoryError as error:
            raise CellFailed(
                f"{device} is out of memory: run fewer cells at a time (--workers), or free it of other programs",
                traceback.format_exc(),
            ) from error
        except Exception as error:  # whatever a plugin or a device does wrong costs its own cell alone
            said = " ".join(f"{type(error).__name__}: {error}".split())  # some messages have many lines
            raise CellFailed(said, traceback.format_exc()) from error


def cell_lock(cell: Cell, root: Path) -> AbstractContextManager[bool]:
    """Hold a cell's lock; False if another process holds it."""
    return key_lock(root, cell.suite.name, cell.key)


def usable_entry(cell: Cell, folder: Path, notice: Notice) -> Entry | None:
    """The record in a folder if it serves the cell; a corrupt one is named and set aside, another one stays."""
    try:
        entry = read_cell(folder)
    except KdbenchError as error:
        notice(f"{error} It is set aside and its cell trained again.")
        set_aside(folder)
        return None
    if cell.is_teacher and not weights_are_whole(entry):
        set_aside(folder)
        return None
    return entry if cell.is_served_by(entry.record) and not is_asked_again(folder, entry.record) else None


def train_cell(
    cell: Cell,
    folder: Path,
    device: torch.device,
    on_epoch: OnEpoch,
    notice: Notice,
    execution: Execution,
    limit: TimeLimit | None,
    stored: bool,
    seen: Sightings,
) -> tuple[Entry, bool]:
    """The cell itself, under its lock.

    Args:
        seen: what its method's code opens, if it did not come with kdbench.
    """
    set_up_device(device)
    dataset = load_dataset(cell.data)
    try:
        made = made_data(cell, dataset, device, on_epoch, notice, limit)
        if made is None:
            trainer, matching = prepare(cell, dataset, load_teachers(cell), device, execution, notice, stored=stored)
        else:
            trainer, matching = learner(cell, dataset, made.pixels, device, execution, notice), []
    except NotApplicable as reason:
        said = str(reason)
        record = build_record(cell, device, execution, status="not_applicable", reason=said, seen=seen).sealed()
        return finish_cell(folder, record, None, notice=notice)

    partial = partial_folder(folder)
    checkpoint = partial / f"checkpoint-{device.type}-{cell.source_sha256[:12]}.safetensors"
    with writing(folder):
        partial.mkdir(parents=True, exist_ok=True)
    if checkpoint.exists():
        try:
            trainer.restore(checkpoint)
        except KdbenchError as error:
            notice(f"{error} Set aside as {set_aside(checkpoint).name}; '{cell}' starts again.")
    if not (cell.is_teacher and cell.suite.loads(cell.student)):
        trainer.train(checkpoint, on_epoch, limit)
    networks, weights = trained_networks(cell, trainer)
    logits = {role: trainer.predict(network).cpu() for role, network in networks.items()}
    try:
        dataset.check_unchanged(cell.data)
    except KdbenchError:
        set_aside(partial)  # its checkpoint saw other files
        raise
    labels = dataset.test_labels.numpy()
    evidence = {role: evidence_from_logits(values.numpy(), labels) for role, values in logits.items()}
    with assembling(folder) as place:
        with writing(folder):
            save_tensors(place / "logits.safetensors", logits)
            sha256 = save_tensors(place / "weights.safetensors", weights)
            (place / "weights.safetensors").replace(place / weights_name(cell.student, sha256))
            save_synthetic(place, trainer.method.synthetic(), cell.suite.data)
            if made is not None:
                save_pixels(place, made.pixels.numpy())
            write_classes(place, class_names(cell.data), labels)
        described = set_apart(cell, trainer, describe(cell, networks, evidence, labels, sha256))
        main = evidence.pop(main_role(cell))
        tasks, after = cell.suite.tasks, in_order(main, evidence, len(trainer.earlier_networks()) + 1)
        record = build_record(
            cell,
            device,
            trainer.execution,
            matching,
            described,
            cost_of(trainer),
            trainer.curve,
            main,
            deviations=changed_stages(trainer),
            outputs="live" if trainer.stored is None else "stored",
            seen=seen,
            distilled=Distilled(sha256=images_sha256(made.pixels.numpy()), seconds=made.seconds) if made else None,
            tasks=task_result(after, labels, tasks) if tasks and after else None,
        ).sealed()
        return finish_cell(folder, record, main, evidence, notice)


def made_data(
    cell: Cell,
    dataset: LabelledData,
    device: torch.device,
    on_epoch: OnEpoch,
    notice: Notice,
    limit: TimeLimit | None,
) -> Made | None:
    """The distilled data that a cell's student learns from; None for a method that teaches it."""
    if cell.is_teacher or not load_method(cell.method).distils_data():
        return None
    return distilled_data(cell, dataset, lambda: load_teachers(cell), device, on_epoch, notice, limit)


def loaded_info(name: str) -> MethodInfo:
    """What a method says of itself, as it was installed when this process first asked."""
    loaded: Any = load_method(name)
    return info_of(loaded)


@functools.cache
def info_of(method: Any) -> MethodInfo:
    return method_info(method, find_plugin(method.name))


def read_by(method: str, seen: Sightings | None) -> dict[str, Any]:
    """What a record says of what its method's code opened, when it was imported and since."""
    found = of_import(load_method(method))
    found.add(seen or Sightings())
    return {"files_read": found.files or None, "strays": [brief(stray) for stray in found.strays] or None}


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
    outputs: Literal["live", "stored"] = "live",
    seen: Sightings | None = None,
    distilled: Distilled | None = None,
    tasks: TaskResult | None = None,
) -> Record:
    """The record of a cell, not yet sealed."""
    info = loaded_info(cell.method)
    info = info.model_copy(update={"deviations": [*info.deviations, *deviations], **read_by(cell.method, seen)})
    teachers = [
        TeacherRef(model=t.model, sha256=t.sha256, outputs=outputs, origin=t.record.main.origin) for t in cell.teachers
    ]
    return Record(
        kind=cell.kind,
        status=status,
        reason=reason,
        key=cell.key,
        suite=cell.suite.name,
        fingerprint=digest(cell.protocol),
        protocol=cell.protocol,
        off_protocol=[] if cell.is_teacher else list(cell.suite.off_protocol),
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
        tasks=tasks,
        curve=curve,
        cost=cost,
        distilled=distilled,
        environment=environment(device, execution),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        evidence_sha256=evidence.sha256() if evidence else None,
    )
