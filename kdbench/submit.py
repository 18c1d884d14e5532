"""`kdbench submit`: check the complete records of a method and fold them into the accepted results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from kdbench.console import line_printer
from kdbench.errors import KdbenchError
from kdbench.metrics import metrics
from kdbench.plan import Cell, find_recorded, plan_cells
from kdbench.store import Entry, find_results, write_results
from kdbench.suite import Suite, load_suite, load_test_labels
from kdbench.teachers import find_teacher


def submit_methods(methods: Sequence[str], suite_name: str, runs: Path, results: Path | None, console: Console) -> None:
    """Fold the records of methods on all pairs and seeds of a suite into `results`.

    Raises:
        KdbenchError: a missing or off-protocol cell, or metrics that do not follow from the evidence and the labels.
    """
    suite = load_suite(suite_name)
    folder = find_results(results)
    if folder is None:
        raise KdbenchError("No results folder. Run this in a checkout of kdbench, or name one with --results.")

    notice = line_printer(console)

    for method in methods:
        checked = check_method(suite, method, runs, folder, notice)
        write_results(folder / suite.name / method, checked)
        notice(f"{method}: {len(checked)} records checked and written to {folder / suite.name / method}")
    notice("Commit these files and open a pull request.")


def check_method(suite: Suite, method: str, runs: Path, results: Path, notice: Callable[[str], None]) -> list[Entry]:
    """The records of a method for the board: every pair and seed of the suite, each consistent with its evidence."""
    teachers = {}
    for name in dict.fromkeys(pair.teacher for pair in suite.pairs):
        teacher = find_teacher(suite, name, results, notice)
        if teacher is None:
            raise KdbenchError(
                f"Suite '{suite.name}' has no teacher '{name}' yet. Run: kdbench teach --suite {suite.name}"
            )
        teachers[name] = teacher
    cells = plan_cells(suite, {method: {}}, suite.pairs, range(suite.seeds), teachers)
    found = find_recorded(cells, runs, notice)
    if missing := [cell for cell in cells if cell.key not in found]:
        raise KdbenchError(
            f"{method}: {len(missing)} of {len(cells)} cells have no valid record, the first being '{missing[0]}'. "
            f"Run: kdbench run --method {method} --suite {suite.name}"
        )
    labels = load_test_labels(suite)
    for cell in cells:
        entry = found[cell.key]
        if entry.evidence is None:
            continue
        said, follows = entry.record.main.metrics, metrics(entry.evidence, labels, suite.data.num_classes)
        if said != follows:
            raise KdbenchError(f"{entry.folder}: metrics {said} do not follow from the evidence: {follows}.")
    return [restamped(found[cell.key], cell) for cell in cells]


def restamped(entry: Entry, cell: Cell) -> Entry:
    """The record as this plan's: `--set` with the suite's own values gives the same cell under another row."""
    says = {"variant": cell.variant, "params_source": cell.params_source, "trials": cell.trials}
    return replace(entry, record=entry.record.model_copy(update=says).sealed())
