"""The commands that speak of results: compare, submit, validate, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.console import open_console
from kdbench.options import JsonOption, ResultsOption, RunsOption, SuiteOption, split_names

app = typer.Typer()


@app.command()
def compare(
    method: Annotated[list[str], typer.Argument(help="Methods, or variants such as 'kd[temperature=2]'.")],
    suite: SuiteOption = "digits",
    metric: Annotated[str, typer.Option("--metric", help="top1, top5 or nll.")] = "top1",
    runs: RunsOption = Path("runs"),
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare methods in pairs: difference, interval, corrected p-value, verdict; tie groups and mean ranks.

    Reads accepted records and yours. A method needs a record of every pair and seed.

    Example: kdbench compare kd crd vanilla --suite digits
    """
    from kdbench.compare import compare as compare_methods

    names = split_names(method)
    raise typer.Exit(compare_methods(names, suite, runs, results, metric, open_console(as_json), as_json))
