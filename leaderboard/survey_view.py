"""The survey's view of a data set: its blocks and columns; beside what it printed, other sources and kdbench."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from kdbench.records.parts import MethodInfo
from kdbench.records.record import Record
from kdbench.records.rows import PLAIN
from kdbench.records.standings import PairResult
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.method_pages import Boards, infos
from kdbench_leaderboard.published import (
    BLOCKS,
    KNOWLEDGE,
    Entry,
    Key,
    MethodName,
    Printed,
    SurveyRow,
    by_trust,
    described,
    entries,
    method_names,
    names_of_rows,
    network,
)
from kdbench_leaderboard.read import Found
from kdbench_leaderboard.seed_views import best_minus_last
from kdbench_leaderboard.standings import Standing, references
from kdbench_leaderboard.tables import Cell, Column, Line, Part, Table, choices, estimate, number

SURVEY_HELP = (
    "Accuracy and gain as the survey prints them; where it prints two accuracies after training, also the peer's"
)
PEER_HELP = "The survey prints two accuracies after training: this one is of the network in the teacher's column"


@dataclass(frozen=True)
class Measured:
    """A row of kdbench's on a pair.

    Attributes:
        plain: the plain student's row; None where there is none.
    """

    board: Board
    standing: Standing
    pair: Pair
    plain: Standing | None

    @property
    def result(self) -> PairResult[Found]:
        return self.standing.pairs[self.pair]

    @property
    def baseline(self) -> float | None:
        """The plain student's mean accuracy over all of its own seeds, which may be others than the row's."""
        accuracy = self.plain.pairs[self.pair].accuracy if self.plain else None
        return accuracy[0] if accuracy else None


def survey_table(dataset: str, boards: Boards, whole: bool = True, known: Collection[str] = ()) -> Table:
    """The published and measured results of a data set.

    Args:
        whole: with the rows of other sources, too; else the survey's alone, where it has any.
        known: methods that have a page.
    """
    mine = measured(dataset, boards)
    found = entries(dataset)
    for key in mine:
        found.setdefault(key, Entry(key))
    about = infos(boards)
    shown = [entry for entry in found.values() if whole or entry.survey]
    lines = [line for entry in shown for line in entry_lines(entry, mine.get(entry.key, []), about, known)]
    order = list(BLOCKS.values())
    lines.sort(key=lambda line: (order.index(line.section), line.cells["survey"].value is None))  # else as they are
    columns = [
        Column("method", "Methods"),
        Column("knowledge", "Knowledge", phone=False),
        Column("teacher", "Teacher (baseline)", phone=False),
        Column("student", "Student (baseline)", phone=False),
        Column("survey", "Survey (gain)", "number", help=SURVEY_HELP),
        Column("others", "Others (gain)", "number", help="Of other sources, with the gain over their own student"),
        Column("kdbench", "kdbench", "number", help="Mean over seeds ± half its 95 % interval, the last epoch"),
        Column("gap", "Gap", "number", help="kdbench minus the published number, percentage points"),
        Column("notes", "Protocol and notes", wide=True),
    ]
    columns = [c for c in columns if any(says(line.cells[c.key]) for line in lines) or c.key == "method"]
    filters = [
        choices("knowledge", "Knowledge", lines),
        choices("teacher", "Teacher", lines),
        choices("student", "Student", lines),
        choices("shown", "Numbers of", lines),
    ]
    return Table("survey", f"Results on {dataset}", columns, lines, filters)


def says(cell: Cell) -> bool:
    return cell.text not in ("", "–") or bool(cell.tags)


def measured(dataset: str, boards: Boards) -> dict[Key, list[Measured]]:
    """What kdbench measured on a data set, by method and networks; accepted rows first, no unpublished variants."""
    found: dict[Key, list[Measured]] = {}
    for board, standings in boards:
        if board.dataset != dataset:
            continue
        plain = references(standings).get(PLAIN)
        for s in standings:
            if s.row.name == s.row.info.name or s.row.name in names_of_rows():
                name = names_of_rows().get(s.row.name, s.row.name)
                for pair, result in s.pairs.items():
                    if result.accuracy is not None:
                        record = next(iter(result.cells.values())).record
                        key = (name, network(partner(record)), network(pair[1]))
                        if any(one.standing is s for one in found.get(key, ())):
                            continue  # it stands under every pair of its student
                        own = s if s.row.name == PLAIN else plain
                        found.setdefault(key, []).append(Measured(board, s, pair, own))
    return found


def partner(record: Record) -> str:
    """Whom the survey prints as a student's teacher: its teacher, or the peer that learns beside it, or nobody."""
    if record.teachers:
        return record.teachers[0].model
    return record.others[0].model if record.method.scheme == "online" and record.others else ""


