"""Records, evidence and curves from `results/` and `runs/`. What is broken becomes a `Problem`, and costs its row."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kdbench.cache import cache_folder
from kdbench.console import printable
from kdbench.errors import KdbenchError
from kdbench.files import read_plain
from kdbench.hashing import digest
from kdbench.layout import COSTS, FAILURES, RESERVED, TEACHERS
from kdbench.records.agreement import Answers
from kdbench.records.classes import Classes, read_classes
from kdbench.records.cost_record import CostRecord, read_cost
from kdbench.records.curves import Curve
from kdbench.records.gate import task_problems
from kdbench.records.metrics import all_metrics, wrong_metrics
from kdbench.records.reader import Problem as Unreadable
from kdbench.records.reader import Reader, is_shipped_teachers
from kdbench.records.record import Record
from kdbench.records.rows import Origin
from kdbench.records.store import CELL_FOLDER, Entry, read_cell, read_runs
from kdbench.records.tasks import task_metrics
from kdbench.records.verification import Verification, read_verified
from kdbench.records.withdrawn import FILE as WITHDRAWN
from kdbench.records.withdrawn import Withdrawn, read_withdrawn
from kdbench.suite import Suite
from kdbench.suites import SUITES, list_suites, load_suite, load_test_labels, shipped_names
from kdbench.tables import NAME
from kdbench_leaderboard.classes import ByClass, by_class

MAX_LOG = 2**24  # bytes


@dataclass(frozen=True)
class Found:
    """One readable record.

    Attributes:
        answers: what the network said of each test image; None for a cell that is not applicable.
        metrics: every metric of the registry, by name, from the evidence: what the record stores and what came later.
        curve: a list a quantity, a value an epoch; empty where it is not kept.
        images: (K, C, H, W) uint8, the distilled data that the network learned from, if it did from such.
        classes: its accuracy on each class, where the classes of the test images are known.
        of_tasks: with tasks, (I,) what each test image adds to the accuracy that rows are ranked by.
        level: verified so far: 0 nothing, 1 metrics recomputed from the evidence (here, while building), 2 first epoch
            trained again, 3 cell trained again.
    """

    record: Record
    origin: Origin
    answers: Answers | None
    curve: Curve
    metrics: Mapping[str, float] = field(default_factory=dict)
    classes: ByClass | None = None
    level: int = 0
    verified: str = ""
    images: np.ndarray | None = None
    of_tasks: np.ndarray | None = None

    @property
    def correct(self) -> np.ndarray | None:
        """(I,) is the network right on each test image?"""
        return self.answers.correct if self.answers else None

    @property
    def scores(self) -> np.ndarray | None:
        """(I,) what each test image adds to the accuracy that rows are ranked by: the same, but for tasks."""
        return self.correct if self.of_tasks is None else self.of_tasks


@dataclass(frozen=True)
class Problem:
    """What cannot be shown, and why. Names of files may hold what no text can, and messages name files."""

    suite: str
    method: str
    what: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", printable(self.method, 100))
        object.__setattr__(self, "what", printable(self.what, 600))


@dataclass
class Store:
    """All that was read.

    Attributes:
        teachers: records of teachers by the hash of their weights.
    """

    cells: list[Found] = field(default_factory=list)
    teachers: dict[str, Found] = field(default_factory=dict)
    costs: list[CostRecord] = field(default_factory=list)
    withdrawn: list[Withdrawn] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    failures: list[Problem] = field(default_factory=list)


def read_store(results: Path | None, runs: Path | None) -> Store:
    """Read everything below both folders; either may be missing."""
    store = Store()
    for suite in list_suites():  # teachers that ship with kdbench
        read_teachers(store, SUITES / suite / TEACHERS, suite, SUITES)
    if results is not None:
        for folder in named_folders(results, store):
            read_suite(store, folder, results)
        for n, line in read_withdrawn(results / WITHDRAWN):
            if isinstance(line, KdbenchError):
                store.problems.append(Problem("", "", f"{WITHDRAWN}:{n}: {tidy(line, results)}"))
            else:
                store.withdrawn.append(line)
    if runs is not None:
        for folder in named_folders(runs, store):
            read_own(store, folder, runs)
            read_own_teachers(store, folder.name)
    return store


def named_folders(parent: Path, store: Store) -> list[Path]:
    """Folders whose names can become paths of the site; another name is a problem."""
    found: list[Path] = []
    for path in sorted(inside(parent, store)):
        if not path.is_dir() or path.name.startswith("."):
            continue
        if not re.fullmatch(NAME, path.name) or len(path.name) > 100:
            store.problems.append(Problem("", "", f"The folder '{path.name}' has no name that kdbench gives: ignored."))
        elif path.is_symlink() and not is_shipped_teachers(path):
            store.problems.append(Problem("", "", f"The folder '{parent.name}/{path.name}' is a link: ignored."))
        else:
            found.append(path)
    return found


def inside(folder: Path, store: Store) -> list[Path]:
    """What lies in a folder; nothing, and a problem, where that cannot be read."""
    try:
        return list(folder.iterdir()) if folder.is_dir() else []
    except OSError as error:
        store.problems.append(Problem("", "", f"The folder '{folder.name}' cannot be read: {error.strerror}."))
        return []


def read_suite(store: Store, folder: Path, root: Path) -> None:
    """A suite's folder in `results/`."""
    for method in named_folders(folder, store):
        if method.name == TEACHERS:
            read_teachers(store, method, folder.name, root)
        elif method.name == COSTS:
            read_costs(store, method, folder.name, root)
        else:
            store.cells += list(read_folded(store, method, folder.name, "accepted", root))


