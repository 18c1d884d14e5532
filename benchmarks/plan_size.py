"""What a large plan takes: PYTHONPATH=. python benchmarks/plan_size.py --cells 1000 2000 4000

Plans so many cells of the suite `digits`, all of its pairs and methods with ever more seeds, writes a made-up record
for each, and times what `kdbench run` does with them before and after training: plan, find records, report.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import rmtree

from benchmarks.synthetic_records import make_entry, make_method
from kdbench.commands.report import Report
from kdbench.plugins import list_plugins
from kdbench.records.store import finish_cell
from kdbench.running.plan import Cell, find_recorded, plan_cells, teachers_of
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suite import Suite
from kdbench.suites import load_suite, load_test_labels


@dataclass(frozen=True)
class Took:
    """Seconds of each part, and the process's peak memory after them in MB."""

    cells: int
    plan: float
    find: float
    report: float
    memory: float


def say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


def measure(suite: Suite, methods: Sequence[str], seeds: int, teachers: dict[str, Teacher], root: Path) -> Took:
    """All cells of some methods and seeds."""
    started = time.perf_counter()
    cells = plan_cells(suite, {name: {} for name in methods}, suite.pairs, range(seeds), teachers)
    keys = [cell.key for cell in cells]
    planned = time.perf_counter()
    write_records(suite, cells, root)
    written = time.perf_counter()
    entries = find_recorded(cells, root, say)
    found = time.perf_counter()
    report = Report(suite, cells, entries, suite.pairs, teachers)
    for row in report.rows:
        report.notes(row, report.results(row))
    ended = time.perf_counter()
    assert list(entries) == keys
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return Took(len(cells), planned - started, found - written, ended - found, peak)


def write_records(suite: Suite, cells: Sequence[Cell], root: Path) -> None:
    """A made-up record of each cell that has none."""
    labels = load_test_labels(suite)
    for cell in cells:
        folder = cell.folder(root)
        if not folder.is_dir():
            method = make_method(cell.method, version=cell.method_version, source_sha256=cell.source_sha256)
            place = (cell.teacher_name, cell.student)
            entry = make_entry(suite, labels, method, place, cell.seed, 0.9, key=cell.key, params=cell.params)
            finish_cell(folder, entry.record, entry.evidence)


def main() -> None:
    """Print a line a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=[1000, 2000, 4000])
    options = parser.parse_args()
    suite, methods = load_suite("digits"), sorted(list_plugins())
    names = teachers_of(suite, methods, suite.pairs, range(max(suite.seeds, suite.teachers_each)))
    teachers = {name: teacher for name in names if (teacher := find_teacher(suite, name, None, say))}
    each = len(plan_cells(suite, {name: {} for name in methods}, suite.pairs, [0], teachers))
    root = Path(tempfile.mkdtemp())
    try:
        sys.stdout.write("  cells  plan s  find s  report s  ms a cell  peak memory MB\n")
        for wanted in sorted(options.cells):
            took = measure(suite, methods, max(1, round(wanted / each)), teachers, root)
            a_cell = 1000 * (took.plan + took.find + took.report) / took.cells
            line = f"{took.cells:7}{took.plan:8.2f}{took.find:8.2f}{took.report:10.2f}{a_cell:11.2f}{took.memory:16.0f}"
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    finally:
        rmtree(root)


if __name__ == "__main__":
    main()
