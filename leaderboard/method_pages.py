"""The pages of methods, their list, and their papers for BibTeX."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from kdbench.records.parts import MethodInfo
from kdbench.records.rows import FAMILY, KD, PLAIN, RANDOM
from kdbench_leaderboard import figures, paths, seed_views
from kdbench_leaderboard.boards import Board, reproductions
from kdbench_leaderboard.figure_parts import Figure
from kdbench_leaderboard.learn.code import loss_code
from kdbench_leaderboard.learn.pictures import method_picture
from kdbench_leaderboard.learn.taxonomy import families_of
from kdbench_leaderboard.mathml import described
from kdbench_leaderboard.page import Page, Site, with_figures
from kdbench_leaderboard.parameters import parameters_table
from kdbench_leaderboard.published import method_names, of_method
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.stands import standing_sentence, stands_table
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices, number

Boards = Sequence[tuple[Board, list[Standing]]]


def rows_by_method(site_boards: Boards) -> dict[str, Boards]:
    """A method's rows on every board."""
    found: dict[str, dict[int, tuple[Board, list[Standing]]]] = {}
    for n, (board, rows) in enumerate(site_boards):
        for s in rows:
            found.setdefault(s.row.info.name, {}).setdefault(n, (board, []))[1].append(s)
    return {name: list(boards.values()) for name, boards in sorted(found.items())}


def beside_of(info: MethodInfo, board: Board | None) -> str:
    """What a method is compared with on its first board."""
    if FAMILY in info.families:
        return f"{RANDOM} {PLAIN}"
    return PLAIN if board and board.has_tasks else f"{KD} {PLAIN}"


def method_pages(site: Site) -> Iterator[Page]:
    repeats = reproductions(site.store)
    for name, boards in rows_by_method(site.boards).items():
        values, scripts = with_figures(f"method/{name}", training_curves(site, boards))
        yield from scripts
        info = newest(boards)
        everyone = [s for _, rows in boards for s in rows]
        distils = FAMILY in info.families
        yield site.page(
            "method.html",
            paths.method(name),
            name,
            "methods",
            info=info,
            about=described(info.docstring),
            picture=None if distils else method_picture(info, params_of(boards)),
            code=loss_code(info),
            address=paths.arxiv(info.arxiv),
            verified="; ".join(dict.fromkeys(s.verified for s in everyone)),
            stands=stands_table(site, boards),
            said=[standing_sentence(board, everyone_on(site, board), s) for board, rows in boards for s in rows],
            reproduced=[
                f"Your run of {row} on {suite}: {found}."
                for (suite, row), found in repeats.items()
                if row.partition("[")[0] == name
            ],
            tables=[seed_views.method_table(board, rows) for board, rows in boards],
            params=parameters_table(name, boards),
            published=published_table(name, boards),
            withdrawn=[w for w in site.store.withdrawn if w.row.partition("[")[0] == name],
            beside=beside_of(info, boards[0][0] if boards else None),
            ran=list(dict.fromkeys(board.suite for board, _ in boards)),
            kept=next((paths.kept(c.record, c.origin) for s in everyone for c in s.row.cells.values()), ""),
            **values,
        )


def params_of(boards: Boards) -> dict[str, Any]:
    """The parameters of one of a method's records, those of its plain row first."""
    rows = sorted((s.row for _, rows in boards for s in rows), key=lambda row: row.name != row.info.name)
    return next((cell.record.params for row in rows for cell in row.cells.values()), {})


def everyone_on(site: Site, board: Board) -> list[Standing]:
    """All rows of a board."""
    return next(rows for one, rows in site.boards if one is board)


def training_curves(site: Site, boards: Boards) -> dict[str, Figure]:
    """The curves of the method on the first board that has any, with its plain student and KD."""
    for board, rows in sorted(boards, key=lambda both: bool(both[0].purpose)):
        references = [s for s in everyone_on(site, board) if s.reference in (PLAIN, KD)]
        for s in rows:
            if figure := figures.curves(s, references):
                return {"curves": figure}
    return {}


def newest(boards: Boards) -> MethodInfo:
    """The metadata of the newest accepted version."""
    rows = [s.row for _, rows in boards for s in rows]
    return max(rows, key=lambda row: (row.origin == "accepted", row.info.version)).info


def infos(boards: Boards) -> dict[str, MethodInfo]:
    """By method, its metadata: the one source for every page."""
    return {name: newest(rows) for name, rows in rows_by_method(boards).items()}


def published_table(method: str, boards: Boards = ()) -> Table | None:
    """A method's published results; what is measured here on the same data set stands beside them."""
    results = of_method(method)
    lines = measured_lines({p.dataset for p in results}, boards)
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


def measured_lines(known: set[str], boards: Boards) -> list[Line]:
    """What kdbench measured on data sets of which there are published numbers."""
    lines = []
    for board, rows in boards:
        for s in rows if board.dataset in known else ():
            for pair, result in s.pairs.items():
                if result.accuracy is None:
                    continue
                gain = result.gain.mean if result.gain else None
                cells = {
                    "dataset": Cell(board.suite),
                    "name": Cell(s.row.title),
                    "pair": Cell(f"{pair[0]} → {pair[1]}"),
                    "teacher": number(board.teacher_top1(pair[0])),
                    "student": number(None if gain is None else result.accuracy[0] - gain),
                    "accuracy": number(result.accuracy[0]),
                    "gain": number(gain, sign=True),
                    "source": Cell(f"kdbench, {board.suite}", href=paths.suite(board)),
                    "note": Cell("measured here: the mean over seeds, the last epoch"),
                }
                lines.append(Line(cells, {"dataset": [board.suite]}, paper=s.row.info.name))
    return lines


def methods_page(site: Site) -> Page:
    lines = []
    by_method = rows_by_method(site.boards)
    for name, boards in by_method.items():
        info = newest(boards)
        cells = {
            "method": Cell(name, href=paths.method(name), beneath=Cell(info.title or "")),
            "title": Cell(info.title or info.docstring.split("\n")[0], external=paths.arxiv(info.arxiv)),
            "scheme": Cell(info.scheme),
            "knowledge": Cell(", ".join(info.knowledge)),
            "family": Cell(", ".join(families_of(info))),
            "year": Cell(str(info.year), info.year) if info.year else Cell("–"),
            "cells": number(sum(len(s.row.cells) for _, rows in boards for s in rows), 0),
            "published": number(len(of_method(name)), 0),
            "plugin": Cell(f"{info.distribution} {info.distribution_version}"),
        }
        kinds: dict[str, list[str]] = {"scheme": [info.scheme], "knowledge": [*info.knowledge]}
        lines.append(Line(cells, kinds, paper=name, words=f"{name} {info.title or ''} {info.authors or ''}"))
    columns = [
        Column("method", "Method"),
        Column("title", "Paper", phone=False),
        Column("year", "Year", "number"),
        Column("cells", "Cells", "number", help="Records here"),
        Column("published", "Published", "number", help="Published results known"),
        Column("scheme", "Scheme"),
        Column("knowledge", "Knowledge"),
        Column("family", "Family"),
        Column("plugin", "Plugin"),
    ]
    filters = [choices(key, label, lines) for key, label in (("scheme", "Scheme"), ("knowledge", "Knowledge"))]
    table = Table("methods", "Methods with records", columns, lines, filters)
    absent = sorted(((method_names()[name].title, paths.method(name)) for name in site.published_only), key=by_title)
    values = {"table": table, "absent": absent}
    return site.page("methods.html", "methods.html", "Methods", "methods", **values)


def by_title(named: tuple[str, str]) -> str:
    return named[0].lower()


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
