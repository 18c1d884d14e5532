"""`kdbench teach`: find or train the teachers of a suite, and export them with their records."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from kdbench.cache import cache_folder
from kdbench.commands.resuming import NOT_FINISHED, command_line, is_begun, not_finished_line
from kdbench.console import line_printer
from kdbench.errors import KdbenchError, did_you_mean, writing
from kdbench.records.reader import read_results
from kdbench.records.store import Entry, find_results, weights_name, write_results
from kdbench.records.successors import is_asked_again
from kdbench.running.engines.events import Machine
from kdbench.running.fleet import train_teachers
from kdbench.running.last_batch import check_last_batches
from kdbench.running.plan import plan_teacher
from kdbench.running.progress import bind_with_progress, load_with_progress
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suites import load_suite
from kdbench.teacher_names import split_teacher


def teach(
    suite_name: str,
    models: tuple[str, ...],
    out: Path | None,
    machine: Machine,
    results: Path | None,
    force: bool,
    console: Console,
) -> int:
    """Make sure that the teachers are there; returns the exit code.

    Raises:
        KdbenchError: an unknown suite or model, or a folder that cannot be written.
    """
    suite = load_suite(suite_name)
    known = suite.teachers_to_choose()
    for model in models:
        if model not in known:
            raise KdbenchError(f"Suite '{suite.name}' has no teacher '{model}' (--model).{did_you_mean(model, known)}")
    asked = dict.fromkeys(name for model in models for name in known if model in (name, split_teacher(name)[0]))
    names, found_results = list(asked) or known, find_results(results)

    notice = line_printer(console)

    suite = bind_with_progress(suite, console)
    here = {} if force else {n: t for n in names if (t := find_teacher(suite, n, found_results, notice))}
    found = {name: t for name, t in here.items() if not is_asked_again(t.path.parent, t.record)}
    missing = [name for name in names if name not in found]
    check_last_batches(suite, (), missing)
    try:
        if missing and machine.limit.suffices():
            load_with_progress(suite, console)
        trained = train_teachers(suite, missing, machine, console, force) if missing else {}
    except KeyboardInterrupt:
        notice("Stopped. What was in training resumes from its last checkpoint: run the command again.")
        return 130
    taught = {name: (found | trained)[name] for name in names if name in found or name in trained}
    for name, teacher in taught.items():
        made = "loaded, evaluated and kept" if suite.loads(name) else "trained, and kept"
        where = made if name in trained else "found"
        notice(f"{name}: {teacher.record.main.metrics.top1:.2f} % top-1, {where} at {teacher.path}")
    if left := [name for name in names if name not in taught]:
        begun = sum(is_begun(plan_teacher(suite, name), cache_folder()) for name in left)
        notice(not_finished_line("teachers", len(taught), begun, len(left) - begun, command_line()))
        return NOT_FINISHED
    if out is not None:
        export(list(taught.values()), out)
        notice(f"Written with their records to {out}")
    return 0


def export(teachers: Sequence[Teacher], out: Path) -> None:
    """Write teachers and their records into a folder, beside others of the same protocol that it has."""
    new = {(t.record.student, t.record.seed): t.record for t in teachers}
    protocols = {record.fingerprint for record in new.values()}
    kept = [e for e in read_results(out, with_curves=True) if e.record.fingerprint in protocols]
    kept = [e for e in kept if (e.record.student, e.record.seed) not in new]
    write_results(out, [*kept, *(Entry(t.record, t.evidence, out) for t in teachers)])
    with writing(out):
        for teacher in teachers:
            shutil.copyfile(teacher.path, out / weights_name(teacher.model, teacher.sha256))
