"""`kdbench run`: from a request to its plan, its records and its report."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kdbench.cell import cell_lock
from kdbench.errors import KdbenchError, writing
from kdbench.executor import Event, Failed, Finished, execute
from kdbench.plan import BASELINE, Cell, find_recorded, plan_cells, plan_teacher
from kdbench.progress import Display, line_printer
from kdbench.report import Report, as_json, reproduction, result_table
from kdbench.request import Request, parse_device, parse_pairs, parse_seeds, parse_settings, parse_workers
from kdbench.store import Entry, find_results, partial_folder, read_cell, read_results, set_aside
from kdbench.suite import Pair, Suite, digest, load_suite
from kdbench.teachers import Teacher, cache_folder, find_teacher

if TYPE_CHECKING:
    from kdbench.tracking import Mirror


@dataclass
class Outcome:
    """What became of the cells so far, by key."""

    entries: dict[str, Entry] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)


def run(request: Request, console: Console) -> int:
    """Plan, train what has no record, report.

    Returns:
        the exit code: 0, 1 if a cell failed, 130 after Ctrl-C.

    Raises:
        KdbenchError: anything that the user can mend.
    """
    outcome = Outcome()
    try:
        return answer(request, console, outcome)
    except KeyboardInterrupt:
        line_printer(console)(
            f"Stopped. {len(outcome.entries)} cells are recorded in {request.out}; "
            f"those in training resume from their last checkpoint.\nResume: {command_line()}"
        )
        return 130


def answer(request: Request, console: Console, outcome: Outcome) -> int:
    """`run` without its interruption; `outcome` is filled as cells end."""
    suite = load_suite(request.suite)
    if request.epochs is not None:
        suite = suite.with_epochs(request.epochs)
    if request.validate:
        suite = suite.with_validation()
    pairs, seeds = parse_pairs(suite, request.pairs), parse_seeds(suite, request.seeds)
    settings = parse_settings(request.settings, request.methods)
    devices = parse_device(request.device)
    workers = parse_workers(request.workers, devices)
    results = find_results(request.results)

    notice = line_printer(console)

    names = list(dict.fromkeys(pair.teacher for pair in pairs))
    teachers = {name: t for name in names if (t := find_teacher(suite, name, results, notice))}
    if missing := [name for name in names if name not in teachers]:
        notice(f"Teachers to train first: {', '.join(missing)}.")
        if request.dry_run:
            return 0
        teachers |= train_teachers(suite, missing, devices, workers, console)
    methods = {name: settings[name] for name in request.methods} | (
        {} if BASELINE in request.methods else {BASELINE: {}}
    )
    cells = plan_cells(suite, methods, pairs, seeds, teachers)
    if not request.force:
        outcome.entries |= find_recorded(cells, request.out, notice)
    todo = [cell for cell in cells if cell.key not in outcome.entries]
    notice(plan_text(request, suite, pairs, cells, todo, f" on {', '.join(devices)}, {workers} at a time"))
    if request.dry_run:
        return 0
    if request.force:
        for cell in todo:
            clear_place(cell, request.out)
    if todo:
        with open_mirror(request, notice) as mirror:
            train(todo, request.out, devices, workers, console, outcome, mirror)
    show_report(console, request, suite, Report(cells, outcome.entries, pairs, teachers), outcome, results)
    return 1 if outcome.failures else 0


def train(
    cells: Sequence[Cell],
    root: Path,
    devices: Sequence[str],
    workers: int,
    console: Console,
    outcome: Outcome,
    mirror: Mirror | NoMirror,
) -> None:
    """Run cells to their records under the live display; each is mirrored once it is on disk."""
    with Display(console, len(cells)) as display, closing(execute(cells, root, devices, workers)) as events:
        for event in events:
            display.show(event)
            collect(event, root, outcome, mirror)


def collect(event: Event, root: Path, outcome: Outcome, mirror: Mirror | NoMirror) -> None:
    """Keep what an event says of a cell's end."""
    if isinstance(event, Finished):
        entry = read_cell(event.folder)
        outcome.entries[event.cell.key] = entry
        mirror.add(entry, event.cell.teacher.evidence if event.cell.teacher else None)
    elif isinstance(event, Failed):
        outcome.failures.append(event)
        if event.details:
            folder = root / event.cell.suite.name / "failures"
            with writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                log = folder / f"{event.cell.method}-{event.cell.key[:16]}.log"
                log.write_text(f"{event.cell}\n{event.details}", encoding="utf-8")


