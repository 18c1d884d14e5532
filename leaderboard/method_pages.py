"""The pages of methods, their list, and their papers for BibTeX."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kdbench.records import MethodInfo
from kdbench_leaderboard import figures, paths, views
from kdbench_leaderboard.boards import PLAIN, Board, Row, reproductions
from kdbench_leaderboard.page import Page, Site, with_figures
from kdbench_leaderboard.published import method_names, published, taxonomy
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices, number


def rows_by_method(site: Site) -> dict[str, list[tuple[Board, list[Standing]]]]:
    """A method's rows on every board."""
    found: dict[str, dict[int, tuple[Board, list[Standing]]]] = {}
    for n, (board, rows) in enumerate(site.boards):
        for s in rows:
            found.setdefault(s.row.info.name, {}).setdefault(n, (board, []))[1].append(s)
    return {name: list(boards.values()) for name, boards in sorted(found.items())}


def method_pages(site: Site) -> Iterator[Page]:
    repeats = reproductions(site.store)
    for name, boards in rows_by_method(site).items():
        shown: dict[str, figures.Figure] = {}
        for _, rows in boards:
            if figure := next(filter(None, map(figures.curves, rows)), None):
                shown.setdefault("curves", figure)
        values, scripts = with_figures(f"method/{name}", shown)
        yield from scripts
        info = newest(boards)
        everyone = [s for _, rows in boards for s in rows]
        verdicts = [(s, b) for b, rows in boards for s in rows if not s.gaps and s.row.name != PLAIN]
        yield site.page(
            "method.html",
            paths.method(name),
            name,
            "methods",
            info=info,
            address=paths.arxiv(info.arxiv),
            level=min(s.level for s in everyone),
            verdicts=[f"On {b.suite}, {s.row.title} is {views.verdict_cell(s).text}." for s, b in verdicts],
            reproduced=[
                f"Your run of {row} on {suite}: {found}."
                for (suite, row), found in repeats.items()
                if row.partition("[")[0] == name
            ],
            tables=[views.method_table(board, rows) for board, rows in boards],
            params=[parameters(board, s.row) for board, rows in boards for s in rows],
            published=views.published_table(name),
            withdrawn=[w for w in site.store.withdrawn if w.row.partition("[")[0] == name],
            ran=list(dict.fromkeys(board.suite for board, _ in boards)),
            **values,
        )


def newest(boards: list[tuple[Board, list[Standing]]]) -> MethodInfo:
    """The metadata of the newest accepted version."""
    rows = [s.row for _, rows in boards for s in rows]
    return max(rows, key=lambda row: (row.origin == "accepted", row.info.version)).info


def parameters(board: Board, row: Row) -> dict[str, str]:
    """The parameters of a row; those that differ between pairs with all their values."""
    values: dict[str, list[str]] = {}
    sources = set()
    for cell in row.cells.values():
        sources.add(cell.record.params_source)
        for name, value in cell.record.params.items():
            said = json.dumps(value)
            if said not in values.setdefault(name, []):
                values[name].append(said)
    text = ", ".join(f"{name} = {' or '.join(said)}" for name, said in values.items())
    return {"row": row.title, "suite": board.suite, "text": text or "none", "source": ", ".join(sorted(sources))}


def methods_page(site: Site) -> Page:
    lines = []
    by_method = rows_by_method(site)
    for name, boards in by_method.items():
        info = newest(boards)
        printed = sum(p.method == name for p in published())
        cells = {
            "method": Cell(name, href=paths.method(name)),
            "title": Cell(info.title or info.docstring.split("\n")[0], external=paths.arxiv(info.arxiv)),
            "scheme": Cell(info.scheme),
            "knowledge": Cell(", ".join(info.knowledge)),
            "family": Cell(", ".join(info.families)),
            "year": Cell(str(info.year), info.year) if info.year else Cell("–"),
            "cells": number(sum(len(s.row.cells) for _, rows in boards for s in rows), 0),
            "published": number(printed, 0),
            "plugin": Cell(f"{info.distribution} {info.distribution_version}"),
        }
        lines.append(Line(cells, {"scheme": [info.scheme], "knowledge": list(info.knowledge)}, paper=name))
    columns = [
        Column("method", "Method"),
        Column("title", "Paper"),
        Column("scheme", "Scheme"),
        Column("knowledge", "Knowledge"),
        Column("family", "Family"),
        Column("year", "Year", "number"),
        Column("cells", "Cells", "number", help="Records here"),
        Column("published", "Published", "number", help="Published results known"),
        Column("plugin", "Plugin"),
    ]
    filters = [choices(key, label, lines) for key, label in (("scheme", "Scheme"), ("knowledge", "Knowledge"))]
    table = Table("methods", "Methods with records", columns, lines, filters)
    absent = sorted((n.title for n in method_names().values() if n.method not in by_method), key=str.lower)
    values = {"table": table, "absent": absent, "taxonomy": taxonomy_table()}
    return site.page("methods.html", "methods.html", "Methods", "methods", **values)


def taxonomy_table() -> Table:
    """The survey's families with the methods that it names in each."""
    lines = [
        Line(
            {"family": Cell(family), "method": Cell(method), "citation": Cell(citation), "detail": Cell(detail)},
            {"family": [family]},
        )
        for family, method, citation, detail in taxonomy()
    ]
    columns = [
        Column("family", "Family"),
        Column("method", "Method"),
        Column("citation", "Paper"),
        Column("detail", "What it does", wide=True),
    ]
    return Table("taxonomy", "The survey's taxonomy", columns, lines, [choices("family", "Family", lines)])


def papers(site: Site) -> dict[str, dict[str, Any]]:
    """For BibTeX: the paper of each method that names one."""
    infos = {name: newest(boards) for name, boards in rows_by_method(site).items()}
    return {
        name: {
            "title": info.title,
            "authors": info.authors or "",
            "year": info.year,
            "arxiv": info.arxiv if paths.arxiv(info.arxiv) else None,
        }
        for name, info in infos.items()
        if info.title
    }
