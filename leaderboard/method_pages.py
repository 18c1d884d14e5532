"""The pages of methods, their list, and their papers for BibTeX."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from kdbench.records.record import MethodInfo
from kdbench.records.rows import PLAIN
from kdbench_leaderboard import figures, paths, views
from kdbench_leaderboard.boards import Board, Row, reproductions
from kdbench_leaderboard.page import Page, Site, with_figures
from kdbench_leaderboard.published import method_names, of_method, published, taxonomy
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices, number

Boards = Sequence[tuple[Board, list[Standing]]]


def rows_by_method(site_boards: Boards) -> dict[str, Boards]:
    """A method's rows on every board."""
    found: dict[str, dict[int, tuple[Board, list[Standing]]]] = {}
    for n, (board, rows) in enumerate(site_boards):
        for s in rows:
            found.setdefault(s.row.info.name, {}).setdefault(n, (board, []))[1].append(s)
    return {name: list(boards.values()) for name, boards in sorted(found.items())}


def method_pages(site: Site) -> Iterator[Page]:
    repeats = reproductions(site.store)
    for name, boards in rows_by_method(site.boards).items():
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
            published=published_table(name),
            withdrawn=[w for w in site.store.withdrawn if w.row.partition("[")[0] == name],
            ran=list(dict.fromkeys(board.suite for board, _ in boards)),
            **values,
        )


def newest(boards: Boards) -> MethodInfo:
    """The metadata of the newest accepted version."""
    rows = [s.row for _, rows in boards for s in rows]
    return max(rows, key=lambda row: (row.origin == "accepted", row.info.version)).info


def infos(boards: Boards) -> dict[str, MethodInfo]:
    """By method, its metadata: the one source for every page."""
    return {name: newest(rows) for name, rows in rows_by_method(boards).items()}


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


def published_table(method: str) -> Table | None:
    """A method's published results."""
    lines = []
    results = of_method(method)
    for printed in results:
        source = Cell(printed.source.name, external=printed.source.address, title=printed.source.notes)
        cells = {
            "dataset": Cell(printed.dataset),
            "name": Cell(method_names()[printed.method].title),
            "pair": Cell(f"{printed.teacher or '–'} → {printed.student or '–'}"),
            "teacher": number(printed.teacher_accuracy),
            "student": number(printed.student_accuracy),
            "accuracy": number(printed.accuracy),
            "gain": number(printed.gain, sign=True),
            "source": source,
            "note": Cell(printed.note, tags=tuple((flag, printed.source.notes) for flag in printed.flags)),
        }
        lines.append(Line(cells, {"dataset": [printed.dataset]}, paper=method))
    if not lines:
        return None
    columns = [
        Column("dataset", "Data set"),
        *([Column("name", "Published as")] * (len({p.method for p in results}) > 1)),
        Column("pair", "Pair"),
        Column("teacher", "Teacher", "number"),
        Column("student", "Student", "number"),
        Column("accuracy", "Accuracy", "number"),
        Column("gain", "Gain", "number", help="Over the source's own student"),
        Column("source", "Source"),
        Column("note", "Note and protocol", wide=True),
    ]
    filters = [choices("dataset", "Data set", lines)]
    return Table("published", "Published results, under the protocols of their sources", columns, lines, filters)


def methods_page(site: Site) -> Page:
    lines = []
    by_method = rows_by_method(site.boards)
    for name, boards in by_method.items():
        info = newest(boards)
        cells = {
            "method": Cell(name, href=paths.method(name)),
            "title": Cell(info.title or info.docstring.split("\n")[0], external=paths.arxiv(info.arxiv)),
            "scheme": Cell(info.scheme),
            "knowledge": Cell(", ".join(info.knowledge)),
            "family": Cell(", ".join(info.families)),
            "year": Cell(str(info.year), info.year) if info.year else Cell("–"),
            "cells": number(sum(len(s.row.cells) for _, rows in boards for s in rows), 0),
            "published": number(len(of_method(name)), 0),
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
    names = [method_names()[method] for method in {p.method for p in published()}]
    absent = sorted((n.title for n in names if not by_method.keys() & n.measured_by), key=str.lower)
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
    return {
        name: {
            "title": info.title,
            "authors": info.authors or "",
            "year": info.year,
            "arxiv": info.arxiv if paths.arxiv(info.arxiv) else None,
        }
        for name, info in infos(site.boards).items()
        if info.title
    }
