"""How results vary with the teacher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.teacher_variance import lines, measure, spread_of, taught
from kdbench.console import open_console
from kdbench.running.engines.events import Machine
from kdbench.running.plan import Cell
from kdbench.suites import load_suite
from kdbench.training.limit import TimeLimit


def test_the_teachers_spread_is_what_the_seeds_do_not_explain() -> None:
    draw = np.random.default_rng(0)
    teachers, seeds = draw.normal(0, 0.8, (2000, 1)), draw.normal(0, 0.5, (2000, 5))

    found = spread_of(70 + teachers + seeds)

    assert found.teachers == pytest.approx(0.8, rel=0.05)
    assert found.seeds == pytest.approx(0.5, rel=0.05)


def test_teachers_that_differ_by_no_more_than_seeds_explain_have_no_spread() -> None:
    accuracies = np.array([[70.0, 71.0, 72.0], [72.0, 70.0, 71.0]])

    found = spread_of(accuracies)

    assert found.teachers == 0
    assert found.seeds == pytest.approx(1)


def test_a_shift_of_one_teachers_students_is_that_teachers() -> None:
    found = spread_of(np.array([[70.0, 70.0], [73.0, 73.0]]))

    assert found.teachers == pytest.approx(3 / 2**0.5)
    assert found.seeds == 0


def test_each_teacher_teaches_the_same_seeds_and_its_students_are_the_tables_columns(
    small_suite: Path, cells_here: list[Cell], tmp_path: Path
) -> None:
    suite, machine, console = load_suite(str(small_suite)), Machine(["cpu"], 1, "eager", TimeLimit()), open_console()

    teachers = taught(suite, ["resnet8"], 2, tmp_path, machine, console)
    found = measure(suite, suite.pairs, ["kd", "fitnets"], teachers, 2, tmp_path, machine, console)

    assert len({known["resnet8"].sha256 for known in teachers}) == 2
    assert found.keys() == {("kd", suite.pairs[0]), ("fitnets", suite.pairs[0])}
    assert {values.shape for values in found.values()} == {(2, 2)}
    assert len(cells_here) == 8
    heading, _, *table = lines(found, teachers)
    assert heading.endswith(" ".join(f"{known['resnet8'].record.accuracy:.2f}" for known in teachers))
    kd = found["kd", suite.pairs[0]]
    assert table[0].split()[:3] == ["resnet8:resnet8_w2", "kd", f"{kd.mean():.2f}"]
    gap = found["fitnets", suite.pairs[0]] - kd
    assert table[1].split()[-3] == f"{gap.mean():+.2f}"

    before = len(cells_here)
    measure(suite, suite.pairs, ["kd", "fitnets"], teachers, 2, tmp_path, machine, console)
    assert len(cells_here) == before  # run again, it goes on
