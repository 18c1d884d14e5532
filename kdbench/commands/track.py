"""`kdbench track`: mirror a folder of records to MLflow, later."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from kdbench.console import line_printer
from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.records.agreement import same_images
from kdbench.records.store import find_results, read_runs
from kdbench.running.mlflow_mirror import Mirror
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suite import list_suites, load_suite


def track_runs(runs: Path, uri: str | None, results: Path | None, console: Console) -> int:
    """Mirror every record below `runs` once; returns the exit code.

    Raises:
        KdbenchError: no such folder, or no record in it.
    """
    if not runs.is_dir():
        raise KdbenchError(f"No folder {runs}. Name the folder that 'kdbench run' wrote its records to.")

    notice = line_printer(console)

    found, mirrored, found_results = 0, 0, find_results(results)
    teachers: dict[tuple[str, str | None, str], Teacher | None] = {}
    with Mirror(uri, notice, f"track {runs.name}") as mirror:
        for entry in read_runs(runs):
            if isinstance(entry, KdbenchError):
                notice(str(entry))
                continue
            found += 1
            record = entry.record
            place = (record.suite, record.teacher, digest(record.protocol.get("data")))
            if place not in teachers:
                teachers[place] = None
                if record.teacher is not None and record.suite in list_suites():
                    suite = load_suite(record.suite).bound_to(record.protocol)
                    teachers[place] = find_teacher(suite, record.teacher, found_results, notice)
            teacher = teachers[place]
            its_own = teacher is not None and teacher.sha256 == record.teachers[0].sha256
            comparable = teacher is not None and its_own and same_images(record, teacher.record)
            mirrored += mirror.add(entry, teacher.evidence if teacher is not None and comparable else None)
        written = mirror.written
    if not found:
        raise KdbenchError(f"No records below {runs}. 'kdbench run' writes them to runs/<suite>/<method>/<key>.")
    notice(f"{found} records: {written} written, {mirrored - written} were there already.")
    return 0 if mirrored == found else 1
