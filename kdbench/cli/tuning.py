"""The command that chooses parameters: tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.options import (
    CompileOption,
    DataDirOption,
    DeviceOption,
    EagerOption,
    EngineOption,
    EngineOptionsOption,
    JsonOption,
    ResultsOption,
    RunsOption,
    SuiteOption,
    TrackingOption,
    WorkersOption,
    execution,
    split_names,
)
from kdbench.console import open_console
from kdbench.errors import KdbenchError

app = typer.Typer()


@app.command()
def tune(
    method: Annotated[list[str], typer.Argument(help="Methods to tune, each with the same number of trials.")],
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            help="PARAM=VALUES, or METHOD.PARAM=VALUES; repeatable. VALUES: log:0.1..10, 0..1, int:1..8, or a,b,c.",
        ),
    ] = None,
    trials: Annotated[
        int | None, typer.Option("--trials", help="Settings to try of each method, beside its default: 8 if left out.")
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option("--budget", help="30m, 2h: as many trials, of each method equally, as are done by then."),
    ] = None,
    sampler: Annotated[str, typer.Option("--sampler", help="tpe, random or grid.")] = "tpe",
    suite: SuiteOption = "digits",
    pair: Annotated[list[str] | None, typer.Option("--pair", help="TEACHER:STUDENT; repeatable. Default: all.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="How many (5), or which (0,1,2).")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Also write a suite file (.toml) with what was chosen.")
    ] = None,
    runs: RunsOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = "auto",
    engine: EngineOption = "local",
    engine_option: EngineOptionsOption = None,
    compile_: CompileOption = False,
    eager: EagerOption = False,
    data_dir: DataDirOption = None,
    results: ResultsOption = None,
    tracking_uri: TrackingOption = None,
    mlflow: Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Mirror records to MLflow.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Choose parameters of methods by their accuracy on the validation part of train; the test set is not looked at.

    Every trial is trained on the rest of train, on each pair and seed. An interrupted search carries on.

    Example: kdbench tune kd --space kd_weight=log:0.1..10 --trials 8 --pair resnet8:resnet8_w8
    """
    from kdbench.commands.request import Request, check_request, parse_data_dir
    from kdbench.layout import RUNS

    parse_data_dir(data_dir)
    if tracking_uri and not mlflow:
        raise KdbenchError("--tracking-uri and --no-mlflow contradict each other. Leave one out.")
    request = Request(
        suite=suite,
        methods=split_names(method),
        pairs=tuple(pair or ()),
        seeds=seeds,
        validate=True,
        device=device,
        workers=workers,
        execution=execution(compile_, eager),
        out=runs or RUNS,
        results=results,
        tracking_uri=tracking_uri,
        mlflow=mlflow,
        as_json=as_json,
        engine=engine,
        engine_options=tuple(engine_option or ()),
    )
    check_request(request)
    from kdbench.commands.search import parse_search

    search = parse_search(request, space or (), trials, sampler, out, budget)
    from kdbench.commands.tune import tune as tune_methods

    raise typer.Exit(tune_methods(search, open_console(as_json)))
