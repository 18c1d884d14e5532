"""`kdbench check METHOD`: run the conformance checks and say what to mend."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from kdbench.console import write_json
from kdbench.errors import KdbenchError
from kdbench.plugins import find_plugin, list_plugins

if TYPE_CHECKING:
    from kdbench.checks import Result

MARKS = {
    "passed": "[green]ok[/]    ",
    "failed": "[red]FAILED[/]",
    "expected": "[yellow]known[/] ",
    "unexpected": "[red]FAILED[/]",
    "waiting": "[dim]waits[/] ",
}


def check_methods(names: Sequence[str], everything: bool, console: Console, as_json: bool) -> bool:
    """Check methods and print a line for each check that failed; returns whether all is well.

    Raises:
        KdbenchError: no name, or an unknown one.
    """
    if everything:
        names = list(list_plugins())
    if not names:
        raise KdbenchError("Name a method to check (kdbench check kd), or --all.")
    for name in names:
        find_plugin(name)  # a wrong name costs no time
    from kdbench.checks import Result, check_method

    fine, rows = True, []
    for name in dict.fromkeys(names):
        start = time.perf_counter()
        results: list[Result] = []
        try:
            for result in check_method(name):
                results.append(result)
                if not as_json and (len(names) == 1 or result.outcome not in ("passed", "waiting")):
                    where = "" if len(names) == 1 else f"{name}: "
                    said = f"  {escape(result.message)}" if result.message else ""
                    console.print(f"{MARKS[result.outcome]} {where}{result.check}{said}", highlight=False)
        except KdbenchError as error:
            if not everything:
                raise
            results.append(Result("is_usable", "failed", str(error)))
            if not as_json:
                console.print(f"{MARKS['failed']} {escape(str(error))}", highlight=False)
        failed = sum(not result.is_fine for result in results)
        fine = fine and not failed
        rows += [{"method": name, **vars(result)} for result in results]
        if not as_json:
            seconds = time.perf_counter() - start
            console.print(f"{name}: {summary(results)} ({seconds:.1f} s)", highlight=False, markup=False)
    if as_json:
        write_json(rows)
    return fine


def summary(results: Sequence[Result]) -> str:
    """How many checks failed, passed, and fail with a reason that the method declares."""
    waiting = sum(result.outcome == "waiting" for result in results)
    failed = sum(not result.is_fine for result in results) - waiting
    known = [result.check for result in results if result.outcome == "expected"]
    excused = f", {len(known)} known to fail ({', '.join(known)})" if known else ""
    if failed:
        wait = f", {waiting} wait until that is mended" if waiting else ""
        return f"{failed} of {len(results)} checks failed{wait}{excused}"
    return (
        f"{len(results) - len(known)} of {len(results)} checks passed{excused}"
        if known
        else (f"all {len(results)} checks passed")
    )
