"""`kdbench verify RECORD`: how far a record can be believed, checked on this machine.

Level 1 recomputes the metrics from the evidence and the suite's own labels, for a suite of one's own those of its data,
and has the suite's student, with the record's weights where they are kept, answer the test images. Level 2 trains the
first epoch again and compares the loss terms with the record's curve; a student of distilled data learns from the
record's images. Level 3 trains the cell again, and makes such images again: its predictions are identical, or, with all
seeds of its pair trained again, the interval of the paired difference holds 0.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from kdbench.commands.own_suites import as_recorded, bound, known_test_labels, suite_of
from kdbench.commands.request import parse_device
from kdbench.commands.training_again import Target, cell_of, curve_of, replay, train_again
from kdbench.console import Notice, line_printer
from kdbench.errors import KdbenchError
from kdbench.records.gate import record_problems
from kdbench.records.reader import read_results
from kdbench.records.store import CELL_FOLDER, VERIFIED, Entry, find_results, read_cell, read_runs
from kdbench.records.verification import Verification, add_verified
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite
from kdbench.suites import list_suites, load_test_labels


def verify(
    record: str,
    level: int,
    suite_name: str | None,
    results: Path | None,
    device: str,
    console: Console,
    sample: int | None = None,
    by: str | None = None,
) -> int:
    """Verify records up to a level, and store the level that each reached; returns the exit code, 1 if one did not.

    Args:
        record: one, as `find_target` has it; or, with `sample`, the folder of a method in `results/` or `runs/`.
        sample: how many records, drawn at random.
        by: who verifies them, for the board.

    Raises:
        KdbenchError: no such record, or one that this installation cannot train again.
    """
    notice, device = line_printer(console), parse_device(device)[0]
    targets = [find_target(record, notice)] if sample is None else draw(Path(record), sample, notice)
    codes: list[int] = []
    for target in targets:
        if target.entry.evidence is None:
            raise KdbenchError(f"'{record}' is not applicable to its pair: there is nothing to verify.")
        if sample is not None:
            notice(target.name)
        codes.append(verify_one(target, level, suite_name, results, device, by, console))
    return max(codes)


def draw(folder: Path, count: int, notice: Notice) -> list[Target]:
    """Records of a method, drawn at random: whoever submits them cannot know which.

    Raises:
        KdbenchError: there are none.
    """
    entries = read_results(folder) or cells_of(folder, notice)
    done = [entry for entry in entries if entry.evidence is not None and not entry.record.is_teacher]
    if not done:
        raise KdbenchError(
            f"No trained records in {folder}. Name the folder of a method, such as results/digits/kd or runs/digits/kd."
        )
    drawn = random.SystemRandom().sample(done, min(count, len(done)))
    return [Target(entry, entries, folder) for entry in drawn]


def cells_of(folder: Path, notice: Notice) -> list[Entry]:
    """The cells of a method's folder in `runs/`; corrupt ones are named."""
    method = folder.absolute()
    found = list(read_runs(method.parent.parent, method.parent.name, method.name))
    for problem in found:
        if isinstance(problem, KdbenchError):
            notice(str(problem))
    return [entry for entry in found if isinstance(entry, Entry)]


def verify_one(
    target: Target,
    level: int,
    suite_name: str | None,
    results: Path | None,
    device: str,
    by: str | None,
    console: Console,
) -> int:
    """Verify one record and store the level that it reached; returns the exit code."""
    notice = line_printer(console)
    suite = suite_of(target.entry.record.suite, suite_name, target.folder.parent.parent)
    if suite.name in list_suites():
        load_test_labels(suite)  # one without them cannot be verified, whether its data are here or not
    if target.entry.record.off_protocol:
        suite = as_recorded(suite, target.entry.record.protocol)
    suite = bound(suite)
    for reason in suite.off_protocol:
        notice(f"Off protocol, not for the board: {reason}")
    found = find_results(results)
    reached, outcome, verified = 0, "", [target.entry]
    problem = check_evidence(target, suite, found, notice)
    if problem is None:
        reached, outcome = 1, "its metrics follow from its evidence"
        notice(f"Level 1 holds: {outcome}.")
    if reached == 1 and level >= 2:
        cell = cell_of(target.entry, suite, found, notice)
        if level == 2:
            problem, said = replay(target, cell, device, notice)
        else:
            problem, said, verified = train_again(target, suite, found, device, console)
        if problem is None:
            reached, outcome = level, said
            notice(f"Level {level} holds: {outcome}.")
    if problem is not None:
        notice(f"Level {level if reached else 1} does not hold: {problem}.")
    if reached:
        add_verified(target.folder, [statement(entry, reached, outcome, device, by) for entry in verified])
        notice(f"Level {reached} is stored in {target.folder / VERIFIED}")
    return 0 if reached == level else 1


def find_target(text: str, notice: Notice) -> Target:
    """The record that `FOLDER` (a cell's in `runs/`) or `FILE:KEY` (in `results/`, by the start of its key) names.

    Raises:
        KdbenchError: none, or several.
    """
    path = Path(text)
    if path.is_dir() and CELL_FOLDER.fullmatch(path.name):
        return Target(read_cell(path), cells_of(path.parent, notice), path.parent)
    place, _, prefix = text.rpartition(":")
    folder = Path(place).parent if place.endswith(".jsonl") else Path(place)
    entries = read_results(folder) if place else []
    named = [entry for entry in entries if prefix and entry.record.key.startswith(prefix)]
    if len(named) != 1:
        raise KdbenchError(
            f"{len(named)} records are named by '{text}'. Name a cell's folder in runs/, or a line of results as "
            "results/digits/kd/records.jsonl:KEY, with the first digits of its key."
        )
    return Target(named[0], entries, folder)


def check_evidence(target: Target, suite: Suite, results: Path | None, notice: Notice) -> str | None:
    """Level 1; returns what does not hold."""
    teachers = {t.sha256: name for name in suite.teacher_names if (t := find_teacher(suite, name, results, notice))}
    from kdbench.running.stored_weights import weights_problem

    entry = target.entry
    labels = known_test_labels(suite)
    given = (entry.record, entry.evidence, suite, labels, teachers, curve_of(target), entry.others)
    problems = record_problems(*given, images=entry.images)
    return next(problems, None) or weights_problem(entry, suite)


def statement(entry: Entry, level: int, outcome: str, device: str, by: str | None) -> Verification:
    """What is stored of a record."""
    import torch

    from kdbench.environment import environment

    return Verification.model_validate(
        {
            "key": entry.record.key,
            "record_sha256": entry.record.sha256,
            "level": level,
            "outcome": outcome[:300],
            "date": datetime.now(UTC).date().isoformat(),
            "environment": environment(torch.device(device), "eager"),
            "by": by,
        }
    )