def entry_lines(
    entry: Entry, mine: Sequence[Measured], about: Mapping[str, MethodInfo], known: Collection[str] = ()
) -> list[Line]:
    """One line; several where the survey prints the same method and pair more than once."""
    rows: list[SurveyRow | None] = [*entry.survey] or [None]
    return [line_of(row, entry, mine, about, known) for row in rows]


def line_of(
    row: SurveyRow | None,
    entry: Entry,
    mine: Sequence[Measured],
    about: Mapping[str, MethodInfo],
    known: Collection[str] = (),
) -> Line:
    """A row of the survey or none, with what others published and kdbench measured of the same method and pair."""
    name = described(entry.key[0], about)
    nearest = next(iter(by_trust(entry.printed)), None)
    published = row or nearest
    knowledge = knowledge_cell(row, short_knowledge(name.knowledge))
    kinds = [kind for said in (knowledge.text, short_knowledge(name.knowledge)) for kind in said.split(", ") if kind]
    teacher, student = networks(published) if published else own_networks(mine[0])
    own = mine[0].result.accuracy if mine else None
    reference = published.accuracy if published else None
    href = page_of(entry.key[0], mine, known)
    beneath = Cell(f"{teacher.text} → {student.text}")
    cells = {
        "method": Cell(
            row.method if row else name.title, href=href, title=row.citation if row else "", beneath=beneath
        ),
        "knowledge": knowledge,
        "teacher": teacher,
        "student": student,
        "survey": survey_cell(row),
        "others": others_cell(by_trust(entry.printed)),
        "kdbench": kdbench_cell(mine, any("best epoch" in p.flags for p in entry.printed)),
        "gap": number(own[0] - reference if own and reference is not None else None, sign=True),
        "notes": Cell("; ".join(notes_of(row, name, entry.printed)), tags=tuple(flags_of(entry, mine))),
    }
    shown = ["survey"] * bool(row) + ["others"] * bool(entry.printed) + ["kdbench"] * bool(mine)
    filters = {
        "knowledge": list(dict.fromkeys(kinds)),
        "teacher": [teacher.text],
        "student": [student.text],
        "shown": shown,
    }
    words = f"{cells['method'].text} {name.title} {' '.join(name.measured_by)} {row.citation if row else ''}"
    section = BLOCKS[row.scheme if row else name.block]
    return Line(cells, filters, paper=name.measured_by[0], section=section, words=words)


def page_of(method: str, mine: Sequence[Measured], known: Collection[str]) -> str | None:
    """The page of a published method: what measures it here, else its own with what others published."""
    if mine:
        return paths.method(mine[0].standing.row.info.name)
    measuring = [one for one in method_names()[method].measured_by if one in known]
    own = [method] if method in known else []
    return paths.method((measuring + own)[0]) if measuring or own else None


def short_knowledge(kinds: Sequence[str]) -> str:
    return ", ".join(KNOWLEDGE[kind] for kind in kinds)


def knowledge_cell(row: SurveyRow | None, ours: str) -> Cell:
    """Our label; in a row of the survey its own, with ours where they differ."""
    if row is None or sorted(row.knowledge.split(", ")) == sorted(ours.split(", ")):
        return Cell(row.knowledge if row else ours)
    why = f"The survey prints {row.knowledge}; everywhere else here, the method is said to transfer {ours}"
    return Cell(row.knowledge, tags=((f"here {ours}", why),))


def networks(source: SurveyRow | Printed) -> tuple[Cell, Cell]:
    """Teacher and student as one source has them, each with its own accuracy."""
    teacher = with_baseline(source.teacher, source.teacher_accuracy)
    return teacher, with_baseline(source.student, source.student_accuracy)


