"""Several methods of one run in one table, the best first."""

from __future__ import annotations

import math

import numpy as np
from rich.table import Table
from rich.text import Text

from kdbench.commands.report import Line, Report, number, plus_minus, said
from kdbench.records.agreement import interval
from kdbench.records.compute import training_flops
from kdbench.running.teachers import BASELINE

MOST_PAIRS = 4  # that have a column each; of more the mean says enough on a terminal


def joint_table(report: Report) -> Table:
    """A line a method and one of the teachers: accuracy on each pair, gain over the plain student, training compute."""
    lines = {row: report.results(row) for row in [BASELINE, *report.rows] if row in report.found}
    title = Text(f"{report.which.capitalize()} accuracy in %, mean over seeds ± 95 % interval", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("method", overflow="fold")
    several = len(report.pairs) > 1
    by_pair = report.pairs if len(report.pairs) <= MOST_PAIRS else []
    heads = [*map(str, by_pair), *(["all pairs"] if several else []), "over plain [95 %]", "compute"]
    for head in heads:
        table.add_column(Text(head, overflow="fold"), justify="right")
    table.add_column("")
    first = next(iter(lines.values()))
    teachers = [*(first[: len(by_pair)]), *([last(first, several)] if several else [])]
    if report.teachers:
        table.add_row(Text("teacher", style="dim"), *(number(line.teacher) if line else "" for line in teachers))
    for row, found in sorted(lines.items(), key=lambda item: (budget(report, item[0]), order(item[1], several))):
        overall = last(found, several)
        shown = [result(line, row) for line in found[: len(by_pair)]]
        shown += [result(overall, row) if overall else Text("n/a")] if several else []
        contrast = overall.contrast if overall and row != BASELINE else None
        gain = (Text(interval(contrast.difference)), Text(said(contrast))) if contrast else (Text(""), Text(""))
        table.add_row(Text(row), *shown, gain[0], compute(report, row), gain[1])
    return table


def last(found: list[Line], several: bool) -> Line | None:
    """What is said of all pairs; of a single one, that. None where a pair is lacking."""
    line = found[-1]
    return None if several and line.pair is not None else line


def order(found: list[Line], several: bool) -> float:
    """The best mean first, those that lack a pair at the end."""
    line = last(found, several)
    value = None if line is None else (line.method or line.student)
    return -value[0] if value else math.inf


def result(line: Line, row: str) -> Text:
    value = line.student if row == BASELINE else line.method
    return Text(plus_minus(value) if value else "n/a", no_wrap=True)


def budget(report: Report, row: str) -> int:
    """After how many trials a row was tuned: such rows follow those that were not."""
    tuned = report.found[row].budget
    return -1 if tuned is None else tuned


def compute(report: Report, row: str) -> str:
    """Training operations as a multiple of the plain student's of the same cells; empty where they are not known."""
    macs = {teacher.sha256: teacher.record.main.macs for teacher in report.teachers.values()}
    ratios: list[float] = []
    for pair in report.pairs:
        plain = report.entries(BASELINE, pair)
        for seed, entry in report.entries(row, pair).items():
            flops = [training_flops(e.record, macs) for e in (entry, plain.get(seed)) if e is not None]
            if len(flops) == 2 and flops[0] and flops[1]:
                ratios.append(flops[0] / flops[1])
    return f"× {np.mean(ratios):.1f}" if ratios else ""
