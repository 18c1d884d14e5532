"""Rows of the board: the records that stand for a method on a suite, and what is missing. No torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np

from kdbench.console import Notice
from kdbench.errors import KdbenchError, did_you_mean
from kdbench.layout import RESERVED
from kdbench.records.parts import MethodInfo
from kdbench.records.reader import read_results
from kdbench.records.record import Record
from kdbench.records.row_names import same_row
from kdbench.records.store import Entry, read_runs
from kdbench.suite import Suite
from kdbench.tables import NAME

PLAIN, KD = "vanilla", "kd"
RANDOM = "random_images"  # beside which methods that distil data are shown
FAMILY = "dataset_distillation"  # of these methods
REFERENCES = (PLAIN, KD)  # all others are compared with them: they may have more seeds than the suite asks for
Origin = Literal["accepted", "yours"]
PairNames = tuple[str, str]  # teacher, student
Place = tuple[str | None, str, int]  # teacher (None for a method that reads none), student, seed


class Result(Protocol):
    """A record with what its network said of the test images: an entry, or what the site keeps of one."""

    @property
    def record(self) -> Record: ...

    @property
    def correct(self) -> np.ndarray | None:
        """(I,) is the network right on each test image? None for a cell that is not applicable."""

    @property
    def scores(self) -> np.ndarray | None:
        """(I,) what each test image adds to the accuracy that rows are ranked by: the same, but for tasks."""


Cell = TypeVar("Cell", bound=Result)


@dataclass
class Row(Generic[Cell]):
    """A method (with its variant's parameters, if it is one) from one origin: its newest version under one protocol.

    Attributes:
        older: how many records of older versions, or replaced by later ones, there are.
    """

    name: str
    origin: Origin
    info: MethodInfo
    cells: dict[Place, Cell] = field(default_factory=dict)
    older: int = 0

    @property
    def budget(self) -> int | None:
        """After how many trials its parameters were tuned; None for those of papers, the suite or a user."""
        return next((cell.record.budget for cell in self.cells.values()), None)

    @property
    def title(self) -> str:
        return self.name if self.origin == "accepted" else f"{self.name} (yours)"

    def cell(self, pair: PairNames, seed: int) -> Cell | None:
        """The record of a pair and seed; a method without a teacher stands under every pair of its student."""
        return self.cells.get((*pair, seed)) or self.cells.get((None, pair[1], seed))

    def seeds(self, pair: PairNames, seeds: Iterable[int]) -> dict[int, Cell]:
        """The records of a pair, by seed."""
        return {seed: cell for seed in seeds if (cell := self.cell(pair, seed)) is not None}

    def values(
        self, pairs: Sequence[PairNames], seeds: Sequence[int], of: Callable[[Cell], np.ndarray | float]
    ) -> np.ndarray:
        """(P, S, ...) of a complete row: what `of` says of each pair and seed."""
        return np.array([[of(cell) for cell in self.seeds(pair, seeds).values()] for pair in pairs])


def seeds_of(row: Row[Cell], pairs: Sequence[PairNames], seeds: Sequence[int], most: int | None = None) -> list[int]:
    """The seeds that count of a row.

    Those of the suite, or as many as it allows at most, if every pair has a record of them all; of the references all
    that every pair has a result of.
    """
    is_reference = row.name in REFERENCES
    known = [
        {seed for _, _, seed in row.cells if (cell := row.cell(pair, seed)) and (done(cell) or not is_reference)}
        for pair in pairs
    ]
    common = set.intersection(*known) if known else set()
    if is_reference:
        return sorted(set(seeds) | common)
    return list(range(most)) if most and common.issuperset(range(most)) else list(seeds)


def done(cell: Result | None) -> bool:
    return cell is not None and cell.correct is not None


def place_of(record: Record) -> Place:
    return record.teacher, record.student, record.seed


def group(cells: Iterable[Cell], origin: Origin, fits: Callable[[Cell], bool] = lambda cell: True) -> list[Row[Cell]]:
    """Records of one suite and protocol as rows.

    Of several versions of a method the newest counts, of several records of a place the latest.

    Args:
        fits: whether a record can stand beside the others; one that cannot counts as an older one.
    """
    by_name: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda c: (c.record.method.version, c.record.finished, c.record.key)):
        by_name.setdefault(cell.record.row, []).append(cell)
    rows: list[Row[Cell]] = []
    for name, found in by_name.items():
        row: Row[Cell] = Row(name, origin, found[-1].record.method)
        for cell in found:
            place, counts = place_of(cell.record), fits(cell) and cell.record.method.version == row.info.version
            row.older += place in row.cells or not counts
            if counts:
                row.cells[place] = cell
        row.info = with_all_deviations(row)
        rows.append(row)
    return rows


def with_all_deviations(row: Row[Cell]) -> MethodInfo:
    """What the newest record says of the method, with what it deviates in on any pair."""
    done = [cell.record.method.deviations for cell in row.cells.values() if cell.record.status == "done"]
    union = list(dict.fromkeys(deviation for deviations in done for deviation in deviations))
    return row.info.model_copy(update={"deviations": union}) if done else row.info


def set_apart(row: Row[Cell], plain: Row[Cell] | None) -> str | None:
    """How a row's ranked network differs from the suite's student, if it does, in words.

    The trainer says so on the record; of records before it did, the plain student's sizes tell.
    """
    for (_, student, _), cell in sorted(row.cells.items(), key=lambda item: item[0][1:]):
        if cell.record.status != "done":
            continue
        own = cell.record.main
        if own.differs:
            return own.differs[0]
        others = [] if plain is None else [c for place, c in plain.cells.items() if place[1] == student]
        if others and (own.parameters, own.macs) != (others[0].record.main.parameters, others[0].record.main.macs):
            return f"{own.parameters:,} parameters, where the student has {others[0].record.main.parameters:,}"
    return None


def pairs_of(suite: Suite) -> list[PairNames]:
    return [(pair.teacher, pair.student) for pair in suite.pairs]


def gaps(row: Row[Entry], suite: Suite) -> list[str]:
    """What keeps a row from being compared: each pair and seed without a result, in a few words."""
    found: list[str] = []
    for pair in suite.pairs:
        for seed in range(suite.seeds):
            entry = row.cell((pair.teacher, pair.student), seed)
            if entry is None:
                found.append(f"{pair} seed {seed}")
            elif entry.evidence is None:
                found.append(f"{pair} (not applicable: {entry.record.reason})")
                break
    return found


def with_recorded_content(suite: Suite, methods: Iterable[str], runs: Path, results: Path | None) -> Suite:
    """The suite bound to the data of the latest record of these methods, where it does not state its data itself."""
    entries = [
        entry for method in methods for part in read_entries(suite, method, runs, results, silent) for entry in part
    ]
    found = [e.record for e in entries if belongs(e.record, suite) and suite.states(e.record.protocol)]
    return suite.bound_to(max(found, key=lambda record: record.finished).protocol) if found else suite


def silent(text: str) -> None:
    """No notice: the same records are read, and spoken of, again."""


def read_entries(
    suite: Suite, method: str, runs: Path, results: Path | None, notice: Notice
) -> tuple[list[Entry], list[Entry]]:
    """The accepted records of a method, and yours; corrupt ones are left out, and `notice` is told."""
    accepted: list[Entry] = []
    try:
        accepted = read_results(results / suite.name / method) if results else []
    except KdbenchError as error:
        notice(f"{error} The accepted records of {method} are left out.")
    mine: list[Entry] = []
    for entry in read_runs(runs, suite.name, method):
        if isinstance(entry, KdbenchError):
            notice(str(entry))
        else:
            mine.append(entry)
    return accepted, mine


def read_rows(suite: Suite, method: str, runs: Path, results: Path | None, notice: Notice) -> list[Row[Entry]]:
    """The rows of a method that have any record of the suite's protocol, accepted ones first.

    Records of another protocol or other data are left out, and a corrupt one is too; `notice` is told.
    """
    found = read_entries(suite, method, runs, results, notice)
    fingerprint = suite.fingerprint
    fit = [[e for e in part if belongs(e.record, suite) and e.record.fingerprint == fingerprint] for part in found]
    if others := sum(map(len, found)) - sum(map(len, fit)):
        notice(f"{method}: {others} records of another protocol or other data than {fingerprint[:12]} are left out.")
    return [*group(fit[0], "accepted"), *group(fit[1], "yours")]


def belongs(record: Record, suite: Suite) -> bool:
    """Whether a record is of a cell, and off the protocol just as the suite is: of validation images, say."""
    return not record.is_teacher and tuple(record.off_protocol) == suite.off_protocol


def methods_in(suite: Suite, runs: Path, results: Path | None) -> set[str]:
    """The methods that have a folder of records on a suite."""
    known = {path.name for root in (runs, results) if root for path in (root / suite.name).glob("*") if path.is_dir()}
    return {name for name in known if re.fullmatch(NAME, name)} - RESERVED


def find_row(suite: Suite, name: str, runs: Path, results: Path | None, notice: Notice) -> Row[Entry]:
    """The row of this name: the accepted one, or yours where it is more complete or of a newer version.

    Raises:
        KdbenchError: no record of it.
    """
    rows = read_rows(suite, name.partition("[")[0], runs, results, notice)
    named = [row for row in rows if same_row(row.name, name)]
    if not named:
        raise KdbenchError(
            f"No records of '{name}' on suite '{suite.name}'.{did_you_mean(name, {row.name for row in rows})}"
        )

    def last_is_best(row: Row[Entry]) -> tuple[int, int, int, bool]:
        seeds = seeds_of(row, pairs_of(suite), range(suite.seeds), suite.most_seeds)
        return row.info.version, -len(gaps(row, suite)), len(seeds), row.origin == "accepted"

    return max(named, key=last_is_best)