def read_own(store: Store, folder: Path, root: Path) -> None:
    """A suite's folder in `runs/`."""
    for method in named_folders(folder, store):
        if method.name == COSTS:
            read_costs(store, method, folder.name, root)
        elif method.name == FAILURES:
            read_failures(store, method, folder.name)
        elif method.name != TEACHERS:
            levels = verified_levels(store, method, folder.name, root)
            for cell in sorted(path for path in inside(method, store) if CELL_FOLDER.fullmatch(path.name)):
                try:
                    entry = read_cell(cell)
                    same_place(entry.record, folder.name, method.name)
                    mine = found(entry, "yours", levels)
                except (KdbenchError, OSError, ValueError) as error:
                    store.problems.append(Problem(folder.name, method.name, tidy(error, root, "runs")))
                else:
                    store.cells.append(mine)


def read_teachers(store: Store, folder: Path, suite: str, root: Path) -> None:
    for teacher in read_folded(store, folder, suite, "accepted", root):
        if teacher.record.is_teacher and teacher.record.main.sha256:
            store.teachers.setdefault(teacher.record.main.sha256, teacher)


def read_own_teachers(store: Store, suite: str) -> None:
    """Teachers of a suite of yours: they lie in the cache. What is broken there is trained again, and no problem."""
    for entry in read_runs(cache_folder(), suite, TEACHERS):
        if isinstance(entry, KdbenchError) or not entry.record.is_teacher or not entry.record.main.sha256:
            continue
        try:
            store.teachers.setdefault(entry.record.main.sha256, found(entry, "yours", {}))
        except (KdbenchError, ValueError):
            continue


def read_folded(store: Store, folder: Path, suite: str, origin: Origin, root: Path) -> Iterator[Found]:
    """The records of one folder of `results/`; a broken line or evidence costs that record."""

    def problem(error: Exception) -> None:
        store.problems.append(Problem(suite, folder.name, tidy(error, root)))

    levels = verified_levels(store, folder, suite, root)
    for entry in Reader().contents(folder).entries():
        if isinstance(entry, Unreadable):
            problem(entry.error)
            continue
        try:
            same_place(entry.record, suite, folder.name)
            yield found(entry, origin, levels)
        except (KdbenchError, ValueError) as error:
            problem(error)


def same_place(record: Record, suite: str, method: str) -> None:
    """A record lies in the folder of its suite and method: the site's paths are made of these names.

    Raises:
        KdbenchError: it does not.
    """
    expected = TEACHERS if record.is_teacher else method
    name = TEACHERS if record.is_teacher else record.method.name
    if record.suite != suite or name != expected or (not record.is_teacher and name in RESERVED):
        raise KdbenchError(f"A record of '{record.suite}/{record.method.name}' lies in '{suite}/{method}': ignored.")


