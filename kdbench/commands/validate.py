"""`kdbench validate results/`: the gate for what enters the board; names the file and line of each problem.."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from kdbench.console import line_printer, one_line, write_json
from kdbench.errors import KdbenchError
from kdbench.hashing import file_sha256
from kdbench.layout import BEGUN, COSTS, DECIDED, TEACHERS
from kdbench.records.cost_record import file_name, read_cost
from kdbench.records.gate import plain_sizes, record_problems
from kdbench.records.gate_change import change_problems
from kdbench.records.gate_rows import rows_problems
from kdbench.records.guard import Guarded, keys_of
from kdbench.records.privacy import private, private_texts
from kdbench.records.reader import Contents, is_shipped_teachers
from kdbench.records.reader import Problem as Unreadable
from kdbench.records.record import Record
from kdbench.records.rows import PLAIN
from kdbench.records.store import CURVES, DISTILLED, EVIDENCE, RECORDS, VERIFIED, other_key, weights_name
from kdbench.records.values import possible_day
from kdbench.records.verification import parse_verification
from kdbench.records.withdrawn import FILE as WITHDRAWN
from kdbench.records.withdrawn import place_of, read_withdrawn
from kdbench.suite import Suite
from kdbench.suites import list_suites, load_suite, load_test_labels
from kdbench.tables import NAME
from kdbench.teacher_names import teacher_name

MAX_TEACHER = 20 * 2**20
FILES = {RECORDS, EVIDENCE, CURVES, VERIFIED, DISTILLED}


@dataclass(frozen=True)
class Problem:
    """Something that keeps results from the board; `where` is a file, or file:line."""

    where: str
    what: str

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what}")


@dataclass(frozen=True)
class Board:
    """A suite with what its records are checked against.

    Attributes:
        teachers: names of the accepted ones by the hash of their weights.
        sizes: parameters and MACs of the plain students.
        evidence: by its hash, the row that has it and where.
    """

    suite: Suite
    labels: np.ndarray
    teachers: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    evidence: dict[str, tuple[str, str]] = field(default_factory=dict)


def validate(results: Path, against: Path | None, console: Console, as_json: bool) -> int:
    """Check a folder of results; returns the exit code: 1 if there is any problem.

    Args:
        against: the results before the change: a record that is gone or replaced must be in `WITHDRAWN.md`.

    Raises:
        KdbenchError: no such folder, or nothing in it to check.
    """
    for folder in (results, against):
        if folder is not None and not folder.is_dir():
            raise KdbenchError(f"No folder {folder}.")
        closed = [p for p in folder.iterdir() if p.is_dir() and not os.access(p, os.R_OK | os.X_OK)] if folder else []
        if closed:
            raise KdbenchError(f"Cannot read {closed[0]}. Mend its permissions.")
        if folder is not None and not any(folder.glob("*/*/*")):
            raise KdbenchError(f"{folder} holds no results: they lie in {folder}/SUITE/METHOD/. Nothing was checked.")
    records: list[tuple[str, Record]] = []
    problems = list(folder_problems(results, records))
    alone = [record for _, record in records]
    problems += withdrawn_problems(results, alone)
    if against is not None:
        problems += (Problem(*one) for one in change_problems(results, against, alone))
    if as_json:
        about = [{"where": one_line(p.where), "problem": one_line(p.what)} for p in problems]
        write_json({"records": len(records), "problems": about})
    else:
        notice = line_printer(console)
        for problem in problems:
            notice(str(problem))
        notice(f"{len(records)} records, {len(problems)} problems in {results}")
    return 1 if problems else 0


def folder_problems(results: Path, records: list[tuple[str, Record]]) -> Iterator[Problem]:
    """Problems of all suites; the records that could be read are appended to `records`, with file and line."""
    for path in sorted(results.iterdir()):
        if path.name in (WITHDRAWN, "README.md") and path.is_file() and not path.is_symlink():
            continue
        if path.is_symlink() or not path.is_dir():
            yield Problem(str(path), "only folders of suites, WITHDRAWN.md and README.md belong here")
        elif path.name in (BEGUN, DECIDED):
            yield Problem(str(path), "a submission was interrupted: run 'kdbench submit' again, which completes it")
        elif path.name not in list_suites():
            yield Problem(str(path), "no built-in suite has this name")
        else:
            yield from readable(path, suite_problems(path, records))


def readable(folder: Path, problems: Iterator[Problem]) -> Iterator[Problem]:
    """The same; a folder or file that cannot be read is one more."""
    try:
        yield from problems
    except OSError as error:
        yield Problem(error.filename or str(folder), f"it cannot be read: {error.strerror}")


def suite_problems(folder: Path, records: list[tuple[str, Record]]) -> Iterator[Problem]:
    suite = load_suite(folder.name)
    try:
        labels = load_test_labels(suite)
    except KdbenchError as error:
        yield Problem(str(folder), str(error))
        return
    link = folder / TEACHERS
    if link.is_symlink() and not link.exists():
        yield Problem(str(link), f"it leads to {link.readlink()}, where nothing is; copy results with 'cp -rL'")
        yield Problem(str(folder), "not checked, since it has no teachers")
        return
    board = Board(suite, labels)
    names = sorted(path.name for path in folder.iterdir())
    for name in sorted(names, key=lambda name: (name != TEACHERS, name != PLAIN)):  # what others are checked against
        path = folder / name
        if path.is_symlink() and not is_shipped_teachers(path):
            yield Problem(str(path), "a link does not belong here")
        elif not path.is_dir() or not re.fullmatch(NAME, name):
            yield Problem(str(path), "only folders of methods, teachers and costs belong here")
        elif name == COSTS:
            yield from readable(path, cost_problems(path, suite))
        else:
            found: list[tuple[str, Record]] = []
            yield from readable(path, method_problems(path, board, found))
            if name == TEACHERS:
                taught = [record for _, record in found if record.is_teacher]
                board.teachers.update({r.main.sha256: teacher_name(r.student, r.seed) for r in taught if r.main.sha256})
            if name == PLAIN:
                board.sizes.update(plain_sizes(record for _, record in found))
            records += found


def method_problems(folder: Path, board: Board, records: list[tuple[str, Record]]) -> Iterator[Problem]:
    """Problems of the folder of a method, or of the teachers."""
    contents = Guarded(len(board.labels)).contents(folder)
    found, alone = contents.records, [record for _, record in contents.records]
    records += found
    yield from (Problem(bad.where, bad.what) for bad in contents.bad_lines)
    yield from file_problems(folder, alone)
    if contents.bad_files:
        yield from (Problem(str(folder), str(bad.error)) for bad in contents.bad_files)
        return
    for name, extra in (
        (EVIDENCE, set(contents.evidence) - keys_of(alone)),
        (CURVES, set(contents.curves) - {record.key for record in alone}),
        (DISTILLED, set(contents.images) - {record.distilled.sha256 for record in alone if record.distilled}),
    ):
        if extra:
            yield Problem(str(folder / name), "it has keys that no record has")
    yield from duplicates(found)
    for where, record in found:
        for what in one_record(record, contents, board):
            yield Problem(where, what)
    if folder.name != TEACHERS:
        yield from (Problem(*one) for one in rows_problems(found, contents.evidence, board.suite))
        yield from same_evidence(found, board)
    yield from verified_problems(folder, {r.key: r.sha256 for r in alone})


def file_problems(folder: Path, records: list[Record]) -> Iterator[Problem]:
    """A folder holds its records' files and the weights of its teachers, nothing else."""
    weights = {weights_name(r.main.model, r.main.sha256): r for r in records if r.is_teacher and r.main.sha256}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or (path.name not in FILES and path.name not in weights):
            yield Problem(str(path), "no record names this file")
        elif path.name in weights and path.stat().st_size > MAX_TEACHER:
            yield Problem(str(path), "weights over 20 MB are not kept in results")
        elif path.name in weights and file_sha256(path) != weights[path.name].main.sha256:
            yield Problem(str(path), "the weights do not match their hash")


