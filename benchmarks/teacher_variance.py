"""How results vary with the teacher: PYTHONPATH=. python benchmarks/teacher_variance.py --suite digits --out FOLDER

Where a suite has one teacher of each architecture, its intervals are of seeds and test images. Here the teachers of
several seeds each teach students of several seeds. The spread of a method's means over teachers, less what its seeds
explain, is the teachers' own; and so of its difference from KD under the same teacher. Run again, it goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console

from kdbench.commands.request import parse_data_dir, parse_device, parse_execution, parse_pairs, parse_workers
from kdbench.console import line_printer, open_console
from kdbench.errors import KdbenchError
from kdbench.plugins import load_method
from kdbench.records.rows import KD
from kdbench.records.store import Entry, weights_name
from kdbench.running.engines.events import Machine
from kdbench.running.fleet import Outcome, train
from kdbench.running.plan import Cell, find_recorded, plan_cells, plan_teacher, teachers_of
from kdbench.running.progress import bind_with_progress, load_with_progress
from kdbench.running.teachers import Teacher
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Pair
from kdbench.teacher_names import teacher_name
from kdbench.training.limit import TimeLimit


@dataclass(frozen=True)
class Spread:
    """Standard deviations, in points: of the teachers' effect, 0 where seeds explain it all, and of the seeds."""

    teachers: float
    seeds: float


def spread_of(accuracies: np.ndarray) -> Spread:
    """Components of a random one-way layout, accuracies being (R, S): of S students under each of R teachers."""
    within = float(accuracies.var(axis=1, ddof=1).mean())
    between = float(accuracies.mean(axis=1).var(ddof=1)) - within / accuracies.shape[1]
    return Spread(max(between, 0.0) ** 0.5, within**0.5)


def trained(cells: Sequence[Cell], root: Path, machine: Machine, console: Console) -> dict[str, Entry]:
    """The cells' records by key, those that are missing trained.

    Raises:
        KdbenchError: one failed.
    """
    outcome = Outcome(find_recorded(cells, root, line_printer(console)))
    train([cell for cell in cells if cell.key not in outcome.entries], root, machine, console, outcome)
    if outcome.failures:
        raise KdbenchError(f"{outcome.failures[0].cell} failed: {outcome.failures[0].message}")
    return outcome.entries


def taught(
    suite: Suite, models: Sequence[str], seeds: int, root: Path, machine: Machine, console: Console
) -> list[dict[str, Teacher]]:
    """For each seed the teachers, by model."""
    cells = [plan_teacher(suite, teacher_name(model, seed)) for seed in range(seeds) for model in models]
    entries = trained(cells, root, machine, console)
    found: list[dict[str, Teacher]] = [{} for _ in range(seeds)]
    for cell in cells:
        entry = entries[cell.key]
        main, evidence = entry.record.main, entry.evidence
        assert main.sha256 is not None
        assert evidence is not None
        path = entry.folder / weights_name(cell.student, main.sha256)
        found[cell.seed][cell.student] = Teacher(cell.student, path, main.sha256, entry.record, evidence)
    return found


def measure(
    suite: Suite,
    pairs: Sequence[Pair],
    methods: Sequence[str],
    teachers: Sequence[Mapping[str, Teacher]],
    seeds: int,
    root: Path,
    machine: Machine,
    console: Console,
) -> dict[tuple[str, Pair], np.ndarray]:
    """(R, S) accuracies in percent of each method and pair."""
    plans = [plan_cells(suite, {method: {} for method in methods}, pairs, range(seeds), known) for known in teachers]
    entries = trained([cell for cells in plans for cell in cells], root, machine, console)
    found: dict[tuple[str, Pair], np.ndarray] = {}
    for method in methods:
        for pair in pairs:
            place = (method, pair.teacher, pair.student)
            own = [[c for c in cells if (c.method, c.teacher_name, c.student) == place] for cells in plans]
            found[method, pair] = np.array([[entries[c.key].record.accuracy for c in cells] for cells in own])
    return found


def lines(found: Mapping[tuple[str, Pair], np.ndarray], teachers: Sequence[Mapping[str, Teacher]]) -> Iterator[str]:
    """The table: each method on each pair, and on their mean."""
    pairs = list(dict.fromkeys(pair for _, pair in found))
    methods = list(dict.fromkeys(method for method, _ in found))
    for model in teachers[0]:
        tops = " ".join(f"{known[model].record.main.metrics.top1:.2f}" for known in teachers)
        yield f"teacher {model}, by its seed: {tops}"
    yield f"{'':32}{'mean':>8}{'teachers':>10}{'seeds':>8}{'over KD':>10}{'teachers':>10}{'seeds':>8}"
    for where, part in [*((str(pair), [pair]) for pair in pairs), ("all pairs", pairs)]:
        reference = np.mean([found[KD, pair] for pair in part], axis=0)
        for method in methods:
            values = np.mean([found[method, pair] for pair in part], axis=0)
            own = spread_of(values)
            line = f"{where + ' ' + method:32}{values.mean():8.2f}{own.teachers:10.2f}{own.seeds:8.2f}"
            if method != KD:
                gap = spread_of(values - reference)
                line += f"{(values - reference).mean():+10.2f}{gap.teachers:10.2f}{gap.seeds:8.2f}"
            yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--suite", default="digits")
    parser.add_argument("--pair", action="append", default=[], help="TEACHER:STUDENT; repeatable; by default all")
    parser.add_argument("--methods", default="dkd,fitnets", help="by commas, beside kd")
    parser.add_argument("--teachers", type=int, default=5, help="seeds of each teacher")
    parser.add_argument("--seeds", type=int, default=5, help="of each student")
    parser.add_argument("--out", type=Path, required=True, help="where records go, none of them for the board")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", default="auto")
    parser.add_argument("--data-dir", type=Path)
    options = parser.parse_args()
    if min(options.teachers, options.seeds) < 2:
        raise KdbenchError("--teachers and --seeds: two or more.")

    console, devices = open_console(), parse_device(options.device)
    parse_data_dir(options.data_dir)
    workers = parse_workers(options.workers, devices)
    machine = Machine(devices, workers, parse_execution(None, devices), TimeLimit(), stored=True)
    suite = bind_with_progress(load_suite(options.suite), console).model_copy(update={"teachers_each": 1})
    pairs = parse_pairs(suite, options.pair)
    methods = list(dict.fromkeys([KD, *options.methods.split(",")]))
    for method in methods:
        if not load_method(method).reads_teacher():
            raise KdbenchError(f"--methods {method}: it reads no teacher.")
    plan_cells(suite, {method: {} for method in methods}, pairs, range(1), {})  # what is wrong is told before training
    load_with_progress(suite, console)
    models = teachers_of(suite, methods, pairs, [0])
    teachers = taught(suite, models, options.teachers, options.out, machine, console)
    found = measure(suite, pairs, methods, teachers, options.seeds, options.out, machine, console)
    for line in lines(found, teachers):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    try:
        main()
    except KdbenchError as error:
        sys.stderr.write(f"teacher_variance: {error}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.stderr.write("teacher_variance: stopped. Run the same command again to go on.\n")
        sys.exit(130)
