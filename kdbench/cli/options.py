"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdbench.errors import KdbenchError
from kdbench.records.row_names import split_outside_brackets

if TYPE_CHECKING:
    from kdbench.tables import Execution

SuiteOption = Annotated[
    str, typer.Option("--suite", help="A built-in suite's name, or the path of a suite file (.toml).")
]
OwnSuiteOption = Annotated[
    str | None, typer.Option("--suite", help="Your suite file. Default: the one of its name beside runs/, or here.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, for programs.")]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
WorkersOption = Annotated[
    str, typer.Option("--workers", help="Cells at a time: on each GPU (auto: 1), or on the CPU (auto: its cores).")
]
RunsOption = Annotated[Path | None, typer.Option("--runs", help="Where your records are. Default: ./runs.")]
ResultsOption = Annotated[
    Path | None, typer.Option("--results", help="Accepted results. Default: ./results, else the source checkout's.")
]
DataDirOption = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Your copy of the data sets' Parquet files. Default: KDBENCH_DATA, else download."),
]
CompileOption = Annotated[
    bool, typer.Option("--compile", help="Run networks through torch.compile; a GPU captures them then.")
]
EagerOption = Annotated[
    bool, typer.Option("--eager", help="Run steps operation by operation; by default a GPU runs them as a CUDA graph.")
]
TrackingOption = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow. Default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.")
]
TimeLimitOption = Annotated[
    str | None,
    typer.Option("--time-limit", help="90s, 9m, 1h30m: stop before at an epoch's end, to go on later; exit code 3."),
]
EngineOption = Annotated[str, typer.Option("--engine", help="What trains the cells: local, ray or slurm.")]
EngineOptionsOption = Annotated[
    list[str] | None, typer.Option("--engine-option", help="NAME=VALUE, such as time=2h or address=...; repeatable.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Where records go.")]


def execution(compile_: bool, eager: bool) -> Execution | None:
    """How training steps run; None is the device's own way."""
    if compile_ and eager:
        raise KdbenchError("--compile and --eager are two ways to run a step. Choose one.")
    return "compiled" if compile_ else "eager" if eager else None


def split_names(values: list[str]) -> tuple[str, ...]:
    """Names from repeated and comma-separated options, each once; commas in a variant's brackets stay.

    Raises:
        KdbenchError: no name.
    """
    names = list(dict.fromkeys(name for value in values for name in split_outside_brackets(value) if name))
    if not names:
        raise KdbenchError("Name at least one method. 'kdbench list methods' shows them.")
    return tuple(names)
