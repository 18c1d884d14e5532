"""The commands that speak of results: collect, compare, cite, export, submit, validate, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.options import (
    DataDirOption,
    DeviceOption,
    JsonOption,
    OutOption,
    OwnSuiteOption,
    ResultsOption,
    RunsOption,
    SuiteOption,
    split_names,
)
from kdbench.console import line_printer, open_console
from kdbench.layout import RESULTS, RUNS

METRIC_HELP = "top1, top5 or nll; with tasks also average. Default: top1, with tasks average."
RECORD_HELP = "A cell's folder in runs/, or results/SUITE/METHOD/records.jsonl:KEY; with --sample a method's folder."

app = typer.Typer()


@app.command()
def compare(
    method: Annotated[list[str], typer.Argument(help="Methods, or variants such as 'kd[temperature=2]'.")],
    suite: SuiteOption = "digits",
    pair: Annotated[list[str] | None, typer.Option("--pair", help="TEACHER:STUDENT; repeatable. Default: all.")] = None,
    seeds: Annotated[
        int | None, typer.Option("--seeds", min=1, help="How many; of plain student and KD all count.")
    ] = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Your runs with --validate, on validation images.")
    ] = False,
    metric: Annotated[str | None, typer.Option("--metric", help=METRIC_HELP)] = None,
    runs: RunsOption = None,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare methods in pairs: difference, interval, corrected p-value, verdict; and the ranks that are open.

    Reads accepted records and yours. A method needs a record of every pair and seed that is compared.

    Example: kdbench compare kd crd vanilla --suite digits
    """
    from kdbench.commands.compare import compare as compare_methods
    from kdbench.commands.comparison import part_of

    names, part = split_names(method), part_of(suite, pair or (), seeds, validate)
    raise typer.Exit(compare_methods(names, part, runs, results, metric, open_console(as_json), as_json))


@app.command()
def cite(
    method: Annotated[list[str] | None, typer.Argument(help="Methods to cite.")] = None,
) -> None:
    """Print BibTeX of methods' papers, of the survey and of kdbench.

    Example: kdbench cite kd crd > kd.bib
    """
    from kdbench.commands.cite import cite as cite_methods

    cite_methods(split_names(method) if method else (), line_printer(open_console(to_stderr=True)))


@app.command()
def export(
    record: Annotated[str, typer.Argument(help="A cell's folder in runs/, with its weights.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where to. Default: ./STUDENT-METHOD.")] = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="As ONNX too; needs kdbench[onnx].")] = False,
    suite: OwnSuiteOption = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier export.")] = False,
    data_dir: DataDirOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a student home: weights, a program that needs torch alone, ONNX, and ten lines that load it.

    Its forms are checked against the record's predictions on the test images, where these are here.

    Example: kdbench export runs/digits/kd/c6890d38b0e07ebb --onnx
    """
    from kdbench.commands.request import parse_data_dir

    parse_data_dir(data_dir)
    from kdbench.commands.export import export as export_record

    raise typer.Exit(export_record(record, out, onnx, suite, force, open_console(as_json), as_json))


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
    pair: Annotated[
        list[str] | None,
        typer.Option("--pair", help="TEACHER:STUDENT; repeatable. Default: all. A row without all is not ranked."),
    ] = None,
    runs: RunsOption = None,
    results: ResultsOption = None,
    supersedes: Annotated[
        str | None, typer.Option("--supersedes", help="Why accepted records are replaced, for WITHDRAWN.md.")
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--source", help="ADDRESS@COMMIT of your package's source, where its metadata do not say it."),
    ] = None,
) -> None:
    """Check the complete records of methods and fold them into the accepted results.

    Example: kdbench submit crd --suite digits
    """
    from kdbench.commands.submit import submit_methods

    submit_methods(split_names(method), suite, runs, results, supersedes, open_console(), source, pair or ())


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
    record: Annotated[str, typer.Argument(help=RECORD_HELP)],
    level: Annotated[int, typer.Option("--level", min=1, max=3, help="1, 2 or 3, as below.")] = 1,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, help="So many records, at random, of a method's folder.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="Who verifies, for the board: the address of a run, say.")
    ] = None,
    suite: OwnSuiteOption = None,
    results: ResultsOption = None,
    device: DeviceOption = "auto",
    data_dir: DataDirOption = None,
) -> None:
    """Check a record on this machine, and store the level that it reached beside it.

    1: its metrics follow from its evidence. 2: its first epoch, trained again, has the losses of its curve.
    3: its cell, trained again, has the same predictions, or its pair the same accuracy within the interval.

    Example: kdbench verify results/digits/kd/records.jsonl:c6890d38 --level 3
    """
    from kdbench.commands.request import parse_data_dir
    from kdbench.commands.verify import verify as verify_record

    parse_data_dir(data_dir)
    raise typer.Exit(verify_record(record, level, suite, results, device, open_console(), sample, by))
