"""The commands that speak of results: collect, compare, submit, validate, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.options import (
    DataDirOption,
    DeviceOption,
    JsonOption,
    OutOption,
    ResultsOption,
    RunsOption,
    SuiteOption,
    split_names,
)
from kdbench.console import open_console
from kdbench.layout import RESULTS, RUNS

app = typer.Typer()


@app.command()
def compare(
    method: Annotated[list[str], typer.Argument(help="Methods, or variants such as 'kd[temperature=2]'.")],
    suite: SuiteOption = "digits",
    metric: Annotated[str, typer.Option("--metric", help="top1, top5 or nll.")] = "top1",
    runs: RunsOption = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare methods in pairs: difference, interval, corrected p-value, verdict; tie groups and mean ranks.

    Reads accepted records and yours. A method needs a record of every pair and seed.

    Example: kdbench compare kd crd vanilla --suite digits
    """
    from kdbench.commands.compare import compare as compare_methods

    names = split_names(method)
    raise typer.Exit(compare_methods(names, suite, runs, results, metric, open_console(as_json), as_json))


@app.command()
def collect(
    folders: Annotated[list[Path], typer.Argument(help="The runs/ folders of other machines.", metavar="DIR...")],
    out: OutOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Bring the records of several machines together: equal ones once; conflicts are named and left, exit code 1.

    Example: kdbench collect one/runs two/runs
    """
    from kdbench.commands.collect import collect as collect_runs

    raise typer.Exit(collect_runs(folders, out, open_console(as_json), as_json))


@app.command()
def submit(
    method: Annotated[list[str], typer.Argument(help="Methods whose records to submit.")],
    suite: SuiteOption = "digits",
    runs: RunsOption = None,
    results: ResultsOption = None,
    supersedes: Annotated[
        str | None, typer.Option("--supersedes", help="Why accepted records are replaced, for WITHDRAWN.md.")
    ] = None,
) -> None:
    """Check the complete records of methods and fold them into the accepted results.

    Example: kdbench submit crd --suite digits
    """
    from kdbench.commands.submit import submit_methods

    submit_methods(split_names(method), suite, runs, results, supersedes, open_console())


@app.command()
def validate(
    results: Annotated[Path, typer.Argument(help="A folder of accepted results.")] = RESULTS,
    against: Annotated[
        Path | None, typer.Option("--against", help="The results before a change: what is gone must be explained.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check every record of a results folder; each problem is a line with its file and line, and the exit code 1.

    Example: kdbench validate results/
    """
    from kdbench.commands.validate import validate as validate_results

    raise typer.Exit(validate_results(results, against, open_console(as_json), as_json))


@app.command()
def verify(
    record: Annotated[str, typer.Argument(help="A cell's folder in runs/, or results/SUITE/METHOD/records.jsonl:KEY.")],
    level: Annotated[int, typer.Option("--level", min=1, max=3, help="1, 2 or 3, as below.")] = 1,
    suite: Annotated[str | None, typer.Option("--suite", help="Your suite file. Default: the record's suite.")] = None,
    results: ResultsOption = None,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
) -> None:
    """Check a record on this machine, and store the level that it reached beside it.

    1: its metrics follow from its evidence. 2: its first epoch, trained again, has the losses of its curve.
    3: its cell, trained again, has the same predictions, or its pair the same accuracy within the interval.

    Example: kdbench verify results/digits/kd/records.jsonl:9e384d5b --level 3
    """
    from kdbench.commands.request import parse_data_dir
    from kdbench.commands.verify import verify as verify_record

    parse_data_dir(data_dir)
    raise typer.Exit(verify_record(record, level, suite, results, device, open_console()))
