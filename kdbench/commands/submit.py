"""`kdbench submit`: check the complete records of a method and fold them into the accepted results."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from kdbench.commands.conformance import conformance
from kdbench.commands.request import parse_pairs
from kdbench.commands.submission import accepted_teachers, check_method, is_on, trained_seeds
from kdbench.console import Notice, line_printer
from kdbench.data.access import with_content
from kdbench.errors import KdbenchError, writing
from kdbench.hashing import digest
from kdbench.layout import COSTS
from kdbench.records.cost_record import CostRecord, read_cost
from kdbench.records.gate import plain_sizes, size_problems
from kdbench.records.gate_rows import rows_problems
from kdbench.records.journal import changing, remove
from kdbench.records.reader import read_results
from kdbench.records.record import Record
from kdbench.records.rows import PLAIN
from kdbench.records.store import VERIFIED, Entry, find_results, find_runs, write_results
from kdbench.records.verification import read_verified, write_verified
from kdbench.records.withdrawn import FILE as WITHDRAWN
from kdbench.records.withdrawn import add_superseded, place_of
from kdbench.running.plan import teachers_of
from kdbench.suite import Suite, without_content
from kdbench.suites import list_suites, load_suite, load_test_labels
from kdbench.tables import COMMIT, REPOSITORY


def submit_methods(
    methods: Sequence[str],
    suite_name: str,
    runs: Path | None,
    results: Path | None,
    reason: str | None,
    console: Console,
    source: str | None = None,
    pair_names: Sequence[str] = (),
) -> None:
    """Fold the records of methods on a suite's pairs, every seed, into `results`, and say what to propose.

    Args:
        pair_names: those pairs alone, beside the accepted ones of others; by default all.
        reason: why they replace accepted records, for `WITHDRAWN.md`.
        source: where the source of a foreign method is, as ADDRESS@COMMIT.

    Raises:
        KdbenchError: a missing cell, a record that does not hold, or accepted records replaced without a reason.
    """
    suite = load_suite(suite_name)
    pairs = parse_pairs(suite, pair_names)
    if suite.name not in list_suites():
        raise KdbenchError(
            f"Suite '{suite.name}' is your own: the board takes the built-in ones ({', '.join(list_suites())}). "
            "'kdbench site' shows your records beside them; propose the suite first (CONTRIBUTING.md)."
        )
    published = parse_source(source)
    folder, runs = find_results(results), find_runs(runs)
    if folder is None:
        raise KdbenchError("No results folder. Run this in a checkout of kdbench, or name one with --results.")
    load_test_labels(suite)  # before anything is asked of the user that a suite without them does not need
    suite, notice = with_content(suite), line_printer(console)
    with changing(folder) as staging:
        seeds = {seed for method in methods for seed in trained_seeds(suite, method, runs, folder)}
        read = teachers_of(suite, methods, pairs, sorted(seeds))
        teachers = accepted_teachers(suite, read, folder, notice)
        checked = {
            method: check_method(suite, method, pairs, runs, folder, teachers, published, notice) for method in methods
        }
        checked = {method: with_checks(method, checked[method], folder / suite.name / method) for method in methods}
        check_together(suite, checked, folder)
        for method, entries in checked.items():  # nothing is written before all hold
            check_replaced(folder / suite.name / method, entries, reason)
        written = [
            stage(suite, method, entries, runs, folder, staging, reason or "", notice)
            for method, entries in checked.items()
        ]
    for text in written:
        notice(text)
    notice(pull_request(suite, folder, [summary(suite, method, entries) for method, entries in checked.items()]))


def stage(
    suite: Suite,
    method: str,
    entries: Sequence[Entry],
    runs: Path,
    results: Path,
    staging: Path,
    reason: str,
    notice: Notice,
) -> str:
    """Put the new files of a method below `staging`; returns what to say of it once they are in place."""
    place, new = results / suite.name / method, staging / suite.name / method
    replaced = [entry for entry in read_results(place) if entry.record.sha256 not in hashes(entries)]
    write_results(new, list(entries))
    if (place / VERIFIED).exists():
        write_verified(new, [v for v in read_verified(place) if v.record_sha256 in hashes(entries)])
        if not (new / VERIFIED).exists():
            remove(new / VERIFIED)
    for gone in sorted({place_of(entry.record) for entry in replaced}):
        if (results / WITHDRAWN).exists() and not (staging / WITHDRAWN).exists():
            shutil.copyfile(results / WITHDRAWN, staging / WITHDRAWN)
        add_superseded(staging / WITHDRAWN, gone, reason)
    costs = submit_costs(suite, method, entries, runs, staging, notice)
    return f"{method}: {len(entries)} records and {costs} cost records checked and written to {place}"


def parse_source(text: str | None) -> tuple[str, str] | None:
    """ADDRESS@COMMIT as the two.

    Raises:
        KdbenchError: not of that form.
    """
    if text is None:
        return None
    address, _, commit = text.rpartition("@")
    if not re.fullmatch(REPOSITORY, address) or not re.fullmatch(COMMIT, commit):
        raise KdbenchError(
            f"--source {text}: write ADDRESS@COMMIT, such as https://github.com/you/your-method@ and its 40 digits."
        )
    return address, commit


def check_together(suite: Suite, checked: Mapping[str, Sequence[Entry]], results: Path) -> None:
    """What the gate asks of records beside each other: networks of the plain student's size, evidence of their own.

    Raises:
        KdbenchError: names the first that does not hold.
    """
    plain = checked.get(PLAIN) or read_results(results / suite.name / PLAIN)
    sizes = plain_sizes(entry.record for entry in plain)
    for entries in checked.values():
        for entry in entries:
            if entry.evidence and (problem := next(size_problems(entry.record, sizes), None)):
                raise KdbenchError(f"{entry.folder}: {problem}.")
        evidence = {entry.record.key: entry.evidence for entry in entries if entry.evidence}
        placed = [(str(entry.folder), entry.record) for entry in entries]
        for where, problem in rows_problems(placed, evidence, suite):
            raise KdbenchError(f"{where}: {problem}.")


def with_checks(method: str, entries: Sequence[Entry], place: Path) -> list[Entry]:
    """The records, each saying with what outcome the method passed the conformance checks.

    Those that are accepted keep the outcome that they have.

    Raises:
        KdbenchError: it did not pass.
    """
    outcome, accepted = conformance(method), {entry.record.key: entry.record for entry in read_results(place)}

    def stamped(record: Record, checks: Any) -> Record:
        info = record.method.model_copy(update={"checks": checks})
        return record.model_copy(update={"method": info}).sealed()

    def checked(record: Record) -> Record:
        old = accepted.get(record.key)
        same = stamped(record, old.method.checks) if old else None
        return same if old and same and same.sha256 == old.sha256 else stamped(record, outcome)

    return [replace(entry, record=checked(entry.record)) for entry in entries]


def hashes(entries: Sequence[Entry]) -> set[str]:
    return {entry.record.sha256 for entry in entries}


def check_replaced(place: Path, entries: Sequence[Entry], reason: str | None) -> None:
    """Accepted records are replaced for a reason.

    Raises:
        KdbenchError: there is none.
    """
    replaced = [entry for entry in read_results(place) if entry.record.sha256 not in hashes(entries)]
    if replaced and not (reason and reason.strip()):
        raise KdbenchError(
            f"{len(replaced)} accepted records in {place} would be replaced. Say why: --supersedes 'REASON'"
        )


def submit_costs(suite: Suite, method: str, entries: Sequence[Entry], runs: Path, results: Path, notice: Notice) -> int:
    """Copy what `kdbench cost` measured of a method, with the parameters of its records; returns how many."""
    ours = {(entry.record.method.source_sha256, digest(entry.record.params)) for entry in entries}
    protocol, count = suite.protocol(), 0
    fingerprints = {digest(protocol), digest(without_content(protocol))}  # costs are measured without data
    for path in sorted((runs / suite.name / COSTS).glob(f"{method}-*.json")):
        try:
            cost: CostRecord = read_cost(path)
        except KdbenchError as error:
            notice(f"{error} It is left out.")
            continue
        if cost.fingerprint in fingerprints and (cost.info.source_sha256, digest(cost.params)) in ours:
            target = results / suite.name / COSTS
            with writing(target):
                target.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target / path.name)
            count += 1
    return count


def summary(suite: Suite, method: str, entries: Sequence[Entry]) -> str:
    """A line of the pull request."""
    record = entries[0].record
    tops = [entry.record.accuracy for entry in entries if entry.evidence]
    which = "average accuracy" if record.tasks else "top-1"
    where = "" if len(tops) == len(entries) else " on the pairs that it serves"
    places = {(entry.record.teacher, entry.record.student) for entry in entries}
    count = sum(is_on(pair, places) for pair in suite.pairs)
    where += "" if count == len(suite.pairs) else f", {count} of {len(suite.pairs)} pairs"
    mean = f"mean {which} {sum(tops) / len(tops):.2f} %{where}" if tops else "not applicable to any pair"
    source = f"{record.method.distribution} {record.method.distribution_version}"
    return f"- `{method}` version {record.method.version} ({source}): {len(entries)} records, {mean}"


def pull_request(suite: Suite, results: Path, lines: Sequence[str]) -> str:
    """What to do now, and the text to propose the records with."""
    return "\n".join(
        [
            "",
            f"Check:   kdbench validate {results}",
            f"Commit:  git add {results} && git commit -m 'Results on {suite.name}'",
            "Open a pull request with this text, and say what else a reader should know (where the method comes from,",
            "how its parameters were chosen):",
            "",
            f"Results on `{suite.name}`, protocol `{suite.fingerprint[:12]}`",
            "",
            *lines,
            "",
            "Every seed of each pair, last epoch; metrics recomputed from the evidence and the suite's labels.",
        ]
    )