def found(entry: Entry, origin: Origin, levels: dict[str, Verification]) -> Found:
    """A record with what the site needs of its evidence.

    Raises:
        KdbenchError: its metrics do not follow from its evidence.
    """
    record, evidence, curve = entry.record, entry.evidence, entry.record.curve or {}
    if evidence is None:
        return Found(record, origin, None, curve)
    answers = Answers(record, evidence.predicted, evidence.rank == 0)
    if abs(100 * float(answers.correct.mean()) - record.main.metrics.top1) > 1e-9:
        raise KdbenchError(f"Record {record.key[:16]}: its accuracy does not follow from its evidence.")
    of_tasks = entry.scores if record.tasks else None
    if record.tasks and (of_tasks is None or abs(100 * float(of_tasks.mean()) - record.accuracy) > 1e-9):
        raise KdbenchError(f"Record {record.key[:16]}: what it says of tasks does not follow from its evidence.")
    level, outcome = 0, ""
    if known := known_labels(record.suite, record.fingerprint):
        suite, labels, _ = known
        wrong = wrong_metrics(record.main.metrics, evidence, labels, suite.data.num_classes)
        if [*wrong, *task_problems(record, evidence, entry.others, suite, labels)]:
            raise KdbenchError(f"Record {record.key[:16]}: its metrics do not follow from its evidence.")
        level, outcome = 1, "its metrics follow from its evidence and the suite's test labels"
    said = levels.get(record.key)
    if said and said.record_sha256 == record.sha256 and said.level > level:
        who = f", by {said.by}" if said.by else ""
        level, outcome = said.level, printable(f"{said.outcome} ({said.date}{who})", 600)
    classes = by_class(answers, known[2] if known else classes_beside(entry), record.num_classes)
    values = all_metrics(evidence, record.num_classes) | (task_metrics(record.tasks) if record.tasks else {})
    return Found(record, origin, answers, curve, values, classes, level, outcome, entry.images, of_tasks)


def classes_beside(entry: Entry) -> Classes | None:
    """The classes that lie beside a record of yours; none where they cannot be used."""
    try:
        return read_classes(entry.folder, entry.record)
    except KdbenchError:
        return None


@functools.cache
def known_labels(name: str, fingerprint: str) -> tuple[Suite, np.ndarray, Classes] | None:
    """A built-in suite under this protocol, with its test labels and classes; None where kdbench has none."""
    if name not in list_suites():
        return None
    suite = load_suite(name)
    if fingerprint not in (suite.fingerprint, digest(suite.teacher_protocol())):
        return None
    try:
        labels = load_test_labels(suite)
    except KdbenchError:
        return None
    names = shipped_names(suite.data.source, suite.data.num_classes)
    return suite, labels, Classes(names=names, test_labels=labels.tolist())


def verified_levels(store: Store, folder: Path, suite: str, root: Path) -> dict[str, Verification]:
    try:
        return {v.key: v for v in read_verified(folder)}
    except KdbenchError as error:
        store.problems.append(Problem(suite, folder.name, tidy(error, root)))
        return {}


def read_costs(store: Store, folder: Path, suite: str, root: Path) -> None:
    for path in sorted(path for path in inside(folder, store) if path.suffix == ".json"):
        try:
            record = read_cost(path)
            if record.suite != suite:
                raise KdbenchError(f"{path} is of suite '{record.suite}': ignored.")
            store.costs.append(record)
        except KdbenchError as error:
            store.problems.append(Problem(suite, COSTS, tidy(error, root)))


def read_failures(store: Store, folder: Path, suite: str) -> None:
    """Cells of yours that failed: what each said last."""
    for path in sorted(path for path in inside(folder, store) if path.suffix == ".log"):
        try:
            lines = read_plain(path, MAX_LOG).decode(errors="replace").strip().splitlines() or [""]
        except (KdbenchError, FileNotFoundError):
            continue
        store.failures.append(Problem(suite, path.stem.rpartition("-")[0], f"{lines[0]}: {lines[-1]}"[:500]))


def tidy(error: Exception, root: Path, name: str = "results") -> str:
    """An error's message without the folders of this machine."""
    return str(error).replace(str(root), name)
