"""The command for those who learn: explain."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from kdbench.cli.options import JsonOption, ResultsOption, SuiteOption
from kdbench.console import open_console
from kdbench.errors import KdbenchError

app = typer.Typer()


@app.command()
def explain(
    image: Annotated[str, typer.Argument(help="A picture's file, or the number of a test image of the suite.")],
    temperature: Annotated[str, typer.Option("--temperature", "-T", help="One or more, by commas.")] = "1,4,20",
    suite: SuiteOption = "digits",
    model: Annotated[str | None, typer.Option("--model", help="Teacher. Default: the suite's first.")] = None,
    invert: Annotated[
        bool, typer.Option("--invert", help="The picture is dark on light; digits are the other.")
    ] = False,
    results: ResultsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print what a teacher says of one image: soft targets at several temperatures, entropy, the first classes.

    Example: kdbench explain 42 --temperature 1,4,20
    """
    temperatures = parse_temperatures(temperature)
    from kdbench.commands.explain import explain as explain_image

    explain_image(image, temperatures, suite, model, results, open_console(as_json), as_json, invert)


def parse_temperatures(text: str) -> list[float]:
    """Numbers above 0, each once.

    Raises:
        KdbenchError: one is not.
    """
    found = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value > 0):
            raise KdbenchError(f"'{part.strip()}' is no temperature (--temperature). Write numbers above 0: 1,4,20.")
        found.append(value)
    return list(dict.fromkeys(found))
