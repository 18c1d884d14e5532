"""The end of `kdbench run`: tables, whether accepted records were reproduced, where records are, what to do next."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from kdbench.commands.joint import joint_table
from kdbench.commands.report import Line, Report, as_json, result_table
from kdbench.commands.request import Request
from kdbench.console import line_printer, write_json
from kdbench.errors import KdbenchError
from kdbench.layout import RUNS
from kdbench.records.agreement import answers_of, reproduction
from kdbench.records.reader import read_results
from kdbench.running.fleet import Outcome, failure_log
from kdbench.running.teachers import BASELINE
from kdbench.suite import Suite


def show_report(
    console: Console,
    request: Request,
    suite: Suite,
    report: Report,
    outcome: Outcome,
    results: Path | None,
    left: int = 0,
) -> None:
    """Tables, whether accepted records were reproduced, where the records are, and what to do next.

    Args:
        left: cells that there was no time for.
    """
    notice = line_printer(console)
    rows = {row: report.results(row) for row in report.rows}
    show_rows(report, rows, suite, console)
    found: list[dict[str, Any]] = []
    for row, values in rows.items():
        name = row.split("[")[0]
        try:
            accepted = read_results(results / suite.name / name) if results else []
        except KdbenchError as error:
            notice(f"{error} The accepted records of {name} are not compared.")
            accepted = []
        mine = report.row_entries(row)
        found_again = reproduction(answers_of(mine), answers_of(accepted))
        said = str(found_again) if found_again else None
        if said:
            notice(f"{row}: {said}")
        elif accepted and not suite.off_protocol:
            notice(f"{row}: the accepted records are of other cells.")
        compared = found_again.as_json() if found_again else None
        found.append({**as_json(row, values), "reproduction": said, "compared": compared})
    lines = [f"\nRecords and weights: {request.out / suite.name}/METHOD/KEY", *failed_lines(request, outcome)]
    elsewhere = request.tracking_uri or "MLFLOW_TRACKING_URI" in os.environ
    if not outcome.failures and request.mlflow and not elsewhere and Path("mlflow.db").is_file():
        lines.append("Curves: mlflow ui --backend-store-uri sqlite:///mlflow.db")
    if request.shard:
        lines.append("Next: once all parts are done, kdbench collect DIR..., and this command without --shard")
    elif not left:
        lines.append(what_next(request, report))
    notice("\n".join(lines))
    if request.as_json:
        failures = [{"cell": str(f.cell), "key": f.cell.key, "message": f.message} for f in outcome.failures]
        off_protocol, unfinished = list(suite.off_protocol), {"unfinished": left} if left else {}
        write_json(
            {"suite": suite.name, "off_protocol": off_protocol, "methods": found, "failures": failures, **unfinished},
        )


def show_rows(report: Report, rows: Mapping[str, list[Line]], suite: Suite, console: Console) -> None:
    """One method with its pairs, several in one table; and what a reader must know of them."""
    notice = line_printer(console)
    if not rows:
        return
    console.print()
    if len(rows) == 1:
        [(row, values)] = rows.items()
        console.print(result_table(row, values, report.which))
        said = report.notes(row, values)
    else:
        console.print(joint_table(report))
        powers = [
            report.power(v[-1], "a method and the plain student")
            for v in rows.values()
            if v[-1].contrast and v[-1].contrast.detectable
        ]
        said = [*report.limits(next(iter(rows.values()))), *powers[:1]]
    for note in said:
        notice(note)


def what_next(request: Request, report: Report) -> str:
    """Where a finished run leads on to."""
    if len(report.rows) == 1 and report.rows != [BASELINE]:
        return "Next: kdbench serve shows it beside all others; kdbench list methods, or kdbench show METHOD"
    given = f" --suite {request.suite}" if request.suite != "digits" else ""
    given += "".join(f" --pair {pair}" for pair in request.pairs) + (" --validate" if request.validate else "")
    if len(report.seeds) != report.suite.seeds and report.seeds == list(range(len(report.seeds))):
        given += f" --seeds {len(report.seeds)}"
    if request.out != RUNS:
        given += f" --runs {request.out}"
    if request.epochs is not None or report.rows == [BASELINE]:
        return "Next: kdbench list methods, or kdbench show METHOD"
    return f"Next: kdbench compare {shlex.join([*report.rows, BASELINE])}{given}; kdbench serve shows all"


def failed_lines(request: Request, outcome: Outcome) -> list[str]:
    """What failed and what to do about it; empty where nothing did."""
    lines = []
    for failed in outcome.failures:
        log = f" (traceback in {failure_log(request.out, failed.cell)})" if failed.details else ""
        lines.append(f"Failed: {failed.cell}: {failed.message}{log}")
    return [*lines, "Run the same command again to retry the failed cells."] if lines else []
