"""How long cells are expected to take: their order, and the parts of a plan."""

from __future__ import annotations

from kdbench.records.reader import read_results
from kdbench.records.store import find_results
from kdbench.running.expected import Expected, Work, part_of
from kdbench.running.plan import Cell, plan_cells
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite


def plan(suite: Suite, *methods: str, seeds: int = 5) -> list[Cell]:
    """The cells of methods on all pairs."""
    teachers = {p.teacher: t for p in suite.pairs if (t := find_teacher(suite, p.teacher, None, print))}
    return plan_cells(suite, {name: {} for name in methods}, suite.pairs, range(seeds), teachers)


def test_parts_have_every_cell_once_and_each_methods_work_evenly(digits: Suite) -> None:
    cells = plan(digits, "vanilla", "kd", "crd", "dml")
    parts = [part_of(cells, number, 4) for number in range(1, 5)]
    assert sorted(cell.key for part in parts for cell in part) == sorted(cell.key for cell in cells)
    assert part_of(list(reversed(cells)), 2, 4) == list(reversed(parts[1]))  # whatever the order of the plan
    work = Work(digits)
    for method in ("vanilla", "kd", "crd", "dml"):
        amounts = [sum(work.of_cell(cell) for cell in part if cell.method == method) for part in parts]
        assert max(amounts) - min(amounts) <= max(work.of_cell(cell) for cell in cells if cell.method == method)


def test_more_parts_than_cells_leave_some_empty(digits: Suite) -> None:
    cells = plan(digits, "vanilla", seeds=1)
    parts = [part_of(cells, number, 9) for number in range(1, 10)]
    assert sorted(map(len, parts)) == [0] * (9 - len(cells)) + [1] * len(cells)
    assert part_of([], 1, 2) == []


def test_the_longest_cells_come_first_by_what_records_tell(digits: Suite) -> None:
    cells = plan(digits, "kd", "zskt", seeds=2)
    assert Expected(digits).longest_first(cells)[0].method == "kd"  # of the images alone, as it reads the teacher
    results = find_results(None)
    assert results is not None
    known = [e.record for name in ("kd", "zskt") for e in read_results(results / "digits" / name)]
    expected = Expected(digits, known)
    ordered = expected.longest_first(cells)
    assert ordered[0].method == "zskt"
    assert [expected.seconds(c) for c in ordered] == sorted(map(expected.seconds, cells), reverse=True)
    kind = [r for r in known if (r.method.name, r.student, r.teacher) == ("kd", "resnet8_w8", "resnet8") and r.cost]
    [first] = [c for c in cells if (c.method, c.student, c.teacher_name, c.seed) == ("kd", "resnet8_w8", "resnet8", 0)]
    mean = sum(r.cost.train_seconds for r in kind if r.cost) / len(kind)
    assert abs(expected.seconds(first) - mean) < 1e-6 * mean
