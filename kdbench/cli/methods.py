"""The commands for those who bring something of their own: check and new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.options import JsonOption, split_names
from kdbench.console import open_console
from kdbench.errors import KdbenchError

app = typer.Typer()


@app.command()
def check(
    method: Annotated[list[str] | None, typer.Argument(help="Methods to check.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Check every installed method.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Run the conformance checks of methods; each failure says what to do. Seconds a method, on a CPU.

    Example: kdbench check my_method
    """
    from kdbench.commands.check import check_methods

    names = split_names(method) if method else ()
    raise typer.Exit(0 if check_methods(names, everything, open_console(), as_json) else 1)


@app.command()
def new(
    name: Annotated[
        str | None, typer.Argument(help="Of the method or network: lower case, digits, underscores.")
    ] = None,
    model: Annotated[bool, typer.Option("--model", help="A network for timm instead of a method.")] = False,
    suite: Annotated[
        str | None, typer.Option("--suite", help="A suite instead: for a folder of images, Parquet, or a hub data set.")
    ] = None,
    config: Annotated[str | None, typer.Option("--config", help="Of a hub data set with --suite.")] = None,
    size: Annotated[int | None, typer.Option("--size", min=4, help="Height and width, with --suite.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write it. Default: ./kdbench-NAME, or ./NAME.toml.")
    ] = None,
) -> None:
    """Write a small package with a new method or network, or a suite for your own images; outside kdbench.

    Example: kdbench new my_method; kdbench new my_net --model; kdbench new --suite photos/
    """
    if suite is not None and (name is not None or model):
        raise KdbenchError("--suite is named after its images. Leave out NAME and --model.")
    if suite is not None:
        from kdbench.commands.new_suite import write_suite

        write_suite(suite, config, size, out, open_console())
        return
    if name is None or config is not None or size is not None:
        raise KdbenchError("Write: kdbench new NAME, new NAME --model, or new --suite PATH [--config NAME] [--size N].")
    from kdbench.commands.new import METHOD, NETWORK, write_package

    write_package(name, NETWORK if model else METHOD, out, open_console())
