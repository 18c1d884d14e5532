"""`kdbench cost`: what a method costs beside the plain student, measured alone on the machine after a warm-up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import torch
from rich.console import Console

from kdbench.commands.list_methods import print_rows
from kdbench.console import Notice, line_printer, write_json
from kdbench.environment import environment
from kdbench.errors import KdbenchError, NotApplicable, writing
from kdbench.files import write_atomically
from kdbench.layout import COSTS
from kdbench.plugins import find_plugin, load_method, method_info
from kdbench.records.cost_record import CostRecord, StepCost, file_name
from kdbench.running.kinds import check_kinds
from kdbench.running.plan import resolve_params
from kdbench.running.teachers import BASELINE
from kdbench.running.timing import Subject, eagerly_if_need_be, random_dataset, time_steps, timed_trainer
from kdbench.suite import Suite
from kdbench.tables import Execution, Pair
from kdbench.training.capture import WARM_UP, captures
from kdbench.training.trainer import Trainer

ROUNDS = 5  # of plain and method steps in turn, so that a change of the machine's pace meets both


def measure(subject: Subject, steps: int, notice: Notice) -> CostRecord:
    """Time a method's step against the plain student's.

    Args:
        subject: the method; the plain student's step runs as its does.

    Raises:
        CaptureFailed: a step cannot be captured.
        NotApplicable: the method cannot serve the pair.
    """
    suite, name, device = subject.suite, subject.method, subject.device
    trainers: list[Trainer] = []
    memory: list[int | None] = []
    for one in (replace(subject, method=BASELINE, params={}), subject):
        before = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
        trainers.append(timed_trainer(one, notice))
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        time_steps(trainers[-1], steps)  # the warm-up
        memory.append(torch.cuda.max_memory_allocated(device) - before if device.type == "cuda" else None)
    time_steps(
        trainers[0], steps
    )  # again: what no graph holds of compiled code was forgotten when the second one was set up
    rounds = [[time_steps(trainer, steps) for trainer in trainers] for _ in range(ROUNDS)]
    plain, own = (
        StepCost(
            milliseconds=1000 * median(seconds),
            peak_memory=peak,
            parameters=sum(p.numel() for p in trainer.parameters),
        )
        for trainer, peak, seconds in zip(trainers, memory, zip(*rounds, strict=True), strict=True)
    )
    return CostRecord(
        suite=suite.name,
        fingerprint=suite.fingerprint,
        pair=str(subject.pair),
        info=method_info(load_method(name), find_plugin(name)),
        params=dict(subject.params),
        batch_size=trainers[0].recipe.batch_size,
        precision=trainers[0].recipe.precision,
        plain=plain,
        method=own,
        rounds=ROUNDS,
        steps=steps,
        environment=environment(device, trainers[1].execution),
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
    ).sealed()


def cost(
    suite: Suite,
    methods: Mapping[str, Mapping[str, Any]],
    pairs: Sequence[Pair],
    device_name: str,
    execution: Execution,
    steps: int,
    out: Path,
    console: Console,
    as_json: bool,
) -> int:
    """Measure methods on pairs, write a record of each, show a table; returns the exit code.

    Raises:
        KdbenchError: no pair that the methods can serve, a folder that cannot be written, too few steps for a graph.
    """
    if distilling := [name for name in methods if load_method(name).distils_data()]:
        raise KdbenchError(f"'{distilling[0]}' distils data: under it a student's step is the plain student's.")
    if captures(execution, torch.device(device_name)) and steps <= WARM_UP:
        raise KdbenchError(f"--steps {steps}: give more than {WARM_UP}, which run before the capture; or --eager.")
    check_kinds(suite, methods)
    rows: list[dict[str, Any]] = []
    device, dataset, notice = torch.device(device_name), random_dataset(suite.data), line_printer(console)
    for name, user in methods.items():
        for pair in pairs:
            try:
                params, _ = resolve_params(load_method(name), suite, pair, user)
                subject = Subject(suite, pair, name, params, dataset, device, execution)
                record = eagerly_if_need_be(subject, lambda one: measure(one, steps, notice), notice)
            except NotApplicable as reason:
                rows.append({"method": name, "teacher:student": str(pair), "not applicable": str(reason)})
                continue
            except torch.OutOfMemoryError as error:
                raise KdbenchError(f"{device} is out of memory for {name} on {pair}. Free it and try again.") from error
            rows.append(row(record))
            write_record(out, record)
    if as_json:
        write_json(rows)
        return 0
    print_rows(rows, list(dict.fromkeys(column for row in rows for column in row)), console, False)
    notice(f"Records: {out / suite.name / COSTS}. A measurement wants the machine for itself.")
    return 0


def write_record(out: Path, record: CostRecord) -> None:
    """One file for each method, parameters, pair and machine; a later measurement replaces it."""
    folder = out / record.suite / COSTS
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / file_name(record)
        write_atomically(path, (json.dumps(record.model_dump(mode="json")) + "\n").encode())


def row(record: CostRecord) -> dict[str, Any]:
    """A line of the table."""
    plain, own = record.plain, record.method
    found = {
        "method": record.info.name,
        "teacher:student": record.pair,
        "plain ms": round(plain.milliseconds, 2),
        "method ms": round(own.milliseconds, 2),
        "extra ms": round(own.milliseconds - plain.milliseconds, 2),
        "ratio": round(own.milliseconds / plain.milliseconds, 2),
        "extra parameters": own.parameters - plain.parameters,
    }
    if own.peak_memory is not None and plain.peak_memory is not None:
        found["extra MiB"] = round((own.peak_memory - plain.peak_memory) / 2**20, 1)
    return found
