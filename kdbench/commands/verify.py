"""`kdbench verify RECORD`: how far a record can be believed, checked on this machine.

Level 1 recomputes the metrics from the evidence and the suite's own labels, for a suite of one's own those of its data,
and has the suite's student, with the record's weights where they are kept, answer the test images. Level 2 trains the
first epoch again and compares the loss terms with the record's curve; a student of distilled data learns from the
record's images. Level 3 trains the cell again, and makes such images again: its predictions are identical, or, with all
seeds of its pair trained again, the interval of the paired difference holds 0.
"""

from __future__ import annotations

import random
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kdbench.commands.own_suites import bound, known_test_labels, suite_of
from kdbench.commands.request import parse_device
from kdbench.console import Notice, line_printer
from kdbench.errors import KdbenchError
from kdbench.records.agreement import Reproduction, answers_of, reproduction
from kdbench.records.curves import Curve, read_curves
from kdbench.records.gate import record_problems
from kdbench.records.reader import read_results
from kdbench.records.record import Record
from kdbench.records.store import CELL_FOLDER, CURVES, RECORDS, VERIFIED, Entry, find_results, read_cell, read_runs
from kdbench.records.verification import Verification, add_verified
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suite import Suite
from kdbench.suites import list_suites, load_test_labels
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


def verify(
    record: str,
    level: int,
    suite_name: str | None,
    results: Path | None,
    device: str,
    console: Console,
    sample: int | None = None,
    by: str | None = None,
) -> int:
    """Verify records up to a level, and store the level that each reached; returns the exit code, 1 if one did not.

    Args:
        record: one, as `find_target` has it; or, with `sample`, the folder of a method in `results/`.
        sample: how many records, drawn at random.
        by: who verifies them, for the board.

    Raises:
        KdbenchError: no such record, or one that this installation cannot train again.
    """
    notice, device = line_printer(console), parse_device(device)[0]
    targets = [find_target(record)] if sample is None else draw(Path(record), sample)
    codes: list[int] = []
    for target in targets:
        if target.entry.evidence is None:
            raise KdbenchError(f"'{record}' is not applicable to its pair: there is nothing to verify.")
        if sample is not None:
            notice(f"{target.folder / RECORDS}:{target.entry.record.key[:16]}")
        codes.append(verify_one(target, level, suite_name, results, device, by, console))
    return max(codes)


def draw(folder: Path, count: int) -> list[Target]:
    """Records of a method, drawn at random: whoever submits them cannot know which.

    Raises:
        KdbenchError: there are none.
    """
    entries = read_results(folder)
    done = [entry for entry in entries if entry.evidence is not None and not entry.record.is_teacher]
    if not done:
        raise KdbenchError(f"No trained records in {folder}. Name the folder of a method, such as results/digits/kd.")
    drawn = random.SystemRandom().sample(done, min(count, len(done)))
    return [Target(entry, entries, folder) for entry in drawn]


def verify_one(
    target: Target,
    level: int,
    suite_name: str | None,
    results: Path | None,
    device: str,
    by: str | None,
    console: Console,
) -> int:
    """Verify one record and store the level that it reached; returns the exit code."""
    notice = line_printer(console)
    suite = suite_of(target.entry.record.suite, suite_name, target.folder.parent.parent)
    if suite.name in list_suites():
        load_test_labels(suite)  # one without them cannot be verified, whether its data are here or not
    suite = bound(suite)
    found = find_results(results)
    reached, outcome, verified = 0, "", [target.entry]
    problem = check_evidence(target, suite, found, notice)
    if problem is None:
        reached, outcome = 1, "its metrics follow from its evidence"
        notice(f"Level 1 holds: {outcome}.")
    if reached == 1 and level >= 2:
        cell = cell_of(target.entry, suite, found, notice)
        if level == 2:
            problem, said = replay(target, cell, device, notice)
        else:
            problem, said, verified = train_again(target, suite, found, device, console)
        if problem is None:
            reached, outcome = level, said
            notice(f"Level {level} holds: {outcome}.")
    if problem is not None:
        notice(f"Level {level if reached else 1} does not hold: {problem}.")
    if reached:
        add_verified(target.folder, [statement(entry, reached, outcome, device, by) for entry in verified])
        notice(f"Level {reached} is stored in {target.folder / VERIFIED}")
    return 0 if reached == level else 1


def find_target(text: str) -> Target:
    """The record that `FOLDER` (a cell's in `runs/`) or `FILE:KEY` (in `results/`, by the start of its key) names.

    Raises:
        KdbenchError: none, or several.
    """
    path = Path(text)
    if path.is_dir() and CELL_FOLDER.fullmatch(path.name):
        entry, method = read_cell(path), path.parent
        runs = method.parent.parent
        beside = [e for e in read_runs(runs, method.parent.name, method.name) if isinstance(e, Entry)]
        return Target(entry, beside, method)
    place, _, prefix = text.rpartition(":")
    folder = Path(place).parent if place.endswith(".jsonl") else Path(place)
    entries = read_results(folder) if place else []
    named = [entry for entry in entries if prefix and entry.record.key.startswith(prefix)]
    if len(named) != 1:
        raise KdbenchError(
            f"{len(named)} records are named by '{text}'. Name a cell's folder in runs/, or a line of results as "
            "results/digits/kd/records.jsonl:KEY, with the first digits of its key."
        )
    return Target(named[0], entries, folder)


def check_evidence(target: Target, suite: Suite, results: Path | None, notice: Notice) -> str | None:
    """Level 1; returns what does not hold."""
    teachers = {t.sha256: name for name in suite.teacher_names if (t := find_teacher(suite, name, results, notice))}
    from kdbench.running.stored_weights import weights_problem

    entry = target.entry
    labels = known_test_labels(suite)
    given = (entry.record, entry.evidence, suite, labels, teachers, curve_of(target), entry.others)
    problems = record_problems(*given, images=entry.images)
    return next(problems, None) or weights_problem(entry, suite)


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
    """What all seeds of a pair have in common, whether their teachers' outputs were stored or live."""
    return record.row, record.method.version, record.student, [teacher.sha256 for teacher in record.teachers]


class CannotTrain(Exception):
    """A cell fails on this machine."""


def statement(entry: Entry, level: int, outcome: str, device: str, by: str | None) -> Verification:
    """What is stored of a record."""
    import torch

    from kdbench.environment import environment

    return Verification.model_validate(
        {
            "key": entry.record.key,
            "record_sha256": entry.record.sha256,
            "level": level,
            "outcome": outcome[:300],
            "date": datetime.now(UTC).date().isoformat(),
            "environment": environment(torch.device(device), "eager"),
            "by": by,
        }
    )
