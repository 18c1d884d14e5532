"""The levels of `kdbench verify` that train: the first epoch of a record's cell again, or all of it."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kdbench.console import Notice, line_printer
from kdbench.errors import KdbenchError
from kdbench.records.agreement import Reproduction, answers_of, reproduction
from kdbench.records.curves import Curve, read_curves
from kdbench.records.record import Record
from kdbench.records.store import CURVES, RECORDS, Entry
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suite import Suite
from kdbench.tables import Pair

if TYPE_CHECKING:
    from kdbench.running.plan import Cell

TOLERANCE = 0.02  # relative, of a loss term's mean over the first epoch on another processor or with other libraries


@dataclass(frozen=True)
class Target:
    """A record to verify.

    Attributes:
        beside: all records of its method, in the same place.
        folder: of its method; `verified.jsonl` is written there.
    """

    entry: Entry
    beside: list[Entry]
    folder: Path

    @property
    def name(self) -> str:
        """As `kdbench verify` takes it."""
        folded = self.folder / RECORDS
        return f"{folded}:{self.entry.record.key[:16]}" if folded.exists() else str(self.entry.folder)


def curve_of(target: Target) -> Curve | None:
    """A record's curve: on the record in `runs/`, in a file beside it in `results/`."""
    record = target.entry.record
    return record.curve or read_curves(target.folder / CURVES).get(record.key)


def cell_of(entry: Entry, suite: Suite, results: Path | None, notice: Notice) -> Cell:
    """The cell that a record is of, as this installation would train it.

    Raises:
        KdbenchError: a teacher's record; a method that is not installed or is of another version; a teacher not here.
    """
    from kdbench.plugins import load_method
    from kdbench.running.plan import assemble
    from kdbench.source import source_sha256

    record = entry.record
    if record.is_teacher:
        raise KdbenchError("Teachers are verified at level 1 only. Train one again with: kdbench teach --force")
    method = load_method(record.method.name)
    teachers: dict[str, Teacher] = {}
    for reference in record.teachers:
        name = suite.teacher_of(reference.model, record.seed)
        teacher = find_teacher(suite, name, results, notice)
        if teacher is None or teacher.sha256 != reference.sha256:
            raise KdbenchError(f"Its teacher '{name}' {reference.sha256[:12]} is not here (--results).")
        teachers[name] = teacher
    cell = assemble(
        suite,
        method,
        Pair(teacher=record.teacher or "", student=record.student),
        record.seed,
        record.params,
        teachers,
        source_sha256(method),
        record.variant,
        record.params_source,
        record.trials,
    )
    if cell.key != record.key:
        raise KdbenchError(
            f"This installation trains another cell: its '{record.method.name}' is version {method.version}, the "
            f"record's {record.method.version}, or the suite differs. Install the record's versions."
        )
    return cell


def replay(target: Target, cell: Cell, device_name: str, notice: Notice) -> tuple[str | None, str]:
    """Level 2: the first epoch again; returns what does not hold, and how it holds.

    Raises:
        KdbenchError: the record's curve is not kept.
    """
    import torch

    from kdbench.data.access import load_dataset
    from kdbench.running.distilling import learner
    from kdbench.running.prepare import load_teachers, prepare, set_up_device

    curve = curve_of(target)
    if not curve:
        raise KdbenchError("Level 2 compares the record's curve, and it is not kept. Take its folder in runs/.")
    device = torch.device(device_name)
    set_up_device(device)
    dataset, images = load_dataset(cell.data), target.entry.images
    if images is None:
        trainer, _ = prepare(cell, dataset, load_teachers(cell), device, "eager", notice)
    else:
        trainer = learner(cell, dataset, torch.from_numpy(images.copy()), device, notice=notice)
    terms = trainer.next_epoch()
    prefixes = [f"{stage.name}." for stage in trainer.stages[:-1]]
    first = prefixes[0] if prefixes else ""
    before = {
        name.removeprefix(first): values[0]
        for name, values in curve.items()
        if name != "test_top1" and values and next((p for p in prefixes if name.startswith(p)), "") == first
    }
    if set(terms) != set(before):
        return f"its loss terms are {sorted(before)}, here {sorted(terms)}", ""
    apart = {name: abs(terms[name] - before[name]) / max(abs(before[name]), 1e-12) for name in terms}
    worst = max(apart, key=lambda name: apart[name])
    values = f"{terms[worst]:.6g} here, {before[worst]:.6g} on the record"
    said = f"'{worst}' of the first epoch is {values} ({apart[worst]:.1e} apart)"
    if apart[worst] > TOLERANCE:
        return f"{said}, over {100 * TOLERANCE:g} % apart", ""
    return None, "the first epoch's losses are identical" if apart[worst] == 0 else said


def train_again(
    target: Target, suite: Suite, results: Path | None, device: str, console: Console
) -> tuple[str | None, str, list[Entry]]:
    """Level 3: the cell again, and all seeds of its pair if its predictions differ; the records that this verifies."""
    import torch

    from kdbench.commands.request import parse_execution, parse_workers
    from kdbench.running.distilling import forget
    from kdbench.running.engines.events import Machine
    from kdbench.running.fleet import Outcome, train

    notice = line_printer(console)
    machine = Machine([device], parse_workers("auto", [device]), parse_execution(None, [device]))
    one = target.entry.record
    siblings = [
        entry for entry in target.beside if entry.evidence is not None and kind_of(entry.record) == kind_of(one)
    ]
    outcome = Outcome()

    def repeat(entries: list[Entry]) -> Reproduction:
        cells = [cell_of(entry, suite, results, notice) for entry in entries]
        for cell in cells if one.distilled else ():
            forget(cell, torch.device(device))
        train([c for c in cells if c.key not in outcome.entries], Path(folder), machine, console, outcome)
        if outcome.failures:
            raise CannotTrain(outcome.failures[0].message)
        found = reproduction(answers_of(outcome.entries[cell.key] for cell in cells), answers_of(entries))
        assert found is not None  # the same cells
        return found

    with tempfile.TemporaryDirectory() as folder:
        try:
            if repeat([target.entry]).verdict == "identical":
                return None, "predictions identical", [target.entry]
            notice("Its predictions differ: all seeds of its pair are trained again.")
            found = repeat(siblings)
        except CannotTrain as error:
            return f"it cannot be trained here: {error}", "", []
    return (None, str(found), siblings) if found.holds else (str(found), "", [])


def kind_of(record: Record) -> tuple[str, int, str, list[str]]:
    """What all seeds of a pair have in common: their teachers too, where the suite has not one for each seed."""
    several = "teachers_each" in record.protocol
    teachers = [teacher.model if several else teacher.sha256 for teacher in record.teachers]
    return record.row, record.method.version, record.student, teachers


class CannotTrain(Exception):
    """A cell fails on this machine."""
