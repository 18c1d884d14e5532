"""How long cells are expected to take, and what follows: which are trained first, and the parts of a plan."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

import torch

from kdbench.networks.build import build_network, count_macs
from kdbench.records.record import Record
from kdbench.running.plan import Cell
from kdbench.suite import Suite
from kdbench.teacher_names import architectures

BACKWARD = 3  # a step of a network, in its forward passes
Kind = tuple[str, str, str | None]  # method, student, teacher


class Work:
    """The multiplications of a suite's trainings, but for what methods add."""

    def __init__(self, suite: Suite) -> None:
        self.suite = suite
        self.macs = functools.cache(self.count)

    def count(self, name: str) -> int:
        """Of a network's forward pass."""
        data = self.suite.data
        network = build_network(self.suite, name, seed=0).eval()
        return count_macs(network, torch.zeros(1, data.channels, *data.image_size))

    def of_image(self, student: str, teachers: Sequence[str]) -> int:
        """For an image of the training set: the student's step, and its teachers' forward passes."""
        return BACKWARD * self.macs(student) + sum(self.macs(name) for name in teachers)

    def of_cell(self, cell: Cell) -> int:
        """For an image, in all epochs."""
        read = [teacher.model for teacher in cell.teachers] or architectures(cell.awaits)
        return cell.recipe.epochs * self.of_image(cell.student, read)


class Expected:
    """What cells take: their multiplications, at the pace that records of the suite tell of.

    Args:
        records: of trainings on whatever machine; those of other suites are not asked.
    """

    def __init__(self, suite: Suite, records: Iterable[Record] = ()) -> None:
        self.work = Work(suite)
        paces: dict[Kind | str, list[float]] = defaultdict(list)
        for record in records:
            known = all(name in suite.models for name in (record.student, *(t.model for t in record.teachers)))
            if record.suite == suite.name and record.cost is not None and known:
                amount = self.work.of_image(record.student, [t.model for t in record.teachers])
                pace = record.cost.train_seconds / (record.recipe["epochs"] * amount)
                for group in groups_of(record.method.name, record.student, record.teacher):
                    paces[group].append(pace)
        self.paces = {group: fmean(found) for group, found in paces.items()}

    def seconds(self, cell: Cell) -> float:
        """Of a cell: as others of its method and pair took, else of its method, else of any; else its work."""
        groups = groups_of(cell.method, cell.student, cell.teacher_name)
        return self.work.of_cell(cell) * next((self.paces[group] for group in groups if group in self.paces), 1.0)

    def longest_first(self, cells: Sequence[Cell]) -> list[Cell]:
        """Cells in the order in which several workers end soonest; equal ones stay in theirs."""
        return sorted(cells, key=self.seconds, reverse=True)


def groups_of(method: str, student: str, teacher: str | None) -> tuple[Kind | str, ...]:
    """The groups of trainings that tell what one takes, the closest first; the last one has all."""
    return (method, student, teacher), method, ""


def part_of(cells: Sequence[Cell], number: int, count: int) -> list[Cell]:
    """A part of a plan, the same on every machine: the parts have all cells between them, each once.

    Each method's work is spread evenly, as nobody knows before what its steps cost, and then all of it.

    Args:
        cells: of one suite.
        number: of the part, from 1 on.
    """
    if not cells:
        return []
    total, work = [0] * count, Work(cells[0].suite)
    mine: set[str] = set()
    for method in sorted({cell.method for cell in cells}):
        own = [0] * count
        for amount, key in sorted((-work.of_cell(cell), cell.key) for cell in cells if cell.method == method):
            part = min(range(count), key=lambda k: (own[k], total[k], k))
            own[part] -= amount
            total[part] -= amount
            if part == number - 1:
                mine.add(key)
    return [cell for cell in cells if cell.key in mine]
