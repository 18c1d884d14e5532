"""Every page of the site: home, suites, pairs, data sets; methods are in `method_pages`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kdbench.records.rows import PLAIN
from kdbench_leaderboard import figures, paths, power, state, views
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.method_pages import method_pages, methods_page, papers
from kdbench_leaderboard.page import Page, Site, script, with_figures
from kdbench_leaderboard.published import datasets, entries, survey
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.survey_view import survey_table


def all_pages(site: Site) -> Iterator[Page]:
    """Every page, and the scripts with its figures."""
    yield home_page(site)
    for board, rows in site.boards:
        yield from suite_pages(site, board, rows)
    yield from survey_pages(site)
    yield from method_pages(site)
    yield methods_page(site)
    yield site.page("state.html", "state.html", "State", "state", has_tables=False, sections=state.sections(site))
    yield site.page("submit.html", "submit.html", "Submit yours", "submit", has_tables=False)
    yield site.page("cell.html", "cell.html", "Record", "cell", has_tables=False)
    yield "data/papers.js", script("papers", papers(site))


def home_page(site: Site) -> Page:
    rankings = [
        {
            "suite": board.suite,
            "title": board.title,
            "table": views.ranking(board, rows),
            "more": max(0, len(rows) - 100),
            "fingerprint": board.fingerprint,
            "pairs": len(board.pairs),
            "seeds": len(board.seeds),
            "notes": power.board_notes(board, rows),
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
    limits = power.pair_limits(board, rows)
    others = [b for b, _ in site.boards if b.suite == board.suite and b is not board]
    yield site.page(
        "suite.html",
        paths.suite(board),
        board.title,
        "suite",
        board=board,
        table=views.suite_table(board, rows),
        ranked=sum(not s.gaps for s in rows),
        notes=power.board_notes(board, rows),
        limits=list(limits.values()),
        pairs=[
            {
                "path": paths.pair(board, pair),
                "label": f"{pair[0]} → {pair[1]}",
                "about": compression(board, rows, pair),
            }
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
            limit=limits.get(pair),
            table=views.pair_table(board, rows, pair),
            **values,
        )


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
