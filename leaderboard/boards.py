"""Records as boards: one suite under one protocol, with its rows, pairs and seeds. Rows rank inside one board alone."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kdbench.hashing import digest
from kdbench.records import rows
from kdbench.records.agreement import Answers, Reproduction, reproduction, same_predictions
from kdbench.records.contrast import Contrasts
from kdbench.records.moderation import Prior, stated_prior
from kdbench.records.record import Record
from kdbench.records.rows import KD, PLAIN, RANDOM, Origin, Place
from kdbench.suite import Suite
from kdbench.suites import list_suites, load_suite
from kdbench.tables import NAME
from kdbench_leaderboard.read import Found, Store

MOST_SEEDS, MOST_TEACHERS = 100, 100  # of a suite that kdbench does not know; of an architecture
Pair = rows.PairNames


@dataclass
class Row(rows.Row[Found]):
    """A row of records on one board.

    Attributes:
        foreign: places whose teacher is not the board's.
    """

    foreign: list[Place] = field(default_factory=list)


@dataclass
class Board:
    """One suite under one protocol.

    Attributes:
        current: whether the protocol is that of the suite as kdbench ships it; None for a suite that it does not ship.
        teachers: by architecture those that have a record: one, or as many as the suite has of each.
        images: how many test images the evidence speaks of.
        shipped: the suite, if the protocol is that of the suite as kdbench ships it.
        compared: by pair (None for all) and rows, all their differences, once they were asked for.
    """

    suite: str
    title: str
    fingerprint: str
    protocol: dict[str, object]
    current: bool | None
    pairs: list[Pair]
    seeds: list[int]
    num_classes: int
    rows: list[Row]
    teachers: dict[str, list[Found]]
    images: int
    shipped: Suite | None = None
    main: bool = True
    compared: dict[tuple[Pair | None, tuple[str, ...]], Contrasts] = field(default_factory=dict, repr=False)

    def prior(self, pair: Pair | None = None) -> Prior | None:
        """What the suite states of top-1 over seeds, over all pairs or on one."""
        return stated_prior(self.shipped, ":".join(pair) if pair else None) if self.shipped else None

    def teacher(self, model: str) -> Found | None:
        """The first teacher of an architecture, which tells of its network."""
        return next(iter(self.teachers.get(model, ())), None)

    def teacher_top1(self, model: str) -> float | None:
        """The mean accuracy of an architecture's teachers, in percent."""
        found = [teacher.record.main.metrics.top1 for teacher in self.teachers.get(model, ())]
        return sum(found) / len(found) if found else None

    @property
    def teacher_macs(self) -> dict[str, int]:
        """Multiplications of teachers for an image, by the hash of their weights."""
        mains = [teacher.record.main for several in self.teachers.values() for teacher in several]
        return {main.sha256: main.macs for main in mains if main.sha256}

    @property
    def most_seeds(self) -> int | None:
        """How many seeds the suite allows a method in place of its usual number."""
        return self.shipped.most_seeds if self.shipped else None

    @property
    def images_per_class(self) -> int | None:
        """How many images a class its methods make; None of a board on which students are taught."""
        distilled = self.protocol.get("distilled")
        count = distilled.get("images_per_class") if isinstance(distilled, dict) else None
        return count if isinstance(count, int) else None

    @property
    def rival(self) -> str:
        """The row that methods are held against beside the plain student: KD, or random images on distilled data."""
        return KD if self.images_per_class is None else RANDOM

    @property
    def purpose(self) -> str:
        """What the suite is for, where that is not choosing a method."""
        return self.shipped.purpose if self.shipped else ""

    @property
    def task_classes(self) -> list[list[int]]:
        """The classes of each task; none of a suite without tasks."""
        tasks = self.protocol.get("tasks")
        return [*tasks["classes"]] if isinstance(tasks, dict) else []

    @property
    def has_tasks(self) -> bool:
        """Whether students learn task after task, and are ranked by their average over tasks."""
        return bool(self.task_classes)

    @property
    def accuracy(self) -> str:
        """What rows are ranked by, for a table's head."""
        return "Average accuracy, %" if self.has_tasks else "Top-1, %"

    @property
    def dataset(self) -> str:
        """The data set's name in the published tables: 'uoft-cs/cifar100' is cifar100."""
        data = self.protocol.get("data")
        source = str(data.get("source", self.suite)) if isinstance(data, dict) else self.suite
        name = source.rpartition("/")[2].replace("-", "_")
        return name if re.fullmatch(NAME, name) and len(name) <= 100 else self.suite

    @property
    def found(self) -> list[Found]:
        """All records on the board."""
        return [cell for row in self.rows for cell in row.cells.values()]


def make_boards(store: Store) -> list[Board]:
    """All boards; of each suite the one with the current protocol (else with most records) is the main one."""
    by_protocol: dict[tuple[str, str], list[Found]] = defaultdict(list)
    for cell in store.cells:
        if not cell.record.off_protocol:
            by_protocol[cell.record.suite, cell.record.fingerprint].append(cell)
    boards = [make_board(suite, cells, store) for (suite, _), cells in by_protocol.items()]
    boards.sort(key=lambda b: (b.suite, not b.current, -len(b.found), b.fingerprint))
    seen: set[str] = set()
    for board in boards:
        board.main = board.suite not in seen
        seen.add(board.suite)
    return boards


