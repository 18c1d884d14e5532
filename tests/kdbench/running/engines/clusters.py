"""What the tests of clusters train, and what comes of it."""

from __future__ import annotations

from typing import Any

from kdbench.records.store import read_cell
from kdbench.running.engines.events import Finished
from kdbench.running.plan import Cell, plan_cells
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite


def cells_of(digits: Suite, epochs: int, seeds: int) -> list[Cell]:
    """The plain student and KD, whose teacher has to travel."""
    teacher = find_teacher(digits, "resnet8", None, print)
    assert teacher is not None
    methods: dict[str, dict[str, Any]] = {"vanilla": {}, "kd": {}}
    return plan_cells(digits.with_epochs(epochs), methods, digits.pairs[:1], range(seeds), {"resnet8": teacher})


def evidence(events: list[Any]) -> dict[str, str | None]:
    return {e.cell.key: read_cell(e.folder).record.evidence_sha256 for e in events if isinstance(e, Finished)}
