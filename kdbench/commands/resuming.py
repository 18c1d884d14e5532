"""What a command says that stopped before all was done, and the command that goes on."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from kdbench.records.successors import partial_folder
from kdbench.running.fleet import Outcome
from kdbench.running.plan import Cell

NOT_FINISHED = 3  # the exit code: run the same command again


def unfinished(cells: Sequence[Cell], outcome: Outcome) -> list[Cell]:
    """The cells that have neither a record nor failed."""
    failed = {failure.cell.key for failure in outcome.failures}
    return [cell for cell in cells if cell.key not in outcome.entries and cell.key not in failed]


def is_begun(cell: Cell, root: Path) -> bool:
    """Whether a checkpoint of a cell is there."""
    return any(partial_folder(cell.folder(root)).glob("checkpoint-*.safetensors"))


def not_finished(cells: Sequence[Cell], outcome: Outcome, root: Path, go_on: str) -> str:
    """How far the cells of a command came, in one line."""
    left = unfinished(cells, outcome)
    begun, failed = sum(is_begun(cell, root) for cell in left), len(outcome.failures)
    teachers = list(dict.fromkeys(name for cell in left for name in cell.awaits))
    return not_finished_line(
        "cells", len(cells) - len(left) - failed, begun, len(left) - begun, go_on, failed=failed, teachers=teachers
    )


def not_finished_line(
    what: str, done: int, begun: int, waiting: int, go_on: str, failed: int = 0, teachers: Sequence[str] = ()
) -> str:
    """The same of any trainings.

    Args:
        what: their name, in the plural.
        go_on: the command that carries on.
        teachers: that have to be trained before.
    """
    failures = f"{failed} failed, " if failed else ""
    first = f" (teachers first: {', '.join(teachers)})" if teachers else ""
    total = done + failed + begun + waiting
    counts = f"{done} of {total} {what} are done, {failures}{begun} in training, {waiting} waiting{first}"
    return f"Not finished: {counts}. Go on: {go_on}"


def command_line() -> str:
    """The command that carries on: what was typed, without --force."""
    return shlex.join(["kdbench", *(word for word in sys.argv[1:] if word != "--force")])
