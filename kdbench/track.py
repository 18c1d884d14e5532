"""`kdbench track`: mirror a folder of records to MLflow, later."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from kdbench.errors import KdbenchError
from kdbench.progress import line_printer
from kdbench.store import find_results, read_runs
from kdbench.suite import list_suites, load_suite
from kdbench.teachers import find_teacher
from kdbench.tracking import Mirror


def track_runs(runs: Path, uri: str | None, results: Path | None, console: Console) -> int:
    """Mirror every record below `runs` once; returns the exit code.

    Raises:
        KdbenchError: no such folder, or no record in it.
    """
    if not runs.is_dir():
        raise KdbenchError(f"No folder {runs}. Name the folder that 'kdbench run' wrote its records to.")

    notice = line_printer(console)

    found, mirrored, found_results = 0, 0, find_results(results)
    evidence = {}
    with Mirror(uri, notice, f"track {runs.name}") as mirror:
        for entry in read_runs(runs):
            if isinstance(entry, KdbenchError):
                notice(str(entry))
                continue
            found += 1
            record = entry.record
            place = (record.suite, record.teacher)
            if place not in evidence:
                teacher = None
                if record.teacher and record.suite in list_suites():
                    teacher = find_teacher(load_suite(record.suite), record.teacher, found_results, notice)
                evidence[place] = teacher.evidence if teacher and teacher.sha256 == record.teachers[0].sha256 else None
            mirrored += mirror.add(entry, evidence[place])
        written = mirror.written
    if not found:
        raise KdbenchError(f"No records below {runs}. 'kdbench run' writes them to runs/<suite>/<method>/<key>.")
    notice(f"{found} records: {written} written, {mirrored - written} were there already.")
    return 0 if mirrored == found else 1
