"""The commands for those who write a method: check and new."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdbench.cli.options import JsonOption, split_names
from kdbench.console import open_console

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
    name: Annotated[str, typer.Argument(help="The method's name: lower case, digits, underscores.")],
    folder: Annotated[Path | None, typer.Option("--out", help="Where to write it. Default: ./kdbench-NAME.")] = None,
) -> None:
    """Write a small package with a new method, its tests and its README, outside kdbench.

    Example: kdbench new my_method
    """
    from kdbench.commands.new import write_package

    write_package(name, folder, open_console())
