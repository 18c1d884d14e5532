"""Training what a plan lacks, cells or teachers, under the live display."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from kdbench.cache import cache_folder
from kdbench.console import line_printer
from kdbench.errors import KdbenchError, writing
from kdbench.files import check_folder, set_aside
from kdbench.layout import FAILURES
from kdbench.records.agreement import same_images
from kdbench.records.store import Entry, read_cell
from kdbench.records.successors import ask_again, partial_folder
from kdbench.running.cell import cell_lock
from kdbench.running.engines import load_engine
from kdbench.running.engines.events import Event, Failed, Finished, Machine
from kdbench.running.plan import Cell, plan_teacher
from kdbench.running.progress import Display
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suite import Suite
from kdbench.teacher_names import teacher_name

if TYPE_CHECKING:
    from kdbench.running.mlflow_mirror import Mirror


@dataclass
class Outcome:
    """What became of the cells so far, by key."""

    entries: dict[str, Entry] = field(default_factory=dict)
    failures: list[Failed] = field(default_factory=list)


def train(
    cells: Sequence[Cell],
    root: Path,
    machine: Machine,
    console: Console,
    outcome: Outcome,
    mirror: Mirror | None = None,
) -> None:
    """Run cells to their records; each that was trained here is mirrored once it is on disk.

    Raises:
        KdbenchError: no such engine, or no further cell could succeed.
    """
    events = load_engine(machine.engine)(cells, root, machine)
    with Display(console, len(cells)) as display, closing(events):
        for event in events:
            display.show(event)
            collect(event, root, outcome, mirror)


def collect(event: Event, root: Path, outcome: Outcome, mirror: Mirror | None) -> None:
    """Keep what an event says of a cell's end."""
    if isinstance(event, Finished):
        entry = read_cell(event.folder)
        outcome.entries[event.cell.key] = entry
        if mirror is not None and event.here:
            teacher = event.cell.teacher
            comparable = teacher is not None and same_images(entry.record, teacher.record)
            mirror.add(entry, teacher.evidence if teacher is not None and comparable else None)
    elif isinstance(event, Failed):
        outcome.failures.append(event)
        if event.details:
            log = failure_log(root, event.cell)
            with writing(log):
                log.parent.mkdir(parents=True, exist_ok=True)
                log.write_text(f"{event.cell}\n{event.details}", encoding="utf-8")


def failure_log(root: Path, cell: Cell) -> Path:
    """Where the traceback of a failed cell lies."""
    return root / cell.suite.name / FAILURES / f"{cell.method}-{cell.key[:16]}.log"


def train_teachers(
    suite: Suite, names: Sequence[str], machine: Machine, console: Console, again: bool = False
) -> dict[str, Teacher]:
    """Train teachers into the cache.

    Args:
        again: those that are there too.

    Returns:
        all of them, but for those that the machine's limit left no time for.

    Raises:
        KdbenchError: a teacher's training failed, or the cache cannot be written.
    """
    check_folder(cache_folder(), "KDBENCH_CACHE")
    outcome, cells = Outcome(), [plan_teacher(suite, name) for name in names]
    for cell in cells if again else ():
        clear_place(cell, cache_folder())
    train(cells, cache_folder(), machine, console, outcome)
    if outcome.failures:
        cell, message = outcome.failures[0].cell, outcome.failures[0].message
        raise KdbenchError(f"Teacher '{teacher_name(cell.student, cell.seed)}' cannot be trained: {message}")
    found: dict[str, Teacher] = {}
    for name in (name for name, cell in zip(names, cells, strict=True) if cell.key in outcome.entries):
        teacher = find_teacher(suite, name, None, line_printer(console))
        if teacher is None:
            raise KdbenchError(
                f"Teacher '{name}' was trained and is not found in {cache_folder()}. Run the command again."
            )
        found[name] = teacher
    return found


def clear_place(cell: Cell, root: Path) -> None:
    """Have a cell trained from its start, unless another run is training it now; its record stays until then."""
    folder = cell.folder(root)
    partial = partial_folder(folder)
    with writing(root), cell_lock(cell, root) as free:
        if free and any(partial.glob("checkpoint-*")):
            set_aside(partial)
        if free and folder.exists():
            with suppress(KdbenchError):  # a corrupt one is set aside as the training begins
                ask_again(folder, read_cell(folder).record)
