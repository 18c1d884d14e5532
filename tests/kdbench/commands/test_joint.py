"""Several methods of a run stand in one table, in the order of their means."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kdbench.commands.ending import show_rows, what_next
from kdbench.commands.joint import joint_table
from kdbench.commands.request import Request
from kdbench.records.reader import read_results
from kdbench.suite import Suite
from tests.kdbench.commands.test_report import RESULTS, report


def text(table: Table) -> list[str]:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table)
    return shown.get().splitlines()


def mean_of(method: str) -> float:
    """Over pairs and five seeds; the plain student of one student stands under two pairs."""
    by_student: dict[tuple[str | None, str], list[float]] = {}
    for e in [e for e in read_results(RESULTS / "digits" / method) if e.record.seed < 5]:
        by_student.setdefault((e.record.teacher, e.record.student), []).append(e.record.main.metrics.top1)
    if (None, "resnet8_w4") in by_student:
        by_student["vit", "resnet8_w4"] = by_student[None, "resnet8_w4"]
    return sum(sum(tops) / len(tops) for tops in by_student.values()) / len(by_student)


def test_methods_stand_in_the_order_of_their_means_with_gain_and_compute(digits: Suite) -> None:
    found = text(joint_table(report(digits, "vanilla", "fitnets", "kd", "srrl")))
    order = [line.split()[0] for line in found[3:]]
    assert (
        order
        == sorted(("fitnets", "kd", "srrl", "vanilla"), key=mean_of, reverse=True)
        == ["srrl", "kd", "fitnets", "vanilla"]
    )
    assert found[2].startswith("teacher")
    srrl, kd, _, plain = found[3:7]
    assert f"{mean_of('srrl'):.2f} ±" in srrl
    assert srrl.rstrip().endswith("better")
    gain = re.search(r"([+-]\d\.\d\d) \[", kd)
    assert gain is not None
    assert re.search(r"× (\d+\.\d)", kd)
    assert "× 1.0" in plain


def test_a_method_without_a_pair_stands_last_and_has_no_mean(digits: Suite) -> None:
    found = text(joint_table(report(digits, "vanilla", "kd", "fsp")))
    assert found[-1].startswith("fsp")
    assert found[-1].count("n/a") == 4


def test_of_more_than_four_pairs_only_the_mean_is_shown(digits: Suite) -> None:
    many = report(digits, "vanilla", "kd", "crd")
    many.pairs = [*many.pairs, *many.pairs[:2]]
    head = text(joint_table(many))[1]
    assert "resnet8:resnet8_w8" not in head
    assert "all pairs" in head


def test_a_run_of_several_methods_prints_one_table(digits: Suite) -> None:
    found = report(digits, "vanilla", "crd", "kd")
    console = Console(width=200)
    with console.capture() as shown:
        show_rows(found, {row: found.results(row) for row in found.rows}, digits, console)
    assert shown.get().count("over plain [95 %]") == 1
    assert shown.get().count("seeds tell a method and the plain student apart") == 1
    with console.capture() as shown:
        show_rows(found, {}, digits, console)
    assert shown.get() == ""


def test_what_is_next_is_a_command_that_compares_just_these(digits: Suite) -> None:
    found = report(digits, "vanilla", "crd", "kd", seeds=2)
    request = Request("digits", ("crd", "kd"), pairs=("resnet8:vit_w32",), validate=True, out=Path("mine"))
    assert what_next(request, found) == (
        "Next: kdbench compare crd kd vanilla --pair resnet8:vit_w32 --validate --seeds 2 --runs mine; "
        "kdbench serve shows all"
    )
