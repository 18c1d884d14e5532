"""`kdbench validate results/`: the gate for what enters the board; names the file and line of each problem.."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from kdbench.console import line_printer, one_line, write_json
from kdbench.errors import KdbenchError
from kdbench.hashing import file_sha256
from kdbench.layout import COSTS, TEACHERS
from kdbench.records.cost_record import file_name, read_cost
from kdbench.records.gate import record_problems
from kdbench.records.guard import Guarded, keys_of
from kdbench.records.reader import Contents, is_shipped_teachers
from kdbench.records.reader import Problem as Unreadable
from kdbench.records.record import Record, parse_record
from kdbench.records.store import CURVES, EVIDENCE, RECORDS, VERIFIED, other_key, weights_name
from kdbench.records.verification import parse_verification
from kdbench.records.withdrawn import FILE as WITHDRAWN
from kdbench.records.withdrawn import Place, place_of, read_withdrawn
from kdbench.suite import Suite, list_suites, load_suite, load_test_labels
from kdbench.tables import NAME

MAX_TEACHER = 16 * 2**20
FILES = {RECORDS, EVIDENCE, CURVES, VERIFIED}


@dataclass(frozen=True)
class Problem:
    """Something that keeps results from the board; `where` is a file, or file:line."""

    where: str
    what: str

    def __str__(self) -> str:
        return one_line(f"{self.where}: {self.what}")


@dataclass(frozen=True)
class Board:
    """A suite with what its records are checked against."""

    suite: Suite
    labels: np.ndarray
    teachers: dict[str, str]


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
        if folder is not None and not any(folder.glob("*/*/*")):
            raise KdbenchError(f"{folder} holds no results: they lie in {folder}/SUITE/METHOD/. Nothing was checked.")
    records: list[tuple[str, Record]] = []
    problems = list(folder_problems(results, records))
    problems += withdrawn_problems(results, against, [record for _, record in records])
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
        elif path.name not in list_suites():
            yield Problem(str(path), "no built-in suite has this name")
        else:
            yield from suite_problems(path, records)


def suite_problems(folder: Path, records: list[tuple[str, Record]]) -> Iterator[Problem]:
    suite = load_suite(folder.name)
    try:
        labels = load_test_labels(suite)
    except KdbenchError as error:
        yield Problem(str(folder), str(error))
        return
    board = Board(suite, labels, {})
    names = sorted(path.name for path in folder.iterdir())
    for name in sorted(names, key=lambda name: name != TEACHERS):  # they come first: cells name them
        path = folder / name
        if path.is_symlink() and not is_shipped_teachers(path):
            yield Problem(str(path), "a link does not belong here")
        elif not path.is_dir() or not re.fullmatch(NAME, name):
            yield Problem(str(path), "only folders of methods, teachers and costs belong here")
        elif name == COSTS:
            yield from cost_problems(path, suite)
        else:
            found: list[tuple[str, Record]] = []
            yield from method_problems(path, board, found)
            if name == TEACHERS:
                board.teachers.update({r.main.sha256: r.student for _, r in found if r.is_teacher and r.main.sha256})
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
    ):
        if extra:
            yield Problem(str(folder / name), "it has keys that no record has")
    yield from duplicates(found)
    for where, record in found:
        for what in one_record(record, contents, board):
            yield Problem(where, what)
    if folder.name != TEACHERS:
        yield from row_problems(found, board.suite)
    yield from verified_problems(folder, {r.key: r.sha256 for r in alone})


def file_problems(folder: Path, records: list[Record]) -> Iterator[Problem]:
    """A folder holds its records' files and the weights of its teachers, nothing else."""
    weights = {weights_name(r.main.model, r.main.sha256): r for r in records if r.is_teacher and r.main.sha256}
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or not path.is_file() or (path.name not in FILES and path.name not in weights):
            yield Problem(str(path), "no record names this file")
        elif path.name in weights and path.stat().st_size > MAX_TEACHER:
            yield Problem(str(path), "weights over 16 MB are not kept in results")
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
    if evidence is not None and evidence.sha256() != record.evidence_sha256:
        yield "its evidence does not match its hash"
        return
    yield from record_problems(record, evidence, board.suite, board.labels, board.teachers, curve, others)


def duplicates(found: list[tuple[str, Record]]) -> Iterator[Problem]:
    seen: dict[Any, str] = {}
    for where, record in found:
        for place in (record.key, (record.kind, record.row, record.teacher, record.student, record.seed)):
            if place in seen:
                yield Problem(where, f"it repeats {seen[place]}")
                break
            seen[place] = where


def origin(record: Record) -> tuple[int, str, str, str]:
    """Which code a record comes from; what a cell deviates in may differ from pair to pair."""
    method = record.method
    return method.version, method.source_sha256, method.distribution, method.distribution_version


def row_problems(found: list[tuple[str, Record]], suite: Suite) -> Iterator[Problem]:
    """A row is of one version of its method, and has every seed of each pair that it has, further ones without gaps."""
    rows: dict[str, list[tuple[str, Record]]] = {}
    for where, record in found:
        rows.setdefault(record.row, []).append((where, record))
    for name, members in rows.items():
        where, first = members[0]
        if other := next((w for w, r in members if origin(r) != origin(first)), None):
            yield Problem(other, f"'{name}' is of another version or source than in {where}")
        seeds: dict[tuple[str | None, str], set[int]] = {}
        for _, record in members:
            seeds.setdefault((record.teacher, record.student), set()).add(record.seed)
        for (teacher, student), have in seeds.items():
            if missing := sorted(set(range(max(suite.seeds, *(seed + 1 for seed in have)))) - have):
                pair = f"{teacher}:{student}" if teacher else student
                yield Problem(where, f"'{name}' on {pair} lacks seeds {', '.join(map(str, missing))}")


def verified_problems(folder: Path, hashes: dict[str, str]) -> Iterator[Problem]:
    lines = list(Guarded().lines(folder / VERIFIED, parse_verification)) if (folder / VERIFIED).exists() else []
    yield from (Problem(line.where, line.what) for line in lines if isinstance(line, Unreadable))
    seen: set[str] = set()
    for where, verification in (line for line in lines if not isinstance(line, Unreadable)):
        if hashes.get(verification.key) != verification.record_sha256:
            yield Problem(where, "it speaks of a record that is not here")
        elif verification.key in seen:
            yield Problem(where, "it repeats an earlier line")
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


def withdrawn_problems(results: Path, against: Path | None, records: list[Record]) -> Iterator[Problem]:
    """`WITHDRAWN.md` is whole, and tells of each record that was in `against` and is gone or replaced."""
    path = results / WITHDRAWN
    told: set[Place] = set()
    here = {place_of(record) for record in records if not record.is_teacher}
    for n, line in read_withdrawn(path):
        if isinstance(line, KdbenchError):
            yield Problem(f"{path}:{n}", str(line))
            continue
        told.add(line.place)
        if line.status == "withdrawn" and line.place in here:
            yield Problem(f"{path}:{n}", f"'{line.row}' is withdrawn, and its records are still here")
    if against is None:
        return
    files = sorted(against.glob(f"*/*/{RECORDS}"))
    lines = [line for path_before in files for line in Guarded().lines(path_before, parse_record)]
    before = [line[1] for line in lines if not isinstance(line, Unreadable)]
    kept = {record.sha256 for record in records}
    gone = {place_of(record) for record in before if not record.is_teacher and record.sha256 not in kept}
    for suite, row, version, protocol in sorted(gone - told):
        yield Problem(
            str(path), f"records of '{row}' version {version} on {suite} ({protocol}) are gone, and no line says why"
        )