def one_record(record: Record, contents: Contents, board: Board) -> Iterator[str]:
    """Problems of one record in its place."""
    folder, known = contents.folder, contents.evidence
    evidence, curve = known.get(record.key), contents.curves.get(record.key)
    others = {n.role: known[key] for n in record.others if (key := other_key(record.key, n.role)) in known}
    name = TEACHERS if record.is_teacher else record.method.name
    if (record.suite, name) != (folder.parent.name, folder.name):
        yield f"it belongs in {record.suite}/{name}"
        return
    if evidence is not None and record.status == "done" and evidence.sha256() != record.evidence_sha256:
        yield "its evidence does not match its hash"
        return
    try:
        images = contents.images_of(record)
    except KdbenchError:
        yield "its distilled images are missing, or do not match their hash"
        return
    given = (record, evidence, board.suite, board.labels, board.teachers, curve, others, board.sizes)
    yield from record_problems(*given, images)


def duplicates(found: list[tuple[str, Record]]) -> Iterator[Problem]:
    seen: dict[Any, str] = {}
    for where, record in found:
        for place in (record.key, (record.kind, record.row, record.teacher, record.student, record.seed)):
            if place in seen:
                yield Problem(where, f"it repeats {seen[place]}")
                break
            seen[place] = where


def same_evidence(found: list[tuple[str, Record]], board: Board) -> Iterator[Problem]:
    """Two methods that say the same of every image are one network under two names."""
    for where, record in found:
        if record.evidence_sha256:
            method, there = board.evidence.setdefault(record.evidence_sha256, (record.method.name, where))
            if method != record.method.name:
                yield Problem(where, f"evidence_sha256: its evidence is that of '{method}' in {there}")


