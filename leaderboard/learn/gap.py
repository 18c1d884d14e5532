"""Students beside their teachers: how much smaller, what a wide gap costs, who surpasses whom."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from kdbench.records.rows import KD, PLAIN
from kdbench.records.stats import Difference, mean_interval, paired_difference
from kdbench_leaderboard import paths
from kdbench_leaderboard.boards import Board, Pair
from kdbench_leaderboard.learn.words import Say, spoken
from kdbench_leaderboard.page import Site
from kdbench_leaderboard.published import survey
from kdbench_leaderboard.read import Found
from kdbench_leaderboard.standings import Standing, references
from kdbench_leaderboard.tables import Cell, Column, Line, Table, choices, difference, estimate, number
from kdbench_leaderboard.verdicts import interval_cell

BRIDGES = ("takd", "dgkd")  # methods made for the capacity gap
SMALLER = "How many times fewer than the teacher's"
WITH_INTERVAL = "Percentage points, with the 95 % interval over seeds and test images"


@dataclass(frozen=True)
class Beside:
    """A row on a pair, beside its teacher."""

    board: Board
    pair: Pair
    standing: Standing
    difference: Difference

    @property
    def above(self) -> bool:
        return self.difference.low is not None and self.difference.low > 0


def pairs(site: Site) -> Iterator[tuple[Board, list[Standing], Pair, list[Found]]]:
    """The pairs of every main board whose teacher has a record, with their teachers."""
    for board, rows in site.main_boards:
        for pair in board.pairs:
            if teachers := board.teachers.get(pair[0]):
                yield board, rows, pair, teachers


def beside_teacher(s: Standing, pair: Pair, teachers: list[Found]) -> Difference | None:
    """Each student minus its teacher on the same test images."""
    by_hash = {teacher.record.main.sha256: teacher.correct for teacher in teachers}
    answers = []
    for cell in s.pairs[pair].cells.values():
        taught = by_hash.get(cell.record.teachers[0].sha256) if cell.record.teachers else None
        if cell.correct is not None and taught is not None and len(cell.correct) == len(taught):
            answers.append((cell.correct, taught))
    if not answers:
        return None
    students, own = zip(*answers, strict=True)
    return paired_difference(np.stack(students)[None], np.stack(own)[None])


def surpassing(site: Site) -> tuple[list[Beside], int]:
    """Rows of methods with a teacher whose students stand above it, the largest difference first; and of how many."""
    found = []
    for board, rows, pair, teachers in pairs(site):
        for s in rows:
            if any(output.startswith("teacher.") for output in s.row.info.requires):
                gap = beside_teacher(s, pair, teachers)
                if gap is not None:
                    found.append(Beside(board, pair, s, gap))
    above = [b for b in found if b.above]
    return sorted(above, key=lambda b: -b.difference.mean), len(found)


def surpassing_table(above: list[Beside], language: str) -> Table | None:
    say = spoken(language)
    lines = [
        Line(
            {
                "method": Cell(b.standing.row.title, href=paths.method(b.standing.row.info.name)),
                "pair": Cell(f"{b.pair[0]} → {b.pair[1]}", href=paths.pair(b.board, b.pair)),
                "difference": difference(b.difference, draw=True),
                "student": estimate(b.standing.pairs[b.pair].accuracy),
                "teacher": number(b.board.teacher_top1(b.pair[0])),
                "suite": Cell(b.board.suite, href=paths.suite(b.board)),
            },
            {"suite": [b.board.suite], "pair": [f"{b.pair[0]} → {b.pair[1]}"]},
            paper=b.standing.row.info.name,
        )
        for b in above
    ]
    columns = [
        Column("method", say("Method")),
        Column("difference", say("Student − teacher"), "number", help=say(WITH_INTERVAL)),
        Column("pair", say("Pair")),
        Column("student", say("Student, %"), "number"),
        Column("teacher", say("Teacher, %"), "number"),
        Column("suite", say("Suite")),
    ]
    filters = [choices("suite", say("Suite"), lines), choices("pair", say("Pair"), lines)]
    caption = say("Students whose interval lies above their teacher")
    return Table("surpass", caption, columns, lines, filters) if lines else None


def sizes_table(site: Site, language: str) -> Table | None:
    """How much smaller the student of each pair is, and what is left of the teacher's accuracy."""
    say, lines = spoken(language), []
    for board, rows, pair, teachers in pairs(site):
        compared = references(rows)
        plain, kd = compared.get(PLAIN), compared.get(KD)
        cells = {
            "pair": Cell(f"{pair[0]} → {pair[1]}", href=paths.pair(board, pair)),
            "suite": Cell(board.suite, href=paths.suite(board)),
            **compression(teachers[0], plain or kd, pair),
            "teacher": number(board.teacher_top1(pair[0])),
            "plain": estimate(plain.pairs[pair].accuracy if plain else None),
            "kd": estimate(kd.pairs[pair].accuracy if kd else None),
            "gap": difference(beside_teacher(kd, pair, teachers) if kd else None),
        }
        lines.append(Line(cells, {"suite": [board.suite]}))
    columns = [
        Column("pair", say("Pair")),
        Column("parameters", say("Parameters ÷"), "number", help=say(SMALLER)),
        Column("macs", "MACs ÷", "number", help=say(SMALLER)),
        Column("teacher", say("Teacher, %"), "number"),
        Column("plain", say("Plain student, %"), "number"),
        Column("kd", say("KD, %"), "number"),
        Column("gap", say("KD over teacher"), "number", help=say(WITH_INTERVAL)),
        Column("suite", say("Suite")),
    ]
    return Table("sizes", say("Teachers and students of each pair"), columns, lines) if lines else None


