"""What a run says at its end: per pair the plain student, the method, their difference, and the teacher."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from kdbench.records.agreement import interval, same_images
from kdbench.records.contrast import contrast_samples
from kdbench.records.evidence import agreement
from kdbench.records.limits import limit
from kdbench.records.moderation import Prior, moderation, stated_prior
from kdbench.records.rows import Row, place_of
from kdbench.records.standings import Contrast, Estimate, accuracy_sample, all_contrasts, mean_accuracy, pair_result
from kdbench.records.stats import mean_interval
from kdbench.records.store import Entry, evidence_of
from kdbench.running.plan import Cell
from kdbench.running.teachers import BASELINE, Teacher
from kdbench.suite import Suite
from kdbench.tables import Pair


@dataclass(frozen=True)
class Line:
    """What is said of one row on one pair (or on all pairs, then `pair` is None); accuracies in percent.

    Attributes:
        teacher: None where the run reports on other images than the teacher's record.
        student, method: of the plain student and of the method, on the seeds that both have.
        contrast: method minus plain student, by itself.
        agreement: test images on which the method's student and the teacher say the same, in percent.
        not_applicable: why the method has no cells here.
    """

    pair: Pair | None
    teacher: float | None
    student: Estimate | None
    method: Estimate | None = None
    contrast: Contrast | None = None
    agreement: float | None = None
    seeds: tuple[int, ...] = ()
    not_applicable: str | None = None


class Report:
    """Results of the cells of one request, by row, pair and seed."""

    def __init__(
        self,
        suite: Suite,
        cells: Sequence[Cell],
        entries: dict[str, Entry],
        pairs: Sequence[Pair],
        teachers: Mapping[str, Teacher],
    ):
        self.suite, self.pairs, self.teachers = suite, list(pairs), teachers
        self.seeds = list(dict.fromkeys(cell.seed for cell in cells))
        self.found: dict[str, Row[Entry]] = {}
        for cell in cells:
            if entry := entries.get(cell.key):
                row = self.found.setdefault(cell.row, Row(cell.row, "yours", entry.record.method))
                row.cells[place_of(entry.record)] = entry

    @property
    def which(self) -> str:
        """Which accuracy rows are ranked by, and on which images."""
        return f"{'average' if self.suite.tasks else 'top-1'} {self.suite.data.evaluate_on}"

    @property
    def rows(self) -> list[str]:
        """The methods' rows, without the plain student's unless it stands alone."""
        return [row for row in self.found if row != BASELINE] or list(self.found)

    def row_entries(self, row: str) -> list[Entry]:
        """All cells of a row."""
        return list(self.found[row].cells.values())

    def entries(self, row: str, pair: Pair) -> dict[int, Entry]:
        """Cells of a row on a pair, by seed."""
        return self.found[row].seeds((pair.teacher, pair.student), self.seeds) if row in self.found else {}

    def results(self, row: str) -> list[Line]:
        """One result a pair, and one over all pairs where all are there."""
        results = [self.result(row, pair) for pair in self.pairs]
        complete = [r for r in results if r.method is not None]
        if len(complete) == len(self.pairs) > 1 and len({r.seeds for r in complete}) == 1:
            results.append(self.overall(row, complete))
        return results

    def result(self, row: str, pair: Pair) -> Line:
        plain, cells = self.entries(BASELINE, pair), self.entries(row, pair)
        teachers = self.teachers_of(pair, [*plain.values(), *cells.values()])
        teacher_top1 = float(np.mean([t.record.main.metrics.top1 for t in teachers.values()])) if teachers else None
        result = pair_result(cells, [seed for seed in cells if seed in plain])
        seeds = tuple(result.cells)
        student = mean_accuracy({seed: plain[seed] for seed in seeds or plain}) if plain else None
        if not seeds:
            return Line(pair, teacher_top1, student, not_applicable=result.reason or "no record")
        same = [agreement(evidence_of(cells[s]), teachers[s].evidence) for s in seeds] if teachers else []
        return Line(
            pair,
            teacher_top1,
            student,
            method=result.accuracy,
            contrast=self.contrast([result.cells], [{seed: plain[seed] for seed in seeds}], str(pair)),
            agreement=float(np.mean(same)) if same else None,
            seeds=seeds,
        )

    def teachers_of(self, pair: Pair, entries: Collection[Entry]) -> dict[int, Teacher]:
        """By seed; none where one is not here, or the run reports on other images than a teacher's record."""
        names = {seed: self.suite.teacher_of(pair.teacher, seed) for seed in self.seeds}
        teachers = {seed: self.teachers[name] for seed, name in names.items() if name in self.teachers}
        known = len(teachers) == len(names) and all(
            same_images(entry.record, teachers[entry.record.seed].record) for entry in entries
        )
        return teachers if known else {}

    def overall(self, row: str, results: list[Line]) -> Line:
        """The mean over pairs."""
        seeds, pairs = results[0].seeds, [r.pair for r in results if r.pair is not None]
        method, plain = (
            [{seed: self.entries(name, pair)[seed] for seed in seeds} for pair in pairs] for name in (row, BASELINE)
        )
        return Line(
            None,
            mean_or_none([r.teacher for r in results]),
            mean_interval(np.array(list(accuracy_sample(plain).scores.values()))),
            method=mean_interval(np.array(list(accuracy_sample(method).scores.values()))),
            contrast=self.contrast(method, plain),
            agreement=mean_or_none([r.agreement for r in results]),
            seeds=seeds,
        )

    def prior(self, pair: str | None = None) -> Prior | None:
        """What the suite states of the seeds' noise on a pair, or over all of its pairs."""
        return stated_prior(self.suite, pair) if pair or self.pairs == list(self.suite.pairs) else None

    def contrast(
        self, method: Sequence[dict[int, Entry]], plain: Sequence[dict[int, Entry]], pair: str | None = None
    ) -> Contrast:
        """A method against the plain student, from entries by seed of each pair."""
        found = contrast_samples([accuracy_sample(method), accuracy_sample(plain)], self.prior(pair))
        return all_contrasts(found)[0, 1]

    def limits(self, results: list[Line]) -> list[str]:
        """Pairs on which nothing can be shown, and seeds that show too little."""
        pairs = [
            f"{r.pair}: {why}."
            for r in results
            if r.pair and r.student and self.suite.distilled is None
            if (why := limit(r.teacher, r.student[0], self.suite.data.num_classes, self.images))
        ]
        seeds = max((len(r.seeds) for r in results), default=0)
        few = {1: "One seed shows no spread, so nothing is compared", 2: "Two seeds tell next to nothing apart"}
        return [*pairs, f"{few[seeds]}: the suite has {self.suite.seeds}."] if seeds in few else pairs

    def notes(self, row: str, results: list[Line]) -> list[str]:
        """What a reader must know of a row's differences: what they can show, and pairs that show nothing."""
        last, limits = results[-1], self.limits(results)
        if row == BASELINE or last.contrast is None or last.contrast.detectable is None:
            return limits
        where = f"On {last.pair}" if last.pair else "Over all pairs"
        return [*limits, f"{where} it is {spoken(last.contrast)} the plain student. {self.power(last, 'the two')}"]

    def power(self, line: Line, whom: str) -> str:
        """What these seeds can tell, and what moderates them."""
        assert line.contrast is not None
        assert line.contrast.detectable is not None
        return (
            f"{len(line.seeds)} seeds tell {whom} apart from {line.contrast.detectable:.1f} points on (80 % power); "
            "the board, corrected over all rows, from more.\n"
            + moderation(self.prior(str(line.pair) if line.pair else None))
        )

    @cached_property
    def images(self) -> int:
        """How many test images the run speaks of."""
        entries = (entry for row in self.found.values() for entry in row.cells.values())
        return next((len(entry.evidence.rank) for entry in entries if entry.evidence is not None), 1)


