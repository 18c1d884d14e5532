"""`kdbench run`: from a request to its plan, its records and its report."""

from __future__ import annotations

import json
import os
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from kdbench.errors import KdbenchError, did_you_mean, writing
from kdbench.executor import Event, Failed, Finished, execute
from kdbench.plan import BASELINE, Cell, find_recorded, plan_cells, plan_teacher
from kdbench.plugins import load_method
from kdbench.progress import Display
from kdbench.report import Report, as_json, reproduction, result_table
from kdbench.store import Entry, find_results, partial_folder, read_cell, read_results, read_runs, set_aside
from kdbench.suite import Pair, Suite, digest, load_suite
from kdbench.teachers import Teacher, cache_folder, find_teacher

if TYPE_CHECKING:
    from kdbench.tracking import Mirror


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None and empty stand for the suite's own."""

    suite: str
    methods: tuple[str, ...]
    pairs: tuple[str, ...] = ()
    seeds: str | None = None
    epochs: int | None = None
    validate: bool = False
    settings: tuple[str, ...] = ()
    device: str = "auto"
    workers: str = "auto"
    out: Path = Path("runs")
    results: Path | None = None
    dry_run: bool = False
    force: bool = False
    tracking_uri: str | None = None
    mlflow: bool = True
    as_json: bool = False


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

    def notice(text: str) -> None:
        console.print(text, markup=False, highlight=False)

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
    entries = list(recorded_entries(request.out, suite, notice))
    outcome = Outcome({} if request.force else find_recorded(cells, entries))
    todo = [cell for cell in cells if cell.key not in outcome.entries]
    show_plan(console, request, suite, cells, todo, pairs, seeds, devices, workers)
    if request.dry_run:
        return 0
    if request.force:
        for cell in todo:
            clear_place(cell, request.out)
    try:
        if todo:
            with open_mirror(request, notice) as mirror:
                train(todo, request.out, devices, workers, console, outcome, mirror)
    except KeyboardInterrupt:
        kept = sum(cell.key in outcome.entries for cell in cells)
        notice(
            f"Stopped. {kept} of {len(cells)} cells are recorded in {request.out / suite.name}; "
            f"those in training resume from their last checkpoint.\nResume: {command_line()}"
        )
        return 130
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


def recorded_entries(runs: Path, suite: Suite, notice: Callable[[str], None]) -> Iterator[Entry]:
    """What `runs/` holds for a suite; corrupt records are named, and trained again where a cell needs them."""
    for found in read_runs(runs, suite.name):
        if isinstance(found, KdbenchError):
            notice(str(found))
        else:
            yield found


def clear_place(cell: Cell, root: Path) -> None:
    """Set aside what an earlier run left of a cell."""
    folder = cell.folder(root)
    for path in (folder, partial_folder(folder)):
        if path.exists():
            with writing(root):
                set_aside(path)


def show_plan(
    console: Console,
    request: Request,
    suite: Suite,
    cells: Sequence[Cell],
    todo: Sequence[Cell],
    pairs: Sequence[Pair],
    seeds: Sequence[int],
    devices: Sequence[str],
    workers: int,
) -> None:
    """The plan in a few lines."""
    counts = {name: sum(cell.method == name for cell in cells) for name in dict.fromkeys(c.method for c in cells)}
    parts = ", ".join(f"{count} {name}" for name, count in counts.items())
    lines = [
        f"Suite {suite.name}: {suite.title}; {suite.recipe.epochs} epochs, protocol {suite_id(suite)}",
        f"Pairs {', '.join(map(str, pairs))}; seeds {', '.join(map(str, seeds))}",
        f"Cells {len(cells)} ({parts}): {len(cells) - len(todo)} recorded in {request.out / suite.name}, {len(todo)} to train",
    ]
    if suite.off_protocol:
        lines.insert(1, f"Off protocol, not for the board: {'; '.join(suite.off_protocol)}")
    if todo:
        lines.append(f"On {', '.join(devices)} with {workers} worker{'s' if workers > 1 else ''}")
    console.print("\n".join(lines), markup=False, highlight=False)


def suite_id(suite: Suite) -> str:
    return digest(suite.protocol())[:12]


