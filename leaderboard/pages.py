"""One function a kind of page. Templates escape everything; data reach the browser as scripts, escaped for scripts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kdbench.records import MethodInfo
from kdbench_leaderboard import figures, paths, state, views
from kdbench_leaderboard.boards import PLAIN, Board, Row, make_boards, reproduced
from kdbench_leaderboard.published import datasets, entries, method_names, published, survey
from kdbench_leaderboard.read import Store
from kdbench_leaderboard.standings import Standing, standings
from kdbench_leaderboard.survey_view import survey_table
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices, number

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
CAPTIONS = {
    "ties": "Gain over the plain student with its 95 % interval, over all pairs. Bands are tie groups.",
    "heat": "Gain of each method on each pair, in percentage points. Blue is better than the plain student.",
    "ranks": "Mean rank over pairs with its 95 % interval over seeds.",
    "compression": "Accuracy against compression: how many times fewer parameters the student has than its teacher.",
    "cost": "Accuracy against what training cost in this suite: wall time, with other cells on the same machine.",
    "cost-alone": "Accuracy against what training would cost alone: a step timed with nothing else on the machine.",
}
Page = tuple[str, str]  # path from the site's root, text


@dataclass
class Site:
    """What the pages are made of.

    Attributes:
        boards: every board with its rows in order.
    """

    store: Store
    boards: list[tuple[Board, list[Standing]]]
    environment: Environment = field(init=False)

    def __post_init__(self) -> None:
        folder = FileSystemLoader(Path(__file__).parent / "templates")
        self.environment = Environment(
            loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self.environment.globals.update(policy=POLICY, empty=Cell(), suites=self.suites, updated=self.updated)

    @cached_property
    def main_boards(self) -> list[tuple[Board, list[Standing]]]:
        """One board a suite; the one with most records first."""
        main = [(board, rows) for board, rows in self.boards if board.main]
        return sorted(main, key=lambda both: (-len(both[0].found), both[0].suite))

    @cached_property
    def updated(self) -> str:
        """The date of the last record."""
        return max((cell.record.finished[:10] for cell in self.store.cells), default="")

    @cached_property
    def suites(self) -> list[dict[str, str]]:
        return [{"path": paths.suite(b), "label": b.suite, "title": b.title} for b, _ in self.main_boards]

    def page(self, template: str, path: str, title: str, here: str, **values: Any) -> Page:
        """One rendered page."""
        values = {"figures": None, "has_tables": True, **values}
        root = "../" * path.count("/")
        page = self.environment.get_template(template)
        return path, page.render(root=root, path=path, title=title, here=here, **values)


def make_site(store: Store) -> Site:
    return Site(store, [(board, standings(board, store.costs)) for board in make_boards(store)])


def script(name: str, value: Any) -> str:
    """Data as a script that is safe beside any markup: no '<', no line separators of JavaScript."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return f"kdbench.receive({json.dumps(name)},{text});\n"


def all_pages(site: Site) -> Iterator[Page]:
    """Every page, and the scripts with its figures."""
    yield home_page(site)
    for board, rows in site.boards:
        yield from suite_pages(site, board, rows)
    yield from survey_pages(site)
    yield from method_pages(site)
    yield methods_page(site)
    yield site.page("state.html", "state.html", "State", "state", has_tables=False, **state.sections(site))
    yield site.page("submit.html", "submit.html", "Submit yours", "submit", has_tables=False)
    yield site.page("cell.html", "cell.html", "Record", "cell", has_tables=False)
    yield "data/papers.js", script("papers", papers(site))


def with_figures(name: str, found: dict[str, figures.Figure]) -> tuple[dict[str, Any], list[Page]]:
    """What a page with figures needs, and the script that holds them."""
    shown = [(key, CAPTIONS[key], figure["layout"]["height"]) for key, figure in found.items()]
    if not found:
        return {"shown": [], "figures": None}, []
    path = f"data/figures/{name}.js"
    return {"shown": shown, "figures": path}, [(path, script("figures", found))]


def home_page(site: Site) -> Page:
    rankings = [
        {
            "suite": board.suite,
            "title": board.title,
            "table": views.ranking(board, rows),
            "more": max(0, len(rows) - 100),
            "fingerprint": board.fingerprint,
            "pairs": len(board.pairs),
            "seeds": board.seeds,
            "path": paths.suite(board),
        }
        for board, rows in site.main_boards[:12]
    ]
    facts = {
        "methods": len({row.info.name for board, _ in site.boards for row in board.rows}),
        "cells": len(site.store.cells),
        "updated": site.updated,
        "problems": len(site.store.problems),
    }
    return site.page("home.html", "index.html", "Ranking", "home", rankings=rankings, facts=facts)


