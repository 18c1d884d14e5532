"""`kdbench track`: mirror a folder of records to MLflow, later."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from kdbench.commands.own_suites import suite_of
from kdbench.console import Notice, line_printer
from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.networks.packages import with_sources
from kdbench.records.agreement import same_images
from kdbench.records.record import Record
from kdbench.records.store import find_results, read_runs
from kdbench.running.mlflow_mirror import Mirror
from kdbench.running.own_weights import with_own_weights
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suites import load_suite


def track_runs(runs: Path, uri: str | None, results: Path | None, suite_name: str | None, console: Console) -> int:
    """Mirror every record below `runs` once; returns the exit code.

    Args:
        suite_name: the file of one's own suite, if it does not lie beside `runs`.

    Raises:
        KdbenchError: no such folder, or no record in it.
    """
    if not runs.is_dir():
        raise KdbenchError(f"No folder {runs}. Name the folder that 'kdbench run' wrote its records to.")

    notice = line_printer(console)

    found, mirrored, found_results = 0, 0, find_results(results)
    given = load_suite(suite_name).name if suite_name else None
    teachers: dict[tuple[str, str, str], Teacher | None] = {}

    def teacher_of(record: Record) -> Teacher | None:
        if not record.teachers:
            return None
        place = (record.suite, record.teachers[0].sha256, digest(record.protocol.get("data")))
        if place not in teachers:
            own = suite_name if record.suite == given else None
            teachers[place] = known_teacher(record, own, runs, found_results, notice)
        return teachers[place]

    with Mirror(uri, notice, f"track {runs.name}") as mirror:
        for entry in read_runs(runs):
            if isinstance(entry, KdbenchError):
                notice(str(entry))
                continue
            found += 1
            record, teacher = entry.record, teacher_of(entry.record)
            its_own = teacher is not None and teacher.sha256 == record.teachers[0].sha256
            comparable = teacher is not None and its_own and same_images(record, teacher.record)
            mirrored += mirror.add(entry, teacher.evidence if teacher is not None and comparable else None)
        written = mirror.written
    if not found:
        raise KdbenchError(f"No records below {runs}. 'kdbench run' writes them to runs/<suite>/<method>/<key>.")
    notice(f"{found} records: {written} written, {mirrored - written} were there already.")
    return 0 if mirrored == found else 1


def known_teacher(
    record: Record, suite_name: str | None, runs: Path, results: Path | None, notice: Notice
) -> Teacher | None:
    """The teacher of a record, with whose predictions its own are compared; where it is not here, `notice` is told."""
    try:
        suite = suite_of(record.suite, suite_name, runs).bound_to(record.protocol)
        if (model := record.teacher or "") not in suite.models:
            raise KdbenchError(f"Suite '{suite.name}' has no teacher '{model}'.")
        name = suite.teacher_of(model, record.seed)
        return find_teacher(with_own_weights(with_sources(suite)), name, results, notice)
    except KdbenchError as error:
        notice(f"{error} Its records go without the agreement with their teachers.")
        return None
