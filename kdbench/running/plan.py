"""The plan: which cells a request needs, and which of them already have a valid record."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from kdbench.console import Notice
from kdbench.errors import KdbenchError, did_you_mean, first_problem
from kdbench.layout import TEACHERS
from kdbench.method import Method
from kdbench.plugins import load_method
from kdbench.records.keys import cell_key, teacher_key
from kdbench.records.reader import read_results
from kdbench.records.record import Record, row_name
from kdbench.records.store import Entry, cell_folder, read_cell
from kdbench.records.successors import is_asked_again
from kdbench.running.kinds import check_kinds
from kdbench.running.teachers import BASELINE, Teacher
from kdbench.source import source_sha256
from kdbench.suite import Suite
from kdbench.tables import Data, Pair, Recipe
from kdbench.teacher_names import split_teacher, teacher_name

Source = Literal["paper", "paper per pair", "suite", "user", "tuned"]


@dataclass(frozen=True)
class Cell:
    """One training, with all that its result depends on.

    Attributes:
        kind: "cell", or "teacher": then `student` is the teacher to train.
        method_version, source_sha256: of the method.
        params: resolved; `variant` are those that the user set to other values than the suite's own on some pair.
        teacher: None for a method that reads none.
        team: further teachers, of a method that reads several.
        awaits: teachers that are still to be trained, by name; the key is not final before.
        assistants: networks between teacher and student, of a method that trains such.
    """

    kind: Literal["cell", "teacher"]
    suite: Suite
    method: str
    method_version: int
    source_sha256: str
    student: str
    seed: int
    params: dict[str, Any] = field(default_factory=dict)
    variant: dict[str, Any] = field(default_factory=dict)
    params_source: Source = "paper"
    trials: int = 0
    teacher: Teacher | None = None
    team: tuple[Teacher, ...] = ()
    awaits: tuple[str, ...] = ()
    assistants: tuple[str, ...] = ()

    @property
    def is_teacher(self) -> bool:
        """Whether it is the training of a teacher."""
        return self.kind == "teacher"

    @property
    def teachers(self) -> list[Teacher]:
        """All that it reads, the pair's own first."""
        return [self.teacher, *self.team] if self.teacher else []

    @property
    def teacher_name(self) -> str | None:
        """The architecture of the pair's own teacher, be it here or still to be trained."""
        return self.teacher.model if self.teacher else split_teacher(self.awaits[0])[0] if self.awaits else None

    @property
    def recipe(self) -> Recipe:
        return self.suite.teacher_recipe() if self.is_teacher else self.suite.recipe_of(self.student)

    @property
    def data(self) -> Data:
        return self.suite.data.for_teachers if self.is_teacher else self.suite.data

    @property
    def protocol(self) -> dict[str, Any]:
        return self.suite.teacher_protocol() if self.is_teacher else self.suite.protocol()

    @property
    def stream(self) -> str:
        """Name of the random streams; students of all methods share theirs."""
        return f"{self.suite.name}/teacher" if self.is_teacher else self.suite.name

    @cached_property
    def key(self) -> str:
        if self.is_teacher:
            own = self.suite.weights.get(self.student)
            weights = own.sha256 or "" if own else None
            return teacher_key(self.suite, self.student, self.method_version, weights, self.seed)
        return cell_key(
            self.suite,
            self.student,
            self.seed,
            self.method,
            self.method_version,
            self.params,
            [*(teacher.sha256 for teacher in self.teachers), *self.awaits],
            self.assistants,
        )

    def folder(self, root: Path) -> Path:
        """Where its record lies: below `runs/`, or below the cache for a teacher."""
        return cell_folder(root, self.suite.name, TEACHERS if self.is_teacher else self.method, self.key)

    def __str__(self) -> str:
        if self.is_teacher:
            return f"teacher {teacher_name(self.student, self.seed)}"
        networks = f"{self.teacher_name}:{self.student}" if self.teacher_name else self.student
        return f"{self.row} {networks} seed {self.seed}"

    @property
    def row(self) -> str:
        """The row of the board that the cell belongs to."""
        return row_name(self.method, self.variant, self.trials if self.params_source == "tuned" else None)

    def is_served_by(self, record: Record) -> bool:
        """Whether a record is this cell's result: an equal key, by an unchanged method."""
        return record.key == self.key and record.method.source_sha256 == self.source_sha256


