"""The command of what kdbench keeps on this machine: cache."""

from __future__ import annotations

from typing import Annotated

import typer

from kdbench.cli.options import JsonOption
from kdbench.console import open_console

app = typer.Typer()


@app.command()
def cache(
    clear: Annotated[str | None, typer.Option("--clear", help="outputs: remove those of teachers.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what is kept in the cache and its sizes, or remove the stored outputs of teachers.

    Example: kdbench cache --clear outputs
    """
    from kdbench.commands.cache import show_cache

    show_cache(clear, open_console(as_json), as_json)
