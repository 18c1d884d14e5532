"""Write docs/parameters.md, where parameters come from, out of their table: python docs/make_parameters.py"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from kdbench.suite import Suite
from kdbench.suites import list_suites, load_suite
from kdbench_leaderboard.parameter_sources import Row, read_rows

PAGE = Path(__file__).parent / "parameters.md"
COMMAND = "python docs/make_parameters.py"
HEAD = f"""# Parameters

What each method's parameters are on each built-in suite, and where the values come from: a file of a repository, as it
was at a commit, and the data that it gives them for. A first row is of the method's defaults, which hold wherever no
other row names the suite. What is given for single pairs is known for these alone; other pairs have the values of their
suite, else the defaults. A row without a file says in its note whence the values are. Durations are those of the
papers' 200 to 300 epochs, and shorter on suites of 15 to 100. `herding`, `joint`, `mixup`, `random_images` and
`vanilla` have no parameters.

`params_source` is what records say: `paper` for values that were published, by the method's authors or by others who
compare it, `paper per pair` where these differ from pair to pair, `suite` for what kdbench chose or converted.

The data, the recipe and the precision (bf16 where authors have float32; float32 on `digits`, on `cifar100-quarter` and
on suites of distilled data) are the suite's for every method, and the last epoch counts: only what is a method's own
is here. This page is made from [`parameters.csv`](../leaderboard/data/parameters.csv) and the suites by `{COMMAND}`;
a test compares both with the methods and the suites.
"""
COLUMNS = "| suites | pairs | values | `params_source` | from | given for | note |\n|---|---|---|---|---|---|---|"


def page() -> str:
    """The whole page, as Markdown."""
    suites = {name: load_suite(name) for name in list_suites()}
    lines = [HEAD]
    for method, rows in groupby(read_rows(), lambda row: row.method):
        lines += [f"## {method}\n", COLUMNS, *table(list(rows), suites), ""]
    return "\n".join([*lines, *origins(suites)])


def table(rows: list[Row], suites: dict[str, Suite]) -> Iterator[str]:
    """The lines of one method: parameters of one origin together."""
    rest = "all others" if any(row.suites for row in rows) else "all"
    for row, same in groupby(rows, lambda row: row._replace(parameter="", value="")):
        values = ", ".join(f"{one.parameter} = {json.loads(one.value)}" for one in same)
        where = ", ".join(f"`{name}`" for name in row.suites.split()) or rest
        pairs = ", ".join(f"`{pair}`" for pair in row.pairs.split())
        yield f"| {where} | {pairs} | {values} | {said(row, suites)} | {link(row)} | {row.data} | {row.note} |"


def said(row: Row, suites: dict[str, Suite]) -> str:
    """What records say of a row's values: on its suites, or on those that leave all of a method's defaults."""
    overrides = {name: suite.override(row.method, None)[1] for name, suite in suites.items()}
    left = [name for name, override in overrides.items() if not override.params and not override.pairs]
    return ", ".join(sorted({overrides[name].source for name in row.suites.split() or left}))


def link(row: Row) -> str:
    """The file of a row, at its commit."""
    return f"[{row.source}]({row.address}) {row.commit}" if row.address else ""


def origins(suites: dict[str, Suite]) -> Iterator[str]:
    """What a suite's records say, by method."""
    yield "## What records say\n"
    yield "`params_source` of the methods that a suite names, with values or without. Of all others it is `paper`.\n"
    yield "| suite | `params_source` | methods |\n|---|---|---|"
    for name, suite in suites.items():
        for source in sorted({override.source for override in suite.methods.values()}):
            methods = sorted(method for method, override in suite.methods.items() if override.source == source)
            yield f"| `{name}` | {source} | {', '.join(methods)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
