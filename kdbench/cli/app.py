"""The command line. Commands import what they need when they run, so that help and lists answer at once."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kdbench import __version__
from kdbench.cli import explaining, looking, methods, results, site, storage, tuning
from kdbench.cli.options import (
    CompileOption,
    DataDirOption,
    DeviceOption,
    EagerOption,
    EngineOption,
    EngineOptionsOption,
    JsonOption,
    OutOption,
    OwnSuiteOption,
    ResultsOption,
    SuiteOption,
    TimeLimitOption,
    TrackingOption,
    WorkersOption,
    execution,
    split_names,
)
from kdbench.cli.orderly import orderly
from kdbench.console import open_console
from kdbench.errors import KdbenchError
from kdbench.files import check_folder
from kdbench.layout import RUNS

app = typer.Typer(
    name="kdbench",
    help="The benchmark for knowledge distillation. Start with: kdbench run --method kd,crd",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(looking.app)
app.add_typer(tuning.app)
app.add_typer(methods.app)
app.add_typer(results.app)
app.add_typer(site.app)
app.add_typer(storage.app)
app.add_typer(explaining.app)


def print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"kdbench {__version__}\n")
        raise typer.Exit


@app.callback()
def top(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    pass


@app.command()
def run(
    method: Annotated[list[str], typer.Option("--method", "-m", help="Method; repeat it or separate by commas.")],
    suite: SuiteOption = "digits",
    pair: Annotated[list[str] | None, typer.Option("--pair", help="TEACHER:STUDENT; repeatable. Default: all.")] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="How many (5), or which (0,1,2).")] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, help="A quick look: marked as off the protocol.")
    ] = None,
    validate: Annotated[
        bool, typer.Option("--validate", help="Train on part of train, report on the rest of it; never for the board.")
    ] = False,
    settings: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, a method's parameter.")] = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = "auto",
    engine: EngineOption = "local",
    engine_option: EngineOptionsOption = None,
    shard: Annotated[
        str | None, typer.Option("--shard", help="2/8: the second of eight parts of the plan, for as many machines.")
    ] = None,
    compile_: CompileOption = False,
    eager: EagerOption = False,
    live_teacher: Annotated[
        bool, typer.Option("--live-teacher", help="Run the teacher in every step, rather than keep its outputs.")
    ] = False,
    data_dir: DataDirOption = None,
    out: OutOption = RUNS,
    results: ResultsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and stop.")] = False,
    elsewhere: Annotated[
        str | None,
        typer.Option("--on", help="With --dry-run: time on h100, a100, rtx4090 or a .toml file's device."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Train again; an earlier record is set aside once its successor is there.")
    ] = False,
    tracking_uri: TrackingOption = None,
    mlflow: Annotated[bool, typer.Option("--mlflow/--no-mlflow", help="Mirror records to MLflow.")] = True,
    time: TimeLimitOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train methods and the plain student on a suite's pairs and seeds, and compare them.

    Cells with a record are not trained again; an interrupted run carries on.

    Example: kdbench run --method kd,crd --pair resnet8:resnet8_w8 --seeds 3
    """
    from kdbench.commands.request import Request, check_request, parse_data_dir
    from kdbench.training.limit import time_limit

    parse_data_dir(data_dir)
    if tracking_uri and not mlflow:
        raise KdbenchError("--tracking-uri and --no-mlflow contradict each other. Leave one out.")
    if elsewhere and not dry_run:
        raise KdbenchError(f"--on {elsewhere} estimates, and trains nothing there. Add --dry-run.")

    request = Request(
        suite=suite,
        methods=split_names(method),
        pairs=tuple(pair or ()),
        seeds=seeds,
        epochs=epochs,
        validate=validate,
        settings=tuple(settings or ()),
        device=device,
        workers=workers,
        execution=execution(compile_, eager),
        live_teacher=live_teacher,
        out=out,
        results=results,
        dry_run=dry_run,
        elsewhere=elsewhere,
        force=force,
        tracking_uri=tracking_uri,
        mlflow=mlflow,
        as_json=as_json,
        engine=engine,
        engine_options=tuple(engine_option or ()),
        shard=shard,
    )
    with time_limit(time) as limit:
        check_request(request)
        from kdbench.commands.run import run as run_request

        raise typer.Exit(run_request(replace(request, limit=limit), open_console(as_json)))


@app.command()
def teach(
    suite: SuiteOption = "digits",
    model: Annotated[list[str] | None, typer.Option("--model", help="Teacher; repeatable. Default: all.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Also write them, with records, into this folder.")] = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = "auto",
    engine: EngineOption = "local",
    engine_option: EngineOptionsOption = None,
    compile_: CompileOption = False,
    eager: EagerOption = False,
    data_dir: DataDirOption = None,
    results: ResultsOption = None,
    force: Annotated[bool, typer.Option("--force", help="Train again even where a teacher is found.")] = False,
    time: TimeLimitOption = None,
) -> None:
    """Find a suite's teachers, and train those that are not there.

    Example: kdbench teach --suite digits --model resnet8
    """
    from kdbench.commands.request import parse_data_dir
    from kdbench.training.limit import time_limit

    parse_data_dir(data_dir)
    if out is not None:
        check_folder(out)
    how, models = execution(compile_, eager), tuple(model or ())
    with time_limit(time) as limit:
        from kdbench.commands.machine import make_machine
        from kdbench.commands.teach import teach as teach_suite

        machine = make_machine(device, workers, how, limit, engine=engine, options=engine_option or ())
        raise typer.Exit(teach_suite(suite, models, out, machine, results, force, open_console()))


@app.command()
def cost(
    method: Annotated[list[str], typer.Argument(help="Methods to measure.")],
    suite: SuiteOption = "digits",
    pair: Annotated[list[str] | None, typer.Option("--pair", help="TEACHER:STUDENT; repeatable. Default: all.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="NAME=VALUE, a method's parameter.")] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps timed in each of five rounds.")] = 20,
    device: DeviceOption = "auto",
    compile_: CompileOption = False,
    eager: EagerOption = False,
    out: OutOption = RUNS,
    as_json: JsonOption = False,
) -> None:
    """Measure what a method's training step costs beside the plain student's, with nothing else on the machine.

    Example: kdbench cost kd crd --suite digits --pair resnet8:resnet8_w8
    """
    from kdbench.commands.request import (
        Request,
        check_request,
        parse_device,
        parse_execution,
        parse_pairs,
        parse_settings,
    )
    from kdbench.suites import load_suite

    names = split_names(method)
    check_request(Request(suite, names, tuple(pair or ()), settings=tuple(settings or ()), device=device, out=out))
    from kdbench.commands.cost import cost as measure_costs

    found = load_suite(suite)
    devices, pairs = parse_device(device), parse_pairs(found, pair or ())
    how, values = parse_execution(execution(compile_, eager), devices), parse_settings(settings or (), names)
    raise typer.Exit(measure_costs(found, values, pairs, devices[0], how, steps, out, open_console(as_json), as_json))


@app.command()
def track(
    runs: Annotated[Path, typer.Argument(help="A folder of records.")] = RUNS,
    tracking_uri: TrackingOption = None,
    results: ResultsOption = None,
    suite: OwnSuiteOption = None,
) -> None:
    """Mirror records to MLflow that are not there yet.

    Example: kdbench track runs/ --tracking-uri http://127.0.0.1:5000
    """
    from kdbench.commands.track import track_runs

    raise typer.Exit(track_runs(runs, tracking_uri, results, suite, open_console()))


def main() -> None:
    """The `kdbench` command."""
    orderly(app)


if __name__ == "__main__":
    main()
