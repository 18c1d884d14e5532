"""The survey's view of a data set: its blocks and columns; beside what it printed, other sources and kdbench."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from kdbench.records import Record
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import PLAIN, Board, Pair
from kdbench_leaderboard.published import (
    BLOCKS,
    KNOWLEDGE,
    Entry,
    Key,
    Printed,
    block_of,
    entries,
    method_names,
    network,
    published_name,
)
from kdbench_leaderboard.standings import Standing
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices, estimate, number
from kdbench_leaderboard.views import best_minus_last

Boards = Sequence[tuple[Board, list[Standing]]]
Measured = list[tuple[Board, Standing, Pair]]


def survey_table(dataset: str, boards: Boards) -> Table:
    """All published and measured results of a data set."""
    mine = measured(dataset, boards)
    known = entries(dataset)
    for key, found in mine.items():
        info = found[0][1].row.info
        known.setdefault(key, Entry(key, block_of(info.scheme, info.families)))
    order = list(BLOCKS)
    ordered = sorted(known.values(), key=lambda e: (order.index(e.block), not e.survey))  # stable: the survey's order
    lines = [line for entry in ordered for line in entry_lines(entry, mine.get(entry.key, []))]
    columns = [
        Column("method", "Methods"),
        Column("knowledge", "Knowledge"),
        Column("teacher", "Teacher (baseline)"),
        Column("student", "Student (baseline)"),
        Column("survey", "Survey (gain)", "number", help="As the survey prints it: accuracy and gain"),
        Column("others", "Others", "number", help="What other sources published, with their student's gain"),
        Column("kdbench", "kdbench", "number", help="Mean over seeds ± half its 95 % interval, the last epoch"),
        Column("gap", "Gap", "number", help="kdbench minus the published number, percentage points"),
        Column("notes", "Protocol and notes", wide=True),
    ]
    filters = [choices("knowledge", "Knowledge", lines), choices("shown", "Numbers of", lines)]
    return Table("survey", f"Results on {dataset}", columns, lines, filters)


def measured(dataset: str, boards: Boards) -> dict[Key, Measured]:
    """What kdbench measured on a data set, by method and networks: rows of default parameters, accepted ones first."""
    found: dict[Key, Measured] = {}
    for board, standings in boards:
        if board.dataset != dataset:
            continue
        for s in standings:
            if s.row.name == s.row.info.name:
                for pair, result in s.pairs.items():
                    if result.accuracy is not None:
                        record = next(iter(result.cells.values())).record
                        key = (published_name(s.row.info.name), network(partner(record)), network(pair[1]))
                        if (board, s) in [one[:2] for one in found.get(key, ())]:
                            continue  # it stands under every pair of its student
                        found.setdefault(key, []).append((board, s, pair))
    return found


def partner(record: Record) -> str:
    """Whom the survey prints as a student's teacher: its teacher, or the peer that learns beside it, or nobody."""
    if record.teachers:
        return record.teachers[0].model
    return record.others[0].model if record.method.scheme == "online" and record.others else ""


def entry_lines(entry: Entry, mine: Measured) -> list[Line]:
    """One line; several where the survey prints the same method and pair more than once."""
    return [line_of(entry, n, mine) for n in range(max(1, len(entry.survey)))]


def line_of(entry: Entry, n: int, mine: Measured) -> Line:
    row = entry.survey[n] if entry.survey else None
    name = method_names().get(entry.key[0])
    info = mine[0][1].row.info if mine else None
    knowledge = row.knowledge if row else short_knowledge(name.knowledge if name else info.knowledge if info else [])
    title = row.method if row else name.title if name else entry.key[0]
    survey_cell = Cell("–")
    if row:
        tags = (("arithmetic", f"the survey prints a gain of {row.improvement:.2f}"),) if wrong_sum(row.note) else ()
        survey_cell = Cell(f"{row.accuracy:.2f} ({row.improvement:+.2f})", row.accuracy, tags=tags)
    reference = row.accuracy if row else next((p.accuracy for p in by_trust(entry.printed)), None)
    own = mine[0][1].pairs[mine[0][2]].accuracy if mine else None
    cells = {
        "method": Cell(title, href=paths.method(info.name) if info else None, title=row.citation if row else ""),
        "knowledge": Cell(knowledge),
        "teacher": with_baseline(*teacher_of(entry, n, mine)),
        "student": with_baseline(*student_of(entry, n, mine)),
        "survey": survey_cell,
        "others": others_cell(entry.printed),
        "kdbench": kdbench_cell(mine, any("best epoch" in p.flags for p in entry.printed)),
        "gap": number(own[0] - reference if own and reference is not None else None, sign=True),
        "notes": Cell("; ".join(notes_of(row.note if row else "", entry.printed)), tags=tuple(flags_of(entry, mine))),
    }
    shown = ["survey"] * bool(row) + ["others"] * bool(entry.printed) + ["kdbench"] * bool(mine)
    filters = {"knowledge": [k.strip() for k in knowledge.split(",") if k.strip()], "shown": shown}
    return Line(cells, filters, paper=entry.key[0], section=BLOCKS[entry.block])


