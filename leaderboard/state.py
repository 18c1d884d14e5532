"""What is not in a ranking, each with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdbench_leaderboard.page import Site

Said = list[tuple[str, str]]  # where, what


def sections(site: Site) -> dict[str, Said]:
    """The lists of the page 'state'."""
    store, gaps, inapplicable, off, older = site.store, [], [], [], []
    for board, rows in site.boards:
        for s in rows:
            where = f"{board.suite} / {s.row.title}"
            if s.gaps:
                gaps.append((where, "; ".join(s.gaps[:6]) + (f"; {len(s.gaps) - 6} more" if len(s.gaps) > 6 else "")))
            reasons = {c.record.reason: c.record.student for c in s.row.cells.values() if c.record.reason}
            inapplicable += [(where, f"{student}: {reason}") for reason, student in reasons.items()]
            if s.row.older:
                older.append((where, f"{s.row.older} records that newer ones replace, or of other test images"))
        by_row: dict[str, list[str]] = {}
        for cell in board.off_protocol:
            by_row.setdefault(cell.record.row, []).append("; ".join(cell.record.off_protocol))
        off += [(f"{board.suite} / {row}", f"{len(why)} records: {why[0]}") for row, why in sorted(by_row.items())]
    return {
        "problems": [(" / ".join(filter(None, (p.suite, p.method))), p.what) for p in store.problems],
        "gaps": gaps,
        "inapplicable": inapplicable,
        "off": off,
        "older": older,
        "withdrawn": [
            (f"{w.suite} / {w.row}", f"version {w.version}, {w.date}, {w.status}: {w.reason}") for w in store.withdrawn
        ],
        "failures": [(f"{p.suite} / {p.method}", p.what) for p in store.failures],
    }
