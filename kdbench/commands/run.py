"""`kdbench run`: from a request to its plan, its records and its report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from kdbench.commands.elsewhere import Device, load_device, seconds_elsewhere
from kdbench.commands.ending import show_report
from kdbench.commands.estimate import count_kinds, duration, estimate_seconds
from kdbench.commands.machine import local_machine, machine_of
from kdbench.commands.report import Report
from kdbench.commands.request import Request, parse_pairs, parse_seeds, parse_settings, parse_shard
from kdbench.commands.resuming import NOT_FINISHED, command_line, not_finished, unfinished
from kdbench.console import Notice, line_printer, write_json
from kdbench.data.access import with_known_content
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.networks.packages import with_sources
from kdbench.plugins import list_plugins
from kdbench.records.reader import read_results
from kdbench.records.store import find_results
from kdbench.running.engines.events import Machine
from kdbench.running.expected import Expected, part_of
from kdbench.running.fleet import Outcome, clear_place, train, train_teachers
from kdbench.running.kinds import check_kinds
from kdbench.running.last_batch import check_last_batches
from kdbench.running.own_weights import with_own_weights
from kdbench.running.plan import Cell, find_recorded, plan_cells, teachers_of
from kdbench.running.progress import bind_with_progress, load_with_progress
from kdbench.running.teachers import BASELINE, Teacher, find_teacher
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Pair

if TYPE_CHECKING:
    from kdbench.running.mlflow_mirror import Mirror

TIMED_HERE = "from a few timed steps of each kind of cell"


def run(request: Request, console: Console) -> int:
    """Plan, train what has no record, report.

    Returns:
        the exit code: 0, 1 if a cell failed, 3 if time was up before all were trained, 130 after Ctrl-C.

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
    suite, quick = asked_suite(request)
    check_kinds(suite, request.methods)
    pairs, seeds = parse_pairs(suite, request.pairs), parse_seeds(suite, request.seeds)
    settings = parse_settings(request.settings, request.methods)
    elsewhere = load_device(request.elsewhere)
    machine = machine_of(request, elsewhere)
    results = find_results(request.results)

    notice = line_printer(console)

    suite = with_known_data(suite, notice) if request.dry_run else bind_with_progress(suite, console)
    methods = {name: settings[name] for name in request.methods} | (
        {} if BASELINE in request.methods else {BASELINE: {}}
    )
    for name in set(suite.methods) - set(known := list_plugins()):
        notice(f"No installed method is '{name}': [methods.{name}] has no effect.{did_you_mean(name, known)}")
    read = teachers_of(suite, list(methods), pairs, seeds)
    suite, teachers, missing = seek_teachers(suite, read, quick, results, notice)
    check_last_batches(suite, {pair.student for pair in pairs}, missing)
    if missing and not request.dry_run:
        refuse_own_teachers(request, to_make(suite, missing))
        notice(f"{to_make(suite, missing)}; their cells are planned after that.")
        load_with_progress(suite, console)
        teachers |= train_teachers(suite, missing, machine, console)
    for name, teacher in teachers.items():
        if origin := teacher.record.main.origin:
            notice(f"Teacher {name}: {origin}, {teacher.record.main.metrics.top1:.2f} % top-1")
    cells = own_part(request, plan_cells(suite, methods, pairs, seeds, teachers), notice)
    if not request.force:
        outcome.entries |= find_recorded(cells, request.out, notice)
    todo = [cell for cell in cells if cell.key not in outcome.entries]
    notice(plan_text(request, suite, pairs, cells, todo, machine))
    if request.dry_run:
        if missing:
            notice(to_make(suite, missing))
        seconds, how = estimated(suite, methods, todo, missing, elsewhere, machine, console)
        say_estimate(seconds, suite, request, notice, [planned(cell, outcome) for cell in cells], how)
        return 0
    if request.force:
        for cell in todo:
            clear_place(cell, request.out)
    ready = [cell for cell in todo if not cell.awaits]  # time may have been up before all teachers were trained
    if ready and request.limit.suffices():
        load_with_progress(suite, console)
        if machine.workers != 1:
            ready = expected(suite, methods, outcome, results).longest_first(ready)
        with open_mirror(request, notice) as mirror:
            train(ready, request.out, machine, console, outcome, mirror)
    left = unfinished(cells, outcome)
    beside = {n for pair in pairs for n in suite.teachers_beside(pair, seeds)} - set(read)  # which no cell reads
    others = {name: found for name in beside if (found := find_teacher(suite, name, results, notice))}
    report = Report(suite, cells, outcome.entries, pairs, teachers | others)
    show_report(console, request, suite, report, outcome, results, len(left))
    if left:
        notice(not_finished(cells, outcome, request.out, command_line()))
        return NOT_FINISHED
    return 1 if outcome.failures else 0


def asked_suite(request: Request) -> tuple[Suite, int | None]:
    """The suite as it is asked for, and the epochs of a quick look, if it is one."""
    suite = load_suite(request.suite)
    quick = request.epochs if request.epochs is not None and request.epochs < suite.recipe.epochs else None
    if request.epochs is not None:
        suite = suite.with_epochs(request.epochs)
    return (suite.with_validation() if request.validate else suite), quick


def expected(suite: Suite, methods: Iterable[str], outcome: Outcome, results: Path | None) -> Expected:
    """How long cells take, by the records here and the accepted ones."""
    known = [entry.record for entry in outcome.entries.values()]
    for folder in [results / suite.name / method for method in methods] if results else []:
        with suppress(KdbenchError):  # which the report names
            known += [entry.record for entry in read_results(folder)]
    return Expected(suite, known)