def mean_or_none(values: list[float | None]) -> float | None:
    """The mean; None where a value is missing."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def result_table(row: str, results: list[Line], which: str) -> Table:
    """The table of one row for the terminal; `which` accuracy it is, as `Report.which` says."""
    title = Text(f"{row}: {which} accuracy in %, mean over seeds ± 95 % interval", style="bold")
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("teacher:student", overflow="fold")
    compared = [] if row == BASELINE else [row, "difference [95 %]", "agrees"]
    for name in ("teacher", "plain", *compared):
        table.add_column(Text(name), justify="right", no_wrap=True)
    for result in results:
        cells = [str(result.pair or "all pairs"), number(result.teacher), plus_minus(result.student)]
        if row == BASELINE:
            table.add_row(*cells)
        elif result.method is None or result.contrast is None:
            table.add_row(*cells, "n/a", Text(result.not_applicable or "", overflow="fold"))
        else:
            difference = Text(interval(result.contrast.difference))
            table.add_row(*cells, plus_minus(result.method), difference, number(result.agreement))
    return table


def said(contrast: Contrast) -> str:
    """The verdict on a gain by itself; one that lacks power says so."""
    if contrast.verdict == "not separable":
        return "undecided" if contrast.gain_is_open else "not better"
    return contrast.verdict


def spoken(contrast: Contrast) -> str:
    return f"{said(contrast)} {'against' if contrast.gain_is_open else 'than'}"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def plus_minus(value: tuple[float, float | None] | None) -> str:
    if value is None:
        return ""
    mean, half = value
    return f"{mean:.2f}" if half is None else f"{mean:.2f} ±{half:.2f}"


def as_json(row: str, results: list[Line]) -> dict[str, Any]:
    """The same for a program."""
    return {
        "method": row,
        "results": [
            {
                "pair": str(r.pair) if r.pair else None,
                "teacher_top1": r.teacher,
                "student_top1": r.student[0] if r.student else None,
                "method_top1": r.method[0] if r.method else None,
                "difference": r.contrast.difference.mean if r.contrast else None,
                "interval": [r.contrast.difference.low, r.contrast.difference.high] if r.contrast else None,
                "verdict": said(r.contrast) if r.contrast else None,
                "detectable": r.contrast.detectable if r.contrast else None,
                "agreement": r.agreement,
                "seeds": list(r.seeds),
                "not_applicable": r.not_applicable,
            }
            for r in results
        ],
    }
