"""The commands that show what there is: methods, suites, pairs of networks, models."""

from __future__ import annotations

from typing import Annotated

import typer

from kdbench.cli.options import JsonOption, SuiteOption
from kdbench.console import open_console
from kdbench.errors import KdbenchError

MAX_INPUT = 2048  # pixels of a side, for which a network's maps still fit into memory

app = typer.Typer()
lists = typer.Typer(no_args_is_help=True, help="List methods, suites, pairs or models.")
app.add_typer(lists, name="list")


@app.command()
def show(
    what: Annotated[list[str], typer.Argument(help="A method's name; or 'model NAME'; or 'pair TEACHER:STUDENT'.")],
    suite: SuiteOption = "digits",
    size: Annotated[int | None, typer.Option("--input", min=1, help="Height and width of a model's input.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a method (paper, taxonomy, parameters), a model (size, outputs) or a pair (matched maps, compression).

    Models are those of the suite, or any of timm's.

    Example: kdbench show crd; kdbench show model cifar_resnet20; kdbench show pair resnet8:vit_w32
    """
    from kdbench.commands.list_methods import show_method

    match what:
        case [("model" | "pair") as kind]:
            raise KdbenchError(f"Which {kind}? Write: show {'model NAME' if kind == 'model' else 'pair T:S'}.")
        case [_] if size is not None:
            raise KdbenchError("--input is of 'show model NAME' and 'show pair T:S'. Leave it out.")
        case _ if size is not None and size > MAX_INPUT:
            raise KdbenchError(f"--input {size}: {MAX_INPUT} is the most.")
        case [method]:
            show_method(method, open_console(), as_json)
        case ["model", name]:
            from kdbench.commands.show_networks import show_model

            show_model(name, suite, size, open_console(), as_json)
        case ["pair", pair]:
            from kdbench.commands.show_networks import show_pair

            show_pair(pair, suite, size, open_console(), as_json)
        case _:
            raise KdbenchError(
                f"Cannot show '{' '.join(what)}'. Write: show METHOD, show model NAME, or show pair T:S."
            )


@lists.command("methods")
def list_methods(
    long: Annotated[bool, typer.Option("--long", help="Load each method and show its scheme and paper.")] = False,
    suite: Annotated[str | None, typer.Option("--suite", help="Only those that run on this suite.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the installed methods, with the package each comes from; --json has all that --long shows.

    Example: kdbench list methods --long
    """
    from kdbench.commands.list_methods import show_methods

    show_methods(long or as_json, open_console(), as_json, suite)


@lists.command("suites")
def list_suites(as_json: JsonOption = False) -> None:
    """List the built-in suites.

    Example: kdbench list suites
    """
    from kdbench.commands.list_methods import show_suites

    show_suites(open_console(), as_json)


@lists.command("pairs")
def list_pairs(suite: SuiteOption = "digits", as_json: JsonOption = False) -> None:
    """List the teacher:student pairs of a suite.

    Example: kdbench list pairs --suite digits
    """
    from kdbench.commands.show_networks import show_pairs

    show_pairs(suite, open_console(), as_json)


@lists.command("models")
def list_models(
    pattern: Annotated[str | None, typer.Argument(help="Wildcard over all of timm's and kdbench's names.")] = None,
    suite: SuiteOption = "digits",
    as_json: JsonOption = False,
) -> None:
    """List the networks of a suite, or all whose names match a pattern.

    Example: kdbench list models "cifar_*"
    """
    from kdbench.commands.show_networks import show_models, show_names

    if pattern is None:
        show_models(suite, open_console(), as_json)
    else:
        show_names(pattern, open_console(), as_json)
