"""The records of a submission: of the pairs that it is for, each as the board wants it, beside the accepted ones."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kdbench.console import Notice
from kdbench.errors import KdbenchError
from kdbench.layout import TEACHERS
from kdbench.records.built_in import DISTRIBUTION
from kdbench.records.gate import record_problems
from kdbench.records.reader import read_results
from kdbench.records.record import Record
from kdbench.records.rows import REFERENCES
from kdbench.records.store import Entry, read_runs
from kdbench.running.plan import Cell, find_accepted, find_recorded, plan_cells
from kdbench.running.teachers import Teacher, find_teacher
from kdbench.suite import Suite
from kdbench.suites import load_test_labels
from kdbench.tables import Pair


def check_method(
    suite: Suite,
    method: str,
    pairs: Sequence[Pair],
    runs: Path,
    results: Path,
    teachers: dict[str, Teacher],
    published: tuple[str, str] | None,
    notice: Notice,
) -> list[Entry]:
    """The records of a method: every seed of these pairs, each as the gate wants it, and those accepted of others.

    Accepted ones stand, beside further seeds, unless all of them were trained again. Further seeds come along where
    every pair has them: of the references up to the first that is lacking, of a method all that the suite allows.

    Raises:
        KdbenchError: names the first record that is missing or does not hold; or nothing is new.
    """
    cells = plan_cells(suite, {method: {}}, pairs, range(suite.seeds), teachers)
    more = further_cells(suite, method, pairs, runs, results, teachers)
    recorded = find_recorded([*cells, *more], runs, notice)
    new = {c.key: restamped(recorded[c.key], c, published) for c in (*cells, *more) if c.key in recorded}
    accepted = find_accepted([*cells, *more], results)
    found = accepted | new if all(cell.key in new for cell in cells) else new | accepted
    if missing := [cell for cell in cells if cell.key not in found]:
        raise KdbenchError(
            f"{method}: {len(missing)} of {len(cells)} cells have no valid record, the first being '{missing[0]}'. "
            f"Run: kdbench run --method {method} --suite {suite.name}{how_to_go_on(suite, pairs, missing)}"
        )
    end = min((cell.seed for cell in more if cell.key not in found), default=None)
    if end is None or method in REFERENCES:
        cells += [cell for cell in more if end is None or cell.seed < end or cell.key in accepted]
    elif left := sorted({cell.seed for cell in more if cell.key in new}):
        notice(
            f"{method}: seeds {', '.join(map(str, left))} are left out: the suite takes {suite.seeds} or "
            f"{suite.most_seeds} of a method, on every pair."
        )
    entries = [found[cell.key] for cell in cells]
    if all(entry is accepted.get(entry.record.key) for entry in entries):
        raise KdbenchError(
            f"{method}: {runs} has no record that {results} lacks. Run: kdbench run --method {method} "
            f"--suite {suite.name}, with --seeds {suite.most_seeds or suite.seeds} for further ones"
        )
    labels = load_test_labels(suite)
    known = {teacher.sha256: name for name, teacher in teachers.items()}
    for entry in entries:
        record = entry.record
        given = (record, entry.evidence, suite, labels, known, record.curve, entry.others)
        for problem in record_problems(*given, images=entry.images):
            raise KdbenchError(f"{entry.folder}: {problem}.")
    return [*entries, *kept_entries(suite, method, pairs, results)]


def how_to_go_on(suite: Suite, pairs: Sequence[Pair], missing: Sequence[Cell]) -> str:
    """The end of a message: which pairs lack cells, and how the others can be submitted without them."""
    lacking = [pair for pair in pairs if is_on(pair, {(cell.teacher_name, cell.student) for cell in missing})]
    if len(lacking) == len(suite.pairs):
        return ""
    named = "".join(f" --pair {pair}" for pair in lacking)
    return named if len(pairs) < len(suite.pairs) else f"{named}; or submit whole pairs alone, with --pair"


def further_cells(
    suite: Suite, method: str, pairs: Sequence[Pair], runs: Path, results: Path, teachers: dict[str, Teacher]
) -> list[Cell]:
    """The cells of the seeds after the suite's that a method may have: of a reference as many as were trained."""
    end = max(trained_seeds(suite, method, runs, results)) + 1 if method in REFERENCES else suite.most_seeds or 0
    return plan_cells(suite, {method: {}}, pairs, range(suite.seeds, end), teachers)


def trained_seeds(suite: Suite, method: str, runs: Path, results: Path) -> set[int]:
    """The seeds that a row needs, and further ones that a method has records of."""
    entries = [*read_results(results / suite.name / method), *read_runs(runs, suite.name, method)]
    return {*range(suite.seeds), *(entry.record.seed for entry in entries if isinstance(entry, Entry))}


def restamped(entry: Entry, cell: Cell, published: tuple[str, str] | None) -> Entry:
    """The record as this plan's: `--set` with the suite's own values gives the same cell under another row."""
    says: dict[str, Any] = {"variant": cell.variant, "params_source": cell.params_source, "trials": cell.trials}
    if published and entry.record.method.distribution != DISTRIBUTION:
        where = {"repository": published[0], "commit": published[1]}
        says["method"] = entry.record.method.model_copy(update=where)
    return replace(entry, record=entry.record.model_copy(update=says).sealed())


def kept_entries(suite: Suite, method: str, pairs: Sequence[Pair], results: Path) -> list[Entry]:
    """The accepted records of a method on the suite's other pairs, which stay as they are."""
    found = read_results(results / suite.name / method, with_curves=True)
    others = [pair for pair in suite.pairs if pair not in pairs]

    def stays(record: Record) -> bool:
        place = {(record.teacher, record.student)}
        return any(is_on(pair, place) for pair in others) and not any(is_on(pair, place) for pair in pairs)

    return [entry for entry in found if stays(entry.record)]


def is_on(pair: Pair, places: Collection[tuple[str | None, str]]) -> bool:
    """Whether a pair is among the places (teacher, student) of records; those without a teacher serve all its pairs."""
    return (pair.teacher, pair.student) in places or (None, pair.student) in places


def accepted_teachers(suite: Suite, names: Sequence[str], results: Path, notice: Notice) -> dict[str, Teacher]:
    """Teachers of a suite, by name; they are those that the board has, or will have once their records are there.

    Raises:
        KdbenchError: a teacher is missing, or lies in the cache alone.
    """
    teachers: dict[str, Teacher] = {}
    for name in names:
        teacher = find_teacher(suite, name, results, notice)
        if teacher is None:
            raise KdbenchError(
                f"Suite '{suite.name}' has no teacher '{name}' yet. Run: kdbench teach --suite {suite.name} --model "
                f"{name}, or name with --pair what to submit without it"
            )
        teachers[name] = teacher
    place = results / suite.name / TEACHERS
    known = {entry.record.main.sha256 for entry in read_results(place)}
    if strange := [name for name, teacher in teachers.items() if teacher.sha256 not in known]:
        raise KdbenchError(
            f"The accepted results lack the teacher '{strange[0]}' {teachers[strange[0]].sha256[:12]}. "
            f"Put it there first: kdbench teach --suite {suite.name} --model {strange[0]} --out {place}"
        )
    return teachers