class NoMirror:
    """Stands for MLflow where it is not wanted."""

    def __enter__(self) -> NoMirror:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def add(self, entry: Entry, teacher: object = None) -> bool:
        return False


def open_mirror(request: Request, notice: Callable[[str], None]) -> Mirror | NoMirror:
    """MLflow, unless the request is without it."""
    if not request.mlflow:
        return NoMirror()
    from kdbench.tracking import Mirror

    return Mirror(request.tracking_uri, notice, invocation_name(request))


def train_teachers(
    suite: Suite, models: Sequence[str], devices: Sequence[str], workers: int, console: Console
) -> dict[str, Teacher]:
    """Train teachers into the cache.

    Raises:
        KdbenchError: a teacher's training failed.
    """
    outcome, root = Outcome(), cache_folder()
    train([plan_teacher(suite, model) for model in models], root, devices, workers, console, outcome, NoMirror())
    if outcome.failures:
        failed = outcome.failures[0]
        raise KdbenchError(f"Teacher '{failed.cell.student}' cannot be trained: {failed.message}")
    found = {name: find_teacher(suite, name, None, lambda text: None) for name in models}
    return {name: teacher for name, teacher in found.items() if teacher is not None}


def clear_place(cell: Cell, root: Path) -> None:
    """Set aside what an earlier run left of a cell, unless another run is training it now."""
    folder = cell.folder(root)
    with writing(root), cell_lock(cell, root) as free:
        for path in (folder, partial_folder(folder)) if free else ():
            if path.exists():
                set_aside(path)


def plan_text(
    request: Request, suite: Suite, pairs: Sequence[Pair], cells: Sequence[Cell], todo: Sequence[Cell], where: str
) -> str:
    """The plan in a few lines."""
    counts = Counter(cell.method for cell in cells)
    parts = ", ".join(f"{count} {name}" for name, count in counts.items())
    seeds = dict.fromkeys(str(cell.seed) for cell in cells)
    recorded = f"{len(cells) - len(todo)} recorded in {request.out / suite.name}"
    lines = [
        f"Suite {suite.name}: {suite.title}; {suite.recipe.epochs} epochs, protocol {digest(suite.protocol())[:12]}",
        *(f"Off protocol, not for the board: {reason}" for reason in suite.off_protocol),
        f"Pairs {', '.join(map(str, pairs))}; seeds {', '.join(seeds)}",
        f"Cells {len(cells)} ({parts}): {recorded}, {len(todo)} to train{where if todo else ''}",
    ]
    return "\n".join(lines)


def show_report(
    console: Console, request: Request, suite: Suite, report: Report, outcome: Outcome, results: Path | None
) -> None:
    """Tables, whether accepted records were reproduced, where the records are, and what to do next."""
    notice = line_printer(console)
    found: list[dict[str, Any]] = []
    for row in report.rows:
        values = report.results(row)
        console.print()
        console.print(result_table(row, values))
        name = row.split("[")[0]
        accepted = read_results(results / suite.name / name) if results else []
        mine = [entry for entry in outcome.entries.values() if entry.record.row == row]
        said = reproduction(mine, accepted)
        if said:
            notice(f"{row}: {said}")
        elif accepted and not suite.off_protocol:
            notice(f"{row}: the accepted records are of other cells.")
        found.append({**as_json(row, values), "reproduction": said})
    lines = [f"\nRecords: {request.out / suite.name}"]
    lines += [f"Failed: {failed.cell}: {failed.message}" for failed in outcome.failures]
    if outcome.failures:
        lines.append(f"Tracebacks: {request.out / suite.name / 'failures'}. Run the same command again to retry.")
    elif request.mlflow and not request.tracking_uri and "MLFLOW_TRACKING_URI" not in os.environ:
        lines.append("Curves: mlflow ui --backend-store-uri sqlite:///mlflow.db")
    lines.append("Next: kdbench list methods, or kdbench show METHOD")
    notice("\n".join(lines))
    if request.as_json:
        failures = [{"cell": str(f.cell), "key": f.cell.key, "message": f.message} for f in outcome.failures]
        json.dump(
            {"suite": suite.name, "off_protocol": list(suite.off_protocol), "methods": found, "failures": failures},
            sys.stdout,
        )
        sys.stdout.write("\n")


def invocation_name(request: Request) -> str:
    return f"{','.join(request.methods)} {datetime.now(UTC).isoformat(timespec='seconds')}"


def command_line() -> str:
    """The command that carries on: what was typed, without --force."""
    return shlex.join(["kdbench", *(word for word in sys.argv[1:] if word != "--force")])
