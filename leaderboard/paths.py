"""Addresses of pages, from the site's root. They are made of names that passed `kdbench.tables.NAME` and of hashes."""

from __future__ import annotations

import re
from urllib.parse import quote, urlencode

from kdbench.records.record import Record
from kdbench.records.rows import Origin
from kdbench.tables import NAME
from kdbench_leaderboard.boards import Board, Pair


def slug(name: str) -> str:
    """A name that is safe as a part of a path.

    Raises:
        ValueError: it is not.
    """
    if not re.fullmatch(NAME, name) or len(name) > 100:
        raise ValueError(f"'{name}' is no name")
    return name


def suite(board: Board) -> str:
    page = "index" if board.main else slug(board.fingerprint[:12])
    return f"suite/{slug(board.suite)}/{page}.html"


def method(name: str) -> str:
    return f"method/{slug(name)}.html"


def pair(board: Board, of: Pair) -> str:
    return f"pair/{slug(board.suite)}/{slug(of[0])}/{slug(of[1])}.html"


def card(board: Board) -> str:
    return f"card/{slug(board.suite)}.png"


def survey(dataset: str) -> str:
    return f"survey/{slug(dataset)}.html"


def compare(board: Board, one: str, other: str) -> str:
    """The page that compares two rows, by their titles."""
    state = {"suite": slug(board.suite), "a": one, "b": other}
    return f"compare.html#{urlencode(state, quote_via=quote)}"


def cell(record: Record) -> str:
    return f"cell.html#suite={slug(record.suite)}&method={slug(record.method.name)}&key={slug(record.key[:16])}"


def kept(record: Record, origin: Origin) -> str:
    """Where a record lies, as `kdbench verify` takes it: a folder in `runs/`, or a line in `results/`."""
    place = f"{slug(record.suite)}/{slug(record.method.name)}"
    key = slug(record.key[:16])
    return f"runs/{place}/{key}" if origin == "yours" else f"results/{place}/records.jsonl:{key}"


def arxiv(number: str | None) -> str | None:
    """A paper's address; None for what is no arXiv number."""
    if number and re.fullmatch(r"\d{4}\.\d{4,5}(v\d+)?|[a-z-]+(\.[A-Z]{2})?/\d{7}", number):
        return f"https://arxiv.org/abs/{number}"
    return None