def own_part(request: Request, cells: list[Cell], notice: Notice) -> list[Cell]:
    """The cells of the part of the plan that a request asks for; without one all."""
    shard = parse_shard(request.shard)
    if shard is None:
        return cells
    mine = part_of(cells, *shard)
    notice(f"Part {request.shard} of a plan of {len(cells)} cells: {len(mine)} cells")
    return mine


def refuse_own_teachers(request: Request, missing: str) -> None:
    """Parts of a plan have their teachers in common.

    Raises:
        KdbenchError: one would train its own, and its cells would have other keys than those of the other parts.
    """
    if request.shard is not None:
        raise KdbenchError(
            f"--shard {request.shard}: {missing}, and each part would train its own. Train them once (kdbench teach "
            f"--suite {request.suite}), and give every machine that cache (KDBENCH_CACHE)."
        )


def estimated(
    suite: Suite,
    methods: Mapping[str, Mapping[str, Any]],
    todo: Sequence[Cell],
    missing: Sequence[str],
    elsewhere: Device | None,
    machine: Machine,
    console: Console,
) -> tuple[float, str]:
    """Seconds of what is to be trained, here or on another device, and how they were found."""
    kinds = count_kinds(todo)
    if elsewhere is None:
        return estimate_seconds(suite, methods, kinds, missing, local_machine(machine), console), TIMED_HERE
    seconds = seconds_elsewhere(suite, methods, kinds, missing, elsewhere, machine.execution)
    assumed = elsewhere.assumptions(suite.recipe.precision, machine.execution)
    return seconds, f"on one {elsewhere.title}, cell after cell, assuming {assumed}"


def to_make(suite: Suite, teachers: Sequence[str]) -> str:
    """What has to be done for teachers that are not here."""
    kinds = [
        ("Teachers to load and evaluate first", [name for name in teachers if name in suite.weights], ""),
        (
            "Teachers to fetch and evaluate first",
            [n for n in teachers if suite.loads(n) and n not in suite.weights],
            "",
        ),
        (
            "Teachers to train first",
            [name for name in teachers if not suite.loads(name)],
            f", of {suite.teacher_recipe().epochs} epochs each",
        ),
    ]
    return "; ".join(f"{what}: {', '.join(names)}{how}" for what, names, how in kinds if names)


def seek_teachers(
    suite: Suite, names: Sequence[str], quick: int | None, results: Path | None, notice: Notice
) -> tuple[Suite, dict[str, Teacher], list[str]]:
    """The teachers that are here, by name, and those that are missing.

    Args:
        quick: epochs of a quick look, for which missing teachers are trained as briefly.

    Returns:
        the suite, with the teachers' recipe that the run goes by.
    """
    known = names if suite.data.sha256 is not None else []
    teachers = {name: t for name in known if (t := find_teacher(suite, name, results, notice))}
    missing = [name for name in names if name not in teachers]
    if quick is not None and not all(suite.loads(name) for name in missing):
        return seek_teachers(suite.with_teacher_epochs(quick), names, None, results, notice)
    return suite, teachers, missing


def with_known_data(suite: Suite, notice: Notice) -> Suite:
    """For a dry run, which reads no data: the suite with their content, where that is known from earlier."""
    suite = with_own_weights(with_sources(suite), download=False)
    try:
        bound = with_known_content(suite)
        where = "have not been read yet"
    except KdbenchError as error:
        bound, where = suite, f"are not here ({str(error).rstrip('.')})"
    if bound.data.sha256 is None:
        notice(f"The data of suite '{suite.name}' {where}: no cell counts as recorded.")
    return bound


def open_mirror(request: Request, notice: Notice) -> AbstractContextManager[Mirror | None]:
    """MLflow, unless the request is without it."""
    if not request.mlflow:
        return nullcontext()
    from kdbench.running.mlflow_mirror import Mirror

    return Mirror(request.tracking_uri, notice, invocation_name(request))


def plan_text(
    request: Request, suite: Suite, pairs: Sequence[Pair], cells: Sequence[Cell], todo: Sequence[Cell], machine: Machine
) -> str:
    """The plan in a few lines."""
    counts = Counter(cell.method for cell in cells)
    parts = ", ".join(f"{count} {name}" for name, count in counts.items())
    seeds = dict.fromkeys(str(cell.seed) for cell in cells)
    recorded = f"{len(cells) - len(todo)} recorded in {request.out / suite.name}"
    lines = [
        f"Suite {suite.name}: {suite.title}; {suite.recipe.epochs} epochs, protocol {suite.fingerprint[:12]}",
        *(f"Off protocol, not for the board: {reason}" for reason in suite.off_protocol),
        f"Pairs {', '.join(map(str, pairs))}; seeds {', '.join(seeds)}",
        f"Cells {len(cells)} ({parts}): {recorded}, {len(todo)} to train{f' on {machine}' if todo else ''}",
    ]
    return "\n".join(lines)


def say_estimate(
    seconds: float,
    suite: Suite,
    request: Request,
    notice: Notice,
    cells: Sequence[dict[str, Any]] = (),
    how: str = TIMED_HERE,
) -> None:
    """The end of a dry run."""
    notice(f"Estimated time, {how}: {duration(seconds)}.")
    if request.as_json:
        write_json({"suite": suite.name, "cells": list(cells), "estimated_seconds": round(seconds, 1)})


def planned(cell: Cell, outcome: Outcome) -> dict[str, Any]:
    """A cell of the plan, for a program."""
    place = {"row": cell.row, "teacher": cell.teacher_name, "student": cell.student, "seed": cell.seed}
    return {**place, "key": None if cell.awaits else cell.key, "recorded": cell.key in outcome.entries}


def invocation_name(request: Request) -> str:
    return f"{','.join(request.methods)} {datetime.now(UTC).isoformat(timespec='seconds')}"