def short_knowledge(kinds: Sequence[str]) -> str:
    return ", ".join(KNOWLEDGE[kind] for kind in kinds)


def wrong_sum(note: str) -> bool:
    return "printed improvement differs" in note


def by_trust(printed: Sequence[Printed]) -> list[Printed]:
    """Results whose protocol is nearest to kdbench's come first."""
    return sorted((p for p in printed if p.accuracy is not None), key=lambda p: len(p.flags))


def teacher_of(entry: Entry, n: int, mine: Measured) -> tuple[str, float | None]:
    if entry.survey:
        return entry.survey[n].teacher, entry.survey[n].teacher_accuracy
    if entry.printed:
        first = next((p for p in entry.printed if p.teacher_accuracy is not None), entry.printed[0])
        return first.teacher, first.teacher_accuracy
    board, s, pair = mine[0]
    name = partner(next(iter(s.pairs[pair].cells.values())).record)
    record = board.teachers.get(name) if name == pair[0] else None
    return name, record.record.main.metrics.top1 if record else None


def student_of(entry: Entry, n: int, mine: Measured) -> tuple[str, float | None]:
    if entry.survey:
        return entry.survey[n].student, entry.survey[n].student_accuracy
    if entry.printed:
        first = next((p for p in entry.printed if p.student_accuracy is not None), entry.printed[0])
        return first.student, first.student_accuracy
    _, s, pair = mine[0]
    accuracy, gain = s.pairs[pair].accuracy, s.pairs[pair].gain
    if accuracy is None or s.row.name == PLAIN:
        return pair[1], accuracy[0] if accuracy else None
    return pair[1], accuracy[0] - gain.mean if gain else None


def with_baseline(name: str, accuracy: float | None) -> Cell:
    shown = name or "–"
    return Cell(f"{shown} ({accuracy:.2f})" if accuracy is not None else shown)


def others_cell(printed: Sequence[Printed]) -> Cell:
    """All other published numbers, those nearest to kdbench's protocol first."""
    found = by_trust(printed)
    if not found:
        return Cell("–")
    first = found[0]
    text = f"{first.accuracy:.2f}" + (f" ({first.gain:+.2f})" if first.gain is not None else "")
    rest = [p.accuracy for p in found[1:] if p.accuracy is not None]
    said = "; ".join(f"{p.accuracy:.2f}: {p.source.name}, {p.source.notes}" for p in found)
    if not rest:
        return Cell(text, first.accuracy, title=said)
    return Cell(
        text, first.accuracy, tags=((f"+{len(rest)}", f"{min(rest):.2f} to {max(rest):.2f} in others. {said}"),)
    )


def kdbench_cell(mine: Measured, beside_best: bool) -> Cell:
    """What kdbench measured; beside numbers of the best epoch, what choosing it would add here."""
    if not mine:
        return Cell("–")
    board, s, pair = mine[0]
    one = estimate(s.pairs[pair].accuracy)
    tags = [("yours", "from your own runs/ folder, not accepted")] if s.row.origin == "yours" else []
    for other, standing, at in mine[1:]:
        said = estimate(standing.pairs[at].accuracy).text
        tags.append((f"{said} {other.suite}{' (yours)' if standing.row.origin == 'yours' else ''}", other.title))
    best = best_minus_last(s, pair) if beside_best else None
    if best is not None:
        tags.append((f"best {best:+.2f}", "others report the best epoch; choosing it would add this here"))
    href = paths.pair(board, pair) if board.main else paths.suite(board)
    return replace(one, href=href, tags=tuple(tags), title=f"on {board.suite}")


def notes_of(survey_note: str, printed: Sequence[Printed]) -> list[str]:
    """The survey's note, and what is suspect in other sources."""
    suspect = [p.note for p in printed if "SUSPECT" in p.note]
    return list(dict.fromkeys(note for note in [survey_note, *suspect] if note))


def flags_of(entry: Entry, mine: Measured) -> list[tuple[str, str]]:
    """Where protocols differ from kdbench's, with the source's own words."""
    found: dict[str, str] = {"own recipe": "the survey copied the number from the paper"} if entry.survey else {}
    for printed in entry.printed:
        for flag in printed.flags:
            found.setdefault(flag, f"{printed.source.name}: {printed.source.notes}")
    for _, s, _ in mine:
        for deviation in s.row.info.deviations:
            found.setdefault("kdbench deviates", deviation)
    return list(found.items())
