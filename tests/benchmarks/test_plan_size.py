"""The benchmark of large plans does what a run does: every cell has its record, whatever the number of seeds."""

from __future__ import annotations

from pathlib import Path

from benchmarks.plan_size import measure
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite


def test_all_cells_are_planned_found_and_reported(digits: Suite, tmp_path: Path) -> None:
    teachers = {name: found for name in ("resnet8", "vit") if (found := find_teacher(digits, name, None, print))}
    took = [measure(digits, ["vanilla", "kd"], seeds, teachers, tmp_path) for seeds in (2, 3)]
    students, pairs = 3, 3
    assert [one.cells for one in took] == [2 * (students + pairs), 3 * (students + pairs)]
    assert all(seconds > 0 for one in took for seconds in (one.plan, one.find, one.report))
    assert took[0].memory <= took[1].memory