def show_report(
    console: Console, request: Request, suite: Suite, report: Report, outcome: Outcome, results: Path | None
) -> None:
    """Tables, whether accepted records were reproduced, where the records are, and what to do next."""
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
            console.print(f"{row}: {said}", markup=False, highlight=False)
        elif accepted and not suite.off_protocol:
            console.print(f"{row}: the accepted records are of other cells.", markup=False, highlight=False)
        found.append({**as_json(row, values), "reproduction": said})
    lines = [f"\nRecords: {request.out / suite.name}"]
    for failed in outcome.failures:
        lines.append(f"Failed: {failed.cell}: {failed.message}")
    if outcome.failures:
        lines.append(f"Tracebacks: {request.out / suite.name / 'failures'}. Run the same command again to retry.")
    elif request.mlflow and not request.tracking_uri and "MLFLOW_TRACKING_URI" not in os.environ:
        lines.append("Curves: mlflow ui --backend-store-uri sqlite:///mlflow.db")
    lines.append("Next: kdbench list methods, or kdbench show METHOD")
    console.print("\n".join(lines), markup=False, highlight=False)
    if request.as_json:
        failures = [{"cell": str(f.cell), "key": f.cell.key, "message": f.message} for f in outcome.failures]
        json.dump({"suite": suite.name, "off_protocol": list(suite.off_protocol), "methods": found, "failures": failures}, sys.stdout)
        sys.stdout.write("\n")


def parse_pairs(suite: Suite, wanted: Sequence[str]) -> list[Pair]:
    """The suite's pairs, or those of them that are wanted."""
    known = {str(pair): pair for pair in suite.pairs}
    for name in wanted:
        if name not in known:
            raise KdbenchError(f"Suite '{suite.name}' has no pair '{name}' (--pair).{did_you_mean(name, known)}")
    return [known[name] for name in dict.fromkeys(wanted)] or list(suite.pairs)


def parse_seeds(suite: Suite, text: str | None) -> list[int]:
    """'5' means 0 to 4; '0,2' or '3,' are the seeds themselves."""
    if text is None:
        return list(range(suite.seeds))
    try:
        seeds = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        seeds = []
    if "," not in text and seeds:
        seeds = list(range(seeds[0]))
    if not seeds or min(seeds) < 0:
        raise KdbenchError(f"--seeds {text}: give how many (5), or which ones (0,1,2).")
    return list(dict.fromkeys(seeds))


def parse_settings(settings: Sequence[str], methods: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`--set name=value` for every method that has the parameter.

    Raises:
        KdbenchError: not of that form, or a parameter that none of the methods has.
    """
    parsed: dict[str, dict[str, Any]] = {method: {} for method in methods}
    fields = {method: load_method(method).Params.model_fields for method in methods}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals or not name:
            raise KdbenchError(f"--set {setting}: write name=value, such as --set temperature=2.")
        owners = [method for method in methods if name in fields[method]]
        if not owners:
            known = {field for method in methods for field in fields[method]}
            raise KdbenchError(f"--set {setting}: {' and '.join(methods)} has no parameter '{name}'.{did_you_mean(name, known)}")
        for method in owners:
            parsed[method][name] = parse_value(text)
    return parsed


def parse_value(text: str) -> Any:
    """A TOML value; anything else is a string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def parse_device(text: str) -> list[str]:
    """Devices to spread cells over.

    Raises:
        KdbenchError: an unknown device, or one that is not there.
    """
    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "cpu"
    if text == "cpu":
        return ["cpu"]
    kind, _, number = text.partition(":")
    if kind != "cuda" or (":" in text and not number.isdigit()):
        raise KdbenchError(f"Unknown device '{text}' (--device). Known: auto, cpu, cuda, cuda:0, cuda:1, ...")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not count or (number and int(number) >= count):
        raise KdbenchError(f"No device '{text}' (--device): PyTorch finds {count} NVIDIA GPUs. Use --device cpu.")
    return [text] if number else [f"cuda:{i}" for i in range(count)]


def parse_workers(text: str, devices: Sequence[str]) -> int:
    """A number, or as many as there are cores (CPU) or GPUs."""
    if text == "auto":
        return available_cores() if devices == ["cpu"] else len(devices)
    if not text.isdigit() or int(text) < 1:
        raise KdbenchError(f"--workers {text}: give a number of processes, 1 or more, or auto.")
    return int(text)


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def invocation_name(request: Request) -> str:
    return f"{','.join(request.methods)} {datetime.now(UTC).isoformat(timespec='seconds')}"


def command_line() -> str:
    """The command that was typed."""
    return shlex.join(["kdbench", *sys.argv[1:]])