def verified_problems(folder: Path, hashes: dict[str, str]) -> Iterator[Problem]:
    lines = list(Guarded().lines(folder / VERIFIED, parse_verification)) if os.path.lexists(folder / VERIFIED) else []
    yield from (Problem(line.where, line.what) for line in lines if isinstance(line, Unreadable))
    seen: set[str] = set()
    for where, verification in (line for line in lines if not isinstance(line, Unreadable)):
        if hashes.get(verification.key) != verification.record_sha256:
            yield Problem(where, "it speaks of a record that is not here")
        elif verification.key in seen:
            yield Problem(where, "it repeats an earlier line")
        elif not possible_day(verification.date):
            yield Problem(where, f"date is none on which it can have been: '{verification.date}'")
        elif told := next(private_texts(verification.model_dump(exclude={"by"})), None):
            yield Problem(where, f"{told[0]} names {told[1]}")
        seen.add(verification.key)


def cost_problems(folder: Path, suite: Suite) -> Iterator[Problem]:
    """Problems of the cost records of a suite."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or path.suffix != ".json":
            yield Problem(str(path), "only cost records belong here")
            continue
        try:
            record = read_cost(path)
        except KdbenchError as error:
            yield Problem(str(path), Unreadable(str(path), error).what)
            continue
        if record.suite != suite.name or path.name != file_name(record):
            yield Problem(str(path), "its name or folder does not follow from its content")
        if record.pair not in map(str, suite.pairs):
            yield Problem(str(path), f"'{record.pair}' is no pair of the suite")
        if record.fingerprint != suite.fingerprint:
            yield Problem(str(path), "its protocol is not the suite's")
        if not possible_day(record.finished):
            yield Problem(str(path), f"finished is no time at which it can have been: '{record.finished}'")
        for place, what in private_texts(record.model_dump(mode="json")):
            yield Problem(str(path), f"{place} names {what}")


def withdrawn_problems(results: Path, records: list[Record]) -> Iterator[Problem]:
    """`WITHDRAWN.md` is whole, and what it says is withdrawn is not there."""
    path = results / WITHDRAWN
    here = {place_of(record) for record in records if not record.is_teacher}
    for n, line in read_withdrawn(path):
        if isinstance(line, KdbenchError):
            yield Problem(f"{path}:{n}", Unreadable(str(path), line).what)
        elif line.status == "withdrawn" and line.place in here:
            yield Problem(f"{path}:{n}", f"'{line.row}' is withdrawn, and its records are still here")
        elif what := private(line.reason):
            yield Problem(f"{path}:{n}", f"reason names {what}")