def resolve_params(
    method: type[Method], suite: Suite, pair: Pair | None, user: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A method's parameters on a pair: its defaults, the suite's overrides, the user's.

    Returns:
        the parameters with the user's values, and without them.

    Raises:
        KdbenchError: an unknown parameter, a wrong type or a value out of range; says who set it.
    """
    override, _ = suite.override(method.name, pair)
    own = validate_params(method, override, f"Suite '{suite.name}', methods.{method.name}")
    return validate_params(method, {**override, **user}, f"Method '{method.name}' (--set)"), own


def validate_params(method: type[Method], values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Parameters as JSON values, with defaults filled in."""
    for name in values:
        if name not in method.Params.model_fields:
            raise KdbenchError(f"{where}: no parameter '{name}'.{did_you_mean(name, method.Params.model_fields)}")
    try:
        return method.Params.model_validate_json(json.dumps(dict(values))).model_dump(mode="json")
    except (ValidationError, ValueError, TypeError) as error:
        problem = first_problem(error) if isinstance(error, ValidationError) else str(error)
        raise KdbenchError(f"{where}: {problem}.") from error


def assemble(
    suite: Suite,
    method: type[Method],
    pair: Pair,
    seed: int,
    params: Mapping[str, Any],
    teachers: Mapping[str, Teacher],
    source: str,
    variant: Mapping[str, Any] = {},
    params_source: Source = "paper",
    trials: int = 0,
) -> Cell:
    """The cell of a method on a pair, with the teachers and assistants that the suite has for such a method.

    Args:
        teachers: by name; it awaits all that it reads if one of these is not among them.
        source: hash of the method's source; empty for a cell that is never recorded.
    """
    read = tuple(suite.teacher_of(model, seed) for model in suite.read_by(method.requires, pair))
    known = [teachers[name] for name in read] if all(name in teachers for name in read) else []
    return Cell(
        kind="cell",
        suite=suite,
        method=method.name,
        method_version=method.version,
        source_sha256=source,
        student=pair.student,
        seed=seed,
        params=dict(params),
        variant=dict(variant),
        params_source=params_source,
        trials=trials,
        teacher=known[0] if known else None,
        team=tuple(known[1:]),
        awaits=() if known else read,
        assistants=suite.between(method.requires, pair),
    )


def plan_cells(
    suite: Suite,
    methods: Mapping[str, Mapping[str, Any]],
    pairs: Sequence[Pair],
    seeds: Sequence[int],
    teachers: Mapping[str, Teacher],
) -> list[Cell]:
    """The cells of the methods on pairs and seeds; a method without a teacher is trained once per student.

    Args:
        methods: names with the parameters that the user set.
        teachers: of all pairs and their teams, by name; cells of those that are not among them await them.

    Raises:
        KdbenchError: as `resolve_params` and `check_kinds`.
    """
    check_kinds(suite, methods)
    cells: dict[str, Cell] = {}
    for name, user in methods.items():
        method = load_method(name)
        source = source_sha256(method)
        resolved = {
            pair: resolve_params(method, suite, pair if method.reads_teacher() else None, user) for pair in pairs
        }
        changed = {key for params, own in resolved.values() for key in user if params[key] != own[key]}
        for pair in pairs:
            override = suite.override(name, pair)[1]
            params = resolved[pair][0]
            variant = {key: params[key] for key in sorted(changed)}
            origin: Source = "user" if variant else override.source
            for seed in seeds:
                cell = assemble(suite, method, pair, seed, params, teachers, source, variant, origin, override.trials)
                cells.setdefault(cell.key, cell)
    return list(cells.values())


def teachers_of(suite: Suite, methods: Sequence[str], pairs: Sequence[Pair], seeds: Iterable[int]) -> list[str]:
    """The teachers that cells of these methods on these pairs and seeds read."""
    read = [name for method in methods for pair in pairs for name in suite.read_by(load_method(method).requires, pair)]
    return list(dict.fromkeys(suite.teacher_of(model, seed) for model in read for seed in seeds))


def plan_teacher(suite: Suite, name: str) -> Cell:
    """The training of a teacher: the plain method under the teacher's recipe."""
    method, (model, number) = load_method(BASELINE), split_teacher(name)
    return Cell("teacher", suite, BASELINE, method.version, source_sha256(method), student=model, seed=number)


def find_recorded(cells: Sequence[Cell], root: Path, notice: Notice) -> dict[str, Entry]:
    """The valid records of cells below `root`, by key; a corrupt one is named, and counts as missing.

    So does one that is to be trained again, for as long as it has no successor.
    """
    found: dict[str, Entry] = {}
    for cell in cells:
        folder = cell.folder(root)
        try:
            if not folder.is_dir():
                continue
            entry = read_cell(folder)
        except PermissionError as error:
            raise KdbenchError(f"Cannot read {folder}: {error.strerror}. Mend its permissions.") from error
        except KdbenchError as error:
            notice(str(error))
            continue
        if cell.is_served_by(entry.record) and not is_asked_again(folder, entry.record):
            found[cell.key] = entry
    return found


def find_accepted(cells: Sequence[Cell], results: Path) -> dict[str, Entry]:
    """The accepted records of cells, with their curves, by key."""
    found: dict[str, Entry] = {}
    for suite, method in dict.fromkeys((cell.suite.name, cell.method) for cell in cells):
        found |= {entry.record.key: entry for entry in read_results(results / suite / method, with_curves=True)}
    return {c.key: found[c.key] for c in cells if c.key in found and c.is_served_by(found[c.key].record)}
