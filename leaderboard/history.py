"""The board's history: which rows came, changed or went, and when; as a page and as an Atom feed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from xml.sax.saxutils import escape

from kdbench_leaderboard.page import Page, Site

DAY = re.compile(r"\d{4}-\d\d-\d\d")
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MOST_ENTRIES = 50


@dataclass(frozen=True, order=True)
class Event:
    """What happened to rows of one suite on one day.

    Attributes:
        kind: came, changed, went.
        rows: their names, with versions above 1.
    """

    date: str
    suite: str
    kind: str
    rows: tuple[str, ...]
    why: str = ""

    @property
    def text(self) -> str:
        return f"{self.kind}: {', '.join(self.rows)}{f' ({self.why})' if self.why else ''}"


def events(site: Site) -> list[Event]:
    """All that is known, the latest first: from the records' dates, and from what was withdrawn or superseded."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    replaced = {(w.suite, w.row) for w in site.store.withdrawn}
    for board, rows in site.boards:
        for s in rows:
            days = [c.record.finished[:10] for c in s.row.cells.values() if DAY.match(c.record.finished)]
            if s.row.origin == "accepted" and days:
                version = s.row.info.version
                kind = "changed" if version > 1 or (board.suite, s.row.name) in replaced else "came"
                name = f"{s.row.name} version {version}" if version > 1 else s.row.name
                found.setdefault((max(days), board.suite, kind, ""), []).append(name)
    for w in site.store.withdrawn:
        kind = "went" if w.status == "withdrawn" else "left for newer records"
        found.setdefault((w.date, w.suite, kind, w.reason), []).append(f"{w.row} version {w.version}")
    made = [Event(date, suite, kind, tuple(sorted(set(rows))), why) for (date, suite, kind, why), rows in found.items()]
    return sorted(made, reverse=True)


def history_pages(site: Site) -> Iterator[Page]:
    """The page and the feed."""
    known = events(site)
    days: dict[str, list[Event]] = {}
    for event in known:
        days.setdefault(event.date, []).append(event)
    yield site.page("history.html", "history.html", "History", "history", has_tables=False, days=list(days.items()))
    yield "feed.xml", feed(site, known)


def feed(site: Site, known: list[Event]) -> str:
    """An Atom feed, an entry a day and suite; addresses are relative where the site's own is not known."""
    entries: dict[tuple[str, str], list[Event]] = {}
    for event in known:
        if DAY.fullmatch(event.date):
            entries.setdefault((event.date, event.suite), []).append(event)
    base = site.origin.address
    body = [entry(base, date, suite, group) for (date, suite), group in list(entries.items())[:MOST_ENTRIES]]
    updated = max((date for date, _ in entries), default="1970-01-01")
    return "\n".join(
        [
            '<?xml version="1.0" encoding="utf-8"?>',
            '<feed xmlns="http://www.w3.org/2005/Atom">',
            "<title>kdbench: what changed on the board</title>",
            "<id>tag:kdbench,2026:board</id>",
            f"<updated>{updated}T00:00:00Z</updated>",
            "<author><name>kdbench</name></author>",
            f'<link rel="alternate" href="{xml(base)}history.html"/>',
            *([f'<link rel="self" href="{xml(base)}feed.xml"/>'] if base else []),
            *body,
            "</feed>",
            "",
        ]
    )


def entry(base: str, date: str, suite: str, group: list[Event]) -> str:
    text = "; ".join(event.text for event in group)
    return (
        f"<entry><title>{xml(suite)}, {date}</title><id>tag:kdbench,{date}:{xml(suite)}</id>"
        f"<updated>{date}T00:00:00Z</updated>"
        f'<link href="{xml(base)}history.html#d{date}"/><content type="text">{xml(text)}</content></entry>'
    )


def xml(text: str) -> str:
    """A text as XML has it, without characters that it forbids."""
    return escape(NOT_XML.sub("", text), {'"': "&quot;"})