def compression(teacher: Found, s: Standing | None, pair: Pair) -> dict[str, Cell]:
    """How many times fewer parameters and operations the student has."""
    record = next((c.record for c in s.pairs[pair].cells.values()), None) if s else None
    if record is None:
        return {"parameters": Cell("–"), "macs": Cell("–")}
    large, small = teacher.record.main, record.main
    ratios = large.parameters / max(1, small.parameters), large.macs / max(1, small.macs)
    return {"parameters": number(ratios[0], 1), "macs": number(ratios[1], 1)}


def gap_table(site: Site, language: str) -> Table | None:
    """KD and the methods that bridge the gap, on each pair."""
    say, lines = spoken(language), []
    bridges = [name for name in BRIDGES if name in site.measured]
    for board, rows, pair, teachers in pairs(site):
        by_name = {s.row.title: s for s in reversed(rows)}
        if KD not in by_name or not any(name in by_name for name in bridges):
            continue
        plain = by_name.get(PLAIN)
        cells = {
            "pair": Cell(f"{pair[0]} → {pair[1]}", href=paths.pair(board, pair)),
            "parameters": compression(teachers[0], plain, pair)["parameters"],
            "kd": interval_cell(by_name[KD].pairs[pair].against.get(PLAIN)),
        }
        for name in bridges:
            s = by_name.get(name)
            cells[name] = interval_cell(s.pairs[pair].against.get(KD) if s else None)
        lines.append(Line(cells, {"suite": [board.suite]}))
    columns = [
        Column("pair", say("Pair")),
        Column("kd", say("KD over plain"), "number", help=say("Percentage points, with the 95 % interval")),
        *(Column(name, f"{name} {say('over KD')}", "number") for name in bridges),
        Column("parameters", say("Parameters ÷"), "number", help=say(SMALLER)),
    ]
    return Table("gap", say("Capacity gap"), columns, lines) if lines else None


def quantized_table(site: Site, language: str) -> Table | None:
    """Students that were trained for integers: as trained, and as PyTorch converts them."""
    say, lines = spoken(language), []
    for board, rows in site.main_boards:
        for s in rows:
            for pair in board.pairs if "quantized" in s.row.info.families else ():
                lines += [quantized_line(board, pair, role, found, say) for role, found in networks(s, pair).items()]
    columns = [
        Column("pair", say("Pair")),
        Column("network", say("Network")),
        Column("accuracy", "top-1, %", "number"),
        Column("bytes", say("Bytes of weights"), "number"),
        Column("seeds", say("Seeds"), "number"),
    ]
    return Table("quantized", say("Quantized students"), columns, lines) if lines else None


def networks(s: Standing, pair: Pair) -> dict[str, list[Any]]:
    """By role, the networks of a row on a pair, over seeds."""
    found: dict[str, list[Any]] = {}
    for cell in s.pairs[pair].cells.values():
        for network in cell.record.networks:
            found.setdefault(network.role, []).append(network)
    return found


def quantized_line(board: Board, pair: Pair, role: str, found: list[Any], say: Say) -> Line:
    stored = found[0].size_bytes or 4 * found[0].parameters  # of float32
    cells = {
        "pair": Cell(f"{pair[0]} → {pair[1]}", href=paths.pair(board, pair)),
        "network": Cell(say("as trained") if role == "student" else role),
        "accuracy": estimate(mean_interval(np.array([network.metrics.top1 for network in found]))),
        "bytes": number(stored, 0),
        "seeds": number(len(found), 0),
    }
    return Line(cells)


@functools.cache
def survey_summary(language: str) -> Table:
    """What the survey's Tables 5 and 6 print, by data set and scheme."""
    say, lines = spoken(language), []
    groups = dict.fromkeys((row.dataset, row.scheme) for row in survey())
    for dataset, scheme in groups:
        rows = [r for r in survey() if (r.dataset, r.scheme) == (dataset, scheme)]
        gains = [r.accuracy - r.student_accuracy for r in rows if r.student_accuracy is not None]
        above = [r for r in rows if r.teacher_accuracy is not None and r.accuracy > r.teacher_accuracy]
        cells = {
            "scheme": Cell(say(scheme)),
            "dataset": Cell(dataset, href=paths.survey(dataset)),
            "rows": number(len(rows), 0),
            "least": number(min(gains), sign=True),
            "median": number(float(np.median(gains)), sign=True),
            "largest": number(max(gains), sign=True),
            "above": number(len(above), 0),
        }
        lines.append(Line(cells, section=dataset))
    helped = say("Student minus its own baseline, as printed")
    columns = [
        Column("scheme", say("Scheme")),
        Column("dataset", say("Data set"), phone=False),
        Column("rows", say("Rows"), "number"),
        Column("least", say("Least gain"), "number", help=helped),
        Column("median", say("Median gain"), "number", help=helped),
        Column("largest", say("Largest gain"), "number", help=helped),
        Column(
            "above", say("Above the teacher"), "number", help=say("Rows whose student stands above the printed teacher")
        ),
    ]
    return Table("gains", say("What the survey prints"), columns, lines)
