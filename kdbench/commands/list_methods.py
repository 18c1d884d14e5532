"""`kdbench list methods` and `suites`, and `kdbench show METHOD`: what is there."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kdbench.console import write_json
from kdbench.errors import KdbenchError
from kdbench.plugins import Plugin, find_plugin, list_plugins, load_method


def show_methods(long: bool, console: Console, as_json: bool, suite: str | None = None) -> None:
    """Installed methods; `long` loads each, and a broken one is shown with the reason.

    Args:
        suite: whose kind they are to be of; all if it is not given.
    """
    found = {name: plugins for name, plugins in list_plugins().items() if suite is None or runs_on(name, suite)}
    rows = [describe(plugin, len(plugins) > 1, long) for plugins in found.values() for plugin in plugins]
    columns = ["name", "distribution", "version"] + (["scheme", "knowledge", "year", "title"] if long else [])
    print_rows(rows, [*columns, "problem"] if any("problem" in row for row in rows) else columns, console, as_json)


def runs_on(name: str, suite: str) -> bool:
    """Whether a method is of a suite's kind; one that cannot be loaded runs on none."""
    from kdbench.running.kinds import check_kinds
    from kdbench.suites import load_suite

    found = load_suite(suite)
    try:
        check_kinds(found, [name])
    except KdbenchError:
        return False
    return True


def describe(plugin: Plugin, conflict: bool, long: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
    if conflict:
        row["problem"] = "two packages register this name"
    elif long:
        try:
            method = load_method(plugin.name)
        except KdbenchError as error:
            return row | {"problem": str(error)}
        row |= {"scheme": method.scheme, "knowledge": ", ".join(method.knowledge)}
        if method.paper:
            row |= {"year": method.paper.year, "title": method.paper.title}
    return row


def show_method(name: str, console: Console, as_json: bool) -> None:
    """One method: paper, taxonomy, parameters with defaults, ranges and meaning."""
    import inspect

    method, plugin = load_method(name), find_plugin(name)
    schema = method.Params.model_json_schema()["properties"] if method.Params.model_fields else {}
    params = [
        {
            "parameter": parameter,
            "default": field.default,
            "range": bounds(schema[parameter]),
            "meaning": field.description or "",
        }
        for parameter, field in method.Params.model_fields.items()
    ]
    paper = method.paper
    if as_json:
        about = {
            "name": name,
            "version": method.version,
            "distribution": f"{plugin.distribution} {plugin.version}",
            "paper": vars(paper) if paper else None,
            "scheme": method.scheme,
            "knowledge": list(method.knowledge),
            "families": list(method.families),
            "requires": sorted(method.requires),
            "deviations": list(method.deviations),
            "excused_checks": dict(method.expected_failed_checks),
            "docstring": inspect.getdoc(method),
            "parameters": params,
        }
        write_json(about)
        return
    lines = [
        f"{name}, version {method.version}, from {plugin.distribution} {plugin.version}",
        "",
        inspect.getdoc(method) or "",
        "",
    ]
    if paper:
        link = f", arXiv {paper.arxiv}" if paper.arxiv else ""
        lines.append(f"Paper      {paper.title}. {paper.authors}, {paper.year}{link}")
    lines += [
        f"Scheme     {method.scheme}",
        f"Knowledge  {', '.join(method.knowledge) or 'none'}",
        f"Reads      {', '.join(sorted(method.requires))}",
    ]
    lines += [f"Deviates   {deviation}" for deviation in method.deviations]
    lines += [f"Fails      check {check}: {reason}" for check, reason in method.expected_failed_checks.items()]
    console.print("\n".join(lines), markup=False, highlight=False)
    if params:
        console.print()
        print_rows(params, ["parameter", "default", "range", "meaning"], console, False)


def bounds(schema: dict[str, Any]) -> str:
    """The range of a parameter in words."""
    signs = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
    found = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    if "enum" in schema:
        found.append(" | ".join(map(str, schema["enum"])))
    return ", ".join(found)


def show_suites(console: Console, as_json: bool) -> None:
    """Built-in suites."""
    from kdbench.suites import list_suites, load_suite

    rows = [
        {"name": s.name, "title": s.title, "pairs": len(s.pairs), "seeds": s.seeds, "epochs": s.recipe.epochs}
        for s in map(load_suite, list_suites())
    ]
    print_rows(rows, ["name", "title", "pairs", "seeds", "epochs"], console, as_json)


def print_rows(rows: list[dict[str, Any]], columns: list[str], console: Console, as_json: bool) -> None:
    """Rows as a table, or as JSON for a program."""
    if as_json:
        write_json(rows)
        return
    table = Table(box=None, pad_edge=False)
    for column in columns:
        numeric = any(isinstance(row.get(column), int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        values = [row.get(column, "") for column in columns]
        table.add_row(*(Text(f"{v:,}" if isinstance(v, int) and v > 9999 else str(v)) for v in values))
    console.print(table)
