"""Every page of the site: home, suites, pairs, data sets; methods are in `method_pages`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from kdbench.records.rows import PLAIN
from kdbench_leaderboard import distilled, figures, lifelong, paths, power, seed_views, state, views
from kdbench_leaderboard.boards import Board
from kdbench_leaderboard.card import card
from kdbench_leaderboard.choosing import choosing_scripts
from kdbench_leaderboard.cite import ENTRIES
from kdbench_leaderboard.comparisons import comparison_scripts
from kdbench_leaderboard.dataset import dataset_pages
from kdbench_leaderboard.headline import headline
from kdbench_leaderboard.history import history_pages
from kdbench_leaderboard.learn.pages import learning_pages
from kdbench_leaderboard.method_pages import method_pages, methods_page, papers
from kdbench_leaderboard.page import Page, Site, further_columns, script, with_figures
from kdbench_leaderboard.published_order import order_table
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.survey_pages import published_pages, survey_pages
from kdbench_leaderboard.teacher_origins import teacher_origin
from kdbench_leaderboard.verdicts import spoken


def all_pages(site: Site) -> Iterator[Page]:
    """Every page, and the scripts with its figures."""
    yield home_page(site)
    for board, rows in site.boards:
        yield from suite_pages(site, board, rows)
    yield from survey_pages(site)
    yield from method_pages(site)
    yield from published_pages(site)
    yield methods_page(site)
    yield from learning_pages(site)
    yield site.page("state.html", "state.html", "State", "state", has_tables=False, sections=state.sections(site))
    yield site.page("submit.html", "submit.html", "Submit yours", "submit", has_tables=False)
    yield site.page("cell.html", "cell.html", "Record", "cell", has_tables=False)
    yield site.page("compare.html", "compare.html", "Compare two methods", "compare", has_tables=False)
    yield from comparison_scripts(site)
    yield site.page("choose.html", "choose.html", "Choose a method", "choose", has_tables=False)
    yield from choosing_scripts(site)
    yield from history_pages(site)
    yield from dataset_pages(site)
    yield site.page("about.html", "about.html", "About", "about", has_tables=False, entries=ENTRIES)
    yield "data/papers.js", script("papers", papers(site)) + script("cite", ENTRIES)


def home_page(site: Site) -> Page:
    rankings = [
        {
            "suite": board.suite,
            "title": board.title,
            "purpose": board.purpose,
            "answers": headline(board, rows),
            "table": views.ranking(board, rows),
            "goal": spoken(views.goal(board)),
            "more": max(0, len(rows) - 100),
            "fingerprint": board.fingerprint,
            "pairs": len(board.pairs),
            "seeds": power.method_seeds(board, rows),
            "notes": [*lifelong.notes(board), *power.board_notes(board, rows)],
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
    answers = headline(board, rows)
    if board.main:
        yield paths.card(board), card(board, rows, answers)
    table = views.suite_table(board, rows)
    yield further_columns(site, paths.suite(board), table)
    others = [b for b, _ in site.boards if b.suite == board.suite and b is not board]
    images, files = distilled.of_board(board, rows)
    yield from files
    yield site.page(
        "suite.html",
        paths.suite(board),
        board.title,
        "suite",
        board=board,
        answers=answers,
        summary=" ".join(answer.text for answer in answers) or board.title,
        **({"card": paths.card(board)} if board.main else {}),
        table=table,
        goal=spoken(views.goal(board)),
        seeds=power.method_seeds(board, rows),
        ranked=sum(not s.gaps for s in rows),
        verified=sum(s.trained_again[0] > 0 for s in rows),
        notes=[*lifelong.notes(board), *power.board_notes(board, rows)],
        limits=list(limits.values()),
        pairs=[
            {
                "path": paths.pair(board, pair),
                "label": f"{pair[0]} → {pair[1]}",
                "about": "; ".join(filter(None, (compression(board, rows, pair), rows_on(rows, pair)))),
            }
            for pair in board.pairs
        ],
        protocol=json.dumps(board.protocol, indent=2),
        others=[{"path": paths.suite(b), "fingerprint": b.fingerprint[:12], "count": len(b.found)} for b in others],
        have=list(found),
        order=order_table(board, rows) if board.main else None,
        distilled=images,
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
            table=seed_views.pair_table(board, rows, pair),
            **values,
        )


def rows_on(rows: list[Standing], pair: tuple[str, str]) -> str:
    """How many rows have results on a pair, where it lacks some."""
    count = sum(bool(s.pairs[pair].cells) for s in rows)
    return "" if count == len(rows) else f"{count or 'no'} row{'s' * (count != 1)}"


def compression(board: Board, rows: list[Standing], pair: tuple[str, str]) -> str:
    """How much smaller the student is than its teacher; of distilled data, which are what is made smaller, nothing."""
    if board.images_per_class is not None:
        return ""
    numbers = [n["parameters"] for _, n in networks_of(board, rows, pair)]
    return f"{numbers[0] / numbers[1]:.1f} times fewer parameters" if len(numbers) == 2 and numbers[1] else ""


def networks_of(board: Board, rows: list[Standing], pair: tuple[str, str]) -> list[tuple[str, dict[str, Any]]]:
    """Teacher and plain student of a pair, as their records describe them."""
    found: list[tuple[str, dict[str, Any]]] = []
    if teacher := board.teacher(pair[0]):
        network = about(teacher.record.main, board.teacher_top1(pair[0]))
        found.append(("teacher", {**network, "origin": teacher_origin(board, pair[0])}))
    for s in sorted(rows, key=lambda s: s.row.name != PLAIN):
        if cells := s.pairs[pair].cells:
            accuracy = s.pairs[pair].accuracy
            plain = accuracy[0] if accuracy and s.row.name == PLAIN else None
            return [*found, ("student", about(next(iter(cells.values())).record.main, plain))]
    return found


def about(network: Any, top1: float | None) -> dict[str, Any]:
    sizes = {"parameters": network.parameters, "macs": network.macs}
    return {"model": network.model, **sizes, "top1": top1, "origin": ""}