def own_networks(mine: Measured) -> tuple[Cell, Cell]:
    """Teacher and student as kdbench trained them."""
    teacher, student = mine.pair
    name = partner(next(iter(mine.result.cells.values())).record)
    accuracy = mine.board.teacher_top1(teacher) if name == teacher else None
    return with_baseline(name, accuracy), with_baseline(student, mine.baseline)


def with_baseline(name: str, accuracy: float | None) -> Cell:
    parts = (Part("baseline", accuracy, f"({accuracy:.2f})"),) if accuracy is not None else ()
    return Cell(name or "–", parts=parts)


def survey_cell(row: SurveyRow | None) -> Cell:
    """Accuracy and gain as printed, and that of the peer where the survey prints both."""
    if row is None:
        return Cell("–")
    parts = [Part("gain", row.improvement, f"({row.improvement:+.2f})")]
    if row.teacher_after is not None:
        parts.append(Part("peer", row.teacher_after, f"peer {row.teacher_after:.2f}", PEER_HELP))
    wrong = "printed improvement differs" in row.note
    tags = (("arithmetic", f"the survey prints a gain of {row.improvement:.2f}"),) if wrong else ()
    return Cell(f"{row.accuracy:.2f}", row.accuracy, parts=tuple(parts), tags=tags)


def others_cell(found: Sequence[Printed]) -> Cell:
    """The first of other published numbers, with its gain over its own baseline; the others as a tag."""
    numbers = [p.accuracy for p in found if p.accuracy is not None]
    if not numbers:
        return Cell("–")
    first = found[0]
    parts = []
    if first.student_accuracy is not None and first.gain is not None:
        parts = [Part("gain", first.gain, f"({first.gain:+.2f})"), Part("baseline", first.student_accuracy)]
    said = list(map(spoken, found[: len(numbers)]))
    rest = numbers[1:]
    why = f"{min(rest):.2f} to {max(rest):.2f} in others. {'; '.join(said[1:])}" if rest else ""
    tags = ((f"{len(rest)} more", why),) if rest else ()
    return Cell(f"{first.accuracy:.2f}", first.accuracy, title=said[0], parts=tuple(parts), tags=tags)


def spoken(printed: Printed) -> str:
    """A published number with its baseline and its source."""
    over = f" over a student of {printed.student_accuracy:.2f}" if printed.student_accuracy is not None else ""
    return f"{printed.accuracy:.2f}{over}: {printed.source.name}, {printed.source.notes}"


def kdbench_cell(mine: Sequence[Measured], beside_best: bool) -> Cell:
    """What kdbench measured; beside numbers of the best epoch, what choosing it would add here."""
    if not mine:
        return Cell("–")
    board, s, pair = mine[0].board, mine[0].standing, mine[0].pair
    one = estimate(mine[0].result.accuracy)
    tags = [("yours", "from your own runs/ folder, not accepted")] if s.row.origin == "yours" else []
    for other in mine[1:]:
        said, yours = estimate(other.result.accuracy).text, other.standing.row.origin == "yours"
        tags.append((f"{said} {other.board.suite}{' (yours)' if yours else ''}", other.board.title))
    best = best_minus_last(s, pair) if beside_best else None
    if best is not None:
        tags.append((f"best {best:+.2f}", "others report the best epoch; choosing it would add this here"))
    href = paths.pair(board, pair) if board.main else paths.suite(board)
    return replace(one, href=href, tags=tuple(tags), title=f"on {board.suite}")


def notes_of(row: SurveyRow | None, name: MethodName, printed: Sequence[Printed]) -> list[str]:
    """The survey's note, why kdbench cannot run its row, and what is suspect in other sources."""
    notes = [row.note, f"not run here: {name.absent}" if name.absent else ""] if row else []
    suspect = [p.note for p in printed if "SUSPECT" in p.note]
    return list(dict.fromkeys(note for note in [*notes, *suspect] if note))


def flags_of(entry: Entry, mine: Sequence[Measured]) -> list[tuple[str, str]]:
    """Where protocols differ from kdbench's, with the source's own words."""
    found: dict[str, str] = {"own recipe": "the survey copied the number from the paper"} if entry.survey else {}
    for printed in entry.printed:
        for flag in printed.flags:
            found.setdefault(flag, f"{printed.source.name}: {printed.source.notes}")
    for one in mine:
        for deviation in one.standing.row.info.deviations:
            found.setdefault("kdbench deviates", deviation)
    return list(found.items())