def suite_pages(site: Site, board: Board, rows: list[Standing]) -> Iterator[Page]:
    """The page of a board, and those of its pairs if it is its suite's main one."""
    found = figures.board_figures(board, rows)
    values, scripts = with_figures(f"suite/{board.suite}/{board.fingerprint[:12]}", found)
    yield from scripts
    groups = [s.group for s in rows if s.group]
    others = [b for b, _ in site.boards if b.suite == board.suite and b is not board]
    yield site.page(
        "suite.html",
        paths.suite(board),
        board.title,
        "suite",
        board=board,
        table=views.suite_table(board, rows),
        stats={"ranked": len(groups), "groups": max(groups, default=0)},
        pairs=[
            {"path": paths.pair(board, pair), "label": f"{pair[0]} → {pair[1]}", "about": compression(board, rows, pair)}
            for pair in board.pairs
        ],
        protocol=json.dumps(board.protocol, indent=2),
        others=[{"path": paths.suite(b), "fingerprint": b.fingerprint[:12], "count": len(b.found)} for b in others],
        have=list(found),
        **values,
    )
    for pair in board.pairs if board.main else ():
        figure = figures.seeds_on_pair(rows, pair)
        name = paths.pair(board, pair).removesuffix(".html")
        shown = {"seeds": figure} if figure else {}
        values, scripts = with_figures(name, shown)
        yield from scripts
        yield site.page(
            "pair.html",
            paths.pair(board, pair),
            f"{pair[0]} → {pair[1]}",
            "suite",
            board=board,
            pair=pair,
            back=paths.suite(board),
            networks=networks_of(board, rows, pair),
            table=views.pair_table(board, rows, pair),
            **values,
        )


CAPTIONS["seeds"] = "Each seed's accuracy (bars), its mean and 95 % interval (markers), the best method first."
CAPTIONS["curves"] = "Test accuracy by epoch, the mean over seeds. A diagnostic: the last epoch counts."


def compression(board: Board, rows: list[Standing], pair: tuple[str, str]) -> str:
    numbers = [n["parameters"] for _, n in networks_of(board, rows, pair)]
    return f"{numbers[0] / numbers[1]:.1f} times fewer parameters" if len(numbers) == 2 and numbers[1] else ""


def networks_of(board: Board, rows: list[Standing], pair: tuple[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Teacher and plain student of a pair, as their records describe them."""
    found: list[tuple[str, dict[str, Any]]] = []
    if teacher := board.teachers.get(pair[0]):
        found.append(("teacher", about(teacher.record.main, teacher.record.main.metrics.top1)))
    for s in sorted(rows, key=lambda s: s.row.name != PLAIN):
        if cells := s.pairs[pair].cells:
            accuracy = s.pairs[pair].accuracy
            plain = accuracy[0] if accuracy and s.row.name == PLAIN else None
            return [*found, ("student", about(next(iter(cells.values())).record.main, plain))]
    return found


def about(network: Any, top1: float | None) -> dict[str, Any]:
    return {"model": network.model, "parameters": network.parameters, "macs": network.macs, "top1": top1}


def survey_pages(site: Site) -> Iterator[Page]:
    """A page a data set."""
    names = list(dict.fromkeys([*datasets(), *(board.dataset for board, _ in site.boards)]))
    order = ["cifar100", "cifar10"]
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    tabs = [{"name": name, "path": paths.survey(name)} for name in names]
    for name in names:
        table = survey_table(name, site.boards)
        known = entries(name)
        used = {printed.source for entry in known.values() for printed in entry.printed}
        numbers = {row.table for row in survey() if row.dataset == name}
        values = {
            "dataset": name,
            "datasets": tabs,
            "table": table,
            "number": next(iter(numbers), None),
            "sources": sorted(used, key=lambda s: s.name),
            "suggestion": {"tiny_imagenet": name, "cifar10": name, "imagenet": name}.get(name, "cifar100"),
            "counts": {
                "survey": sum(len(entry.survey) for entry in known.values()),
                "others": sum(len(entry.printed) for entry in known.values()),
                "kdbench": sum(line.cells["kdbench"].value is not None for line in table.lines),
            },
        }
        yield site.page("survey.html", paths.survey(name), f"Results on {name}", "survey", **values)


def rows_by_method(site: Site) -> dict[str, list[tuple[Board, list[Standing]]]]:
    """A method's rows on every board."""
    found: dict[str, dict[int, tuple[Board, list[Standing]]]] = {}
    for n, (board, rows) in enumerate(site.boards):
        for s in rows:
            found.setdefault(s.row.info.name, {}).setdefault(n, (board, []))[1].append(s)
    return {name: list(boards.values()) for name, boards in sorted(found.items())}


def method_pages(site: Site) -> Iterator[Page]:
    repeats = reproduced(site.store)
    for name, boards in rows_by_method(site).items():
        shown = {}
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
                f"Your runs of {row} on {suite} repeat {same} of {of} accepted records image by image."
                for (suite, row), (same, of) in repeats.items()
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
        filters = {"scheme": [info.scheme], "knowledge": list(info.knowledge), "family": list(info.families)}
        lines.append(Line(cells, filters, paper=name))
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
    return site.page("methods.html", "methods.html", "Methods", "methods", table=table, absent=absent)


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
