"""What is not in a ranking, each with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdbench.records.rows import seeds_of

if TYPE_CHECKING:
    from kdbench_leaderboard.page import Site

Said = list[tuple[str, str]]  # where, what


def sections(site: Site) -> list[tuple[str, Said]]:
    """The lists of the page 'state', each with its title."""
    store = site.store
    gaps: Said = []
    inapplicable: Said = []
    older: Said = []
    elsewhere: Said = []
    for board, rows in site.boards:
        for s in rows:
            where = f"{board.suite} / {s.row.title}"
            if s.gaps:
                gaps.append((where, "; ".join(s.gaps[:6]) + (f"; {len(s.gaps) - 6} more" if len(s.gaps) > 6 else "")))
            reasons = {c.record.reason: c.record.student for c in s.row.cells.values() if c.record.reason}
            inapplicable += [(where, f"{student}: {reason}") for reason, student in reasons.items()]
            counted = seeds_of(s.row, board.pairs, board.seeds, board.most_seeds)
            if strange := sorted({seed for _, _, seed in s.row.cells}.difference(counted)):
                seeds = ", ".join(map(str, strange[:6])) + (", ..." if len(strange) > 6 else "")
                elsewhere.append((where, f"seeds {seeds}: none of the {len(counted)} that the board compares"))
            if s.row.older:
                older.append((where, f"{s.row.older} records that newer ones replace, or of other test images"))
    problems = [(" / ".join(filter(None, (p.suite, p.method))), p.what) for p in store.problems]
    withdrawn = [
        (f"{w.suite} / {w.row}", f"version {w.version}, {w.date}, {w.status}: {w.reason}") for w in store.withdrawn
    ]
    return [
        ("Records that cannot be shown", problems),
        ("Rows that are not ranked", gaps),
        ("Cells that a method cannot serve", inapplicable),
        ("Records off the protocol", off_protocol(site)),
        ("Records of other seeds", elsewhere),
        ("Older versions and replaced records", older),
        ("Withdrawn and superseded rows", withdrawn),
        ("Cells of yours that failed", [(f"{p.suite} / {p.method}", p.what) for p in store.failures]),
    ]


def off_protocol(site: Site) -> Said:
    """Records that are never ranked: quick looks and validation runs."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in site.store.cells:
        if cell.record.off_protocol:
            place = (cell.record.suite, f"{cell.record.row}{' (yours)' if cell.origin == 'yours' else ''}")
            reasons.setdefault(place, []).append("; ".join(cell.record.off_protocol))
    return [(f"{suite} / {row}", f"{len(why)} records: {why[0]}") for (suite, row), why in sorted(reasons.items())]