def make_board(suite: str, cells: list[Found], store: Store) -> Board:
    protocol, fingerprint = cells[0].record.protocol, cells[0].record.fingerprint
    shipped = load_suite(suite) if suite in list_suites() else None
    current = shipped.states(protocol) if shipped else None
    lengths = Counter(len(cell.correct) for cell in cells if cell.correct is not None)
    images = lengths.most_common(1)[0][0] if lengths else 0
    each = teachers_each(protocol)
    chosen = board_teachers(cells, store, each, shipped if current else None)
    teachers: dict[str, list[Found]] = defaultdict(list)
    for (model, _), sha in sorted(chosen.items()):
        if sha in store.teachers:
            teachers[model].append(store.teachers[sha])
    found = make_rows(cells, chosen, each, images)
    if shipped and current:
        pairs, seeds = [(p.teacher, p.student) for p in shipped.pairs], list(range(shipped.seeds))
    else:
        kept = [place for row in found for place in row.cells]
        alone = "tasks" in protocol  # a student's teacher is itself as it was before a task
        pairs = sorted({(t or student, student) for t, student, _ in kept if t is not None or alone})
        own = [place for row in found if row.name not in (PLAIN, KD) for place in row.cells]
        seeds = sorted({seed for _, _, seed in own or kept})[:MOST_SEEDS]
    return Board(
        suite,
        shipped.title if shipped else suite,
        fingerprint,
        protocol,
        current,
        pairs,
        seeds,
        cells[0].record.num_classes,
        found,
        dict(teachers),
        images,
        shipped if current else None,
    )


def teachers_each(protocol: Mapping[str, object]) -> int:
    """How many teachers of each architecture a protocol has; students' seeds go round them."""
    each = protocol.get("teachers_each")
    return each if isinstance(each, int) and 0 < each <= MOST_TEACHERS else 1


def board_teachers(cells: Iterable[Found], store: Store, each: int, suite: Suite | None) -> dict[tuple[str, int], str]:
    """The weights' hash of each teacher, by architecture and number.

    That of most accepted records of students, else that of most records of yours, else the suite's accepted one.
    """
    votes: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)
    for sha, teacher in store.teachers.items():
        if suite and is_accepted_teacher(teacher, suite) and teacher.record.seed < each:
            votes[teacher.record.student, teacher.record.seed][sha] = 0  # any record of a student counts for more
    for cell in cells:
        for read in cell.record.teachers:
            votes[read.model, cell.record.seed % each][read.sha256] += 1_000_000 if cell.origin == "accepted" else 1
    return {place: max(sorted(counts), key=lambda sha: counts[sha]) for place, counts in votes.items()}


def is_accepted_teacher(teacher: Found, suite: Suite) -> bool:
    """Whether it is of a suite's results, be there records of students that read it or not."""
    place = (suite.name, digest(suite.teacher_protocol()), "accepted")
    return (teacher.record.suite, teacher.record.fingerprint, teacher.origin) == place


def make_rows(cells: list[Found], teachers: Mapping[tuple[str, int], str], each: int, images: int) -> list[Row]:
    """Cells as rows; of several versions the newest counts, of several records of a place the latest.

    Your records of cells that are accepted with the same predictions add no row: they reproduced them.
    """

    def fits(cell: Found) -> bool:
        return cell.correct is None or len(cell.correct) == images

    def is_foreign(record: Record) -> bool:
        return any(teachers[read.model, record.seed % each] != read.sha256 for read in record.teachers)

    accepted = {c.record.key: c for c in cells if c.origin == "accepted"}
    by_row: dict[tuple[Origin, str], list[Found]] = defaultdict(list)
    for cell in cells:
        by_row[cell.origin, cell.record.row].append(cell)
    found: list[Row] = []
    for (origin, _), own in by_row.items():
        if origin == "yours" and all(repeats(cell, accepted.get(cell.record.key)) for cell in own):
            continue
        (row,) = rows.group(own, origin, fits)
        counted = [c.record for c in own if fits(c) and c.record.method.version == row.info.version]
        foreign = [rows.place_of(record) for record in counted if is_foreign(record)]
        found.append(Row(row.name, row.origin, row.info, row.cells, row.older, foreign))
    return sorted(found, key=lambda r: (r.origin, r.name != PLAIN, r.name))


def repeats(mine: Found, theirs: Found | None) -> bool:
    """Whether a record of yours says nothing that the accepted one of the same cell does not say."""
    if theirs is None:
        return False
    if mine.answers is None or theirs.answers is None:
        return mine.record.status == theirs.record.status
    return same_predictions(mine.answers, theirs.answers)


def reproductions(store: Store) -> dict[tuple[str, str], Reproduction]:
    """Per suite and row: how your records compare with the accepted ones of the same cells, where there are any."""
    by_row: dict[tuple[str, str], dict[Origin, list[Answers]]] = {}
    for cell in store.cells:
        if cell.answers is not None:
            place = by_row.setdefault((cell.record.suite, cell.record.row), {"accepted": [], "yours": []})
            place[cell.origin].append(cell.answers)
    compared = {place: reproduction(both["yours"], both["accepted"]) for place, both in by_row.items()}
    return {place: found for place, found in compared.items() if found is not None and found.verdict != "its own"}
