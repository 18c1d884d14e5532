"""What a run says at its end of differences, of what they can show, and of pairs that show nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from kdbench.commands.report import Report, as_json, result_table
from kdbench.records.reader import read_results
from kdbench.running.teachers import find_teacher
from kdbench.suite import Suite

RESULTS = Path(__file__).parents[3] / "results"


def report(suite: Suite, *methods: str, pairs: int = 3, seeds: int = 5) -> Report:
    """The report of a run that would have given the accepted records."""
    found = [e for name in methods for e in read_results(RESULTS / "digits" / name) if e.record.seed < seeds]
    cells: list[Any] = [SimpleNamespace(key=e.record.key, row=e.record.row, seed=e.record.seed) for e in found]
    teachers = {name: find_teacher(suite, name, RESULTS, print) for name in suite.teacher_names}
    known = {name: teacher for name, teacher in teachers.items() if teacher}
    return Report(suite, cells, {e.record.key: e for e in found}, suite.pairs[:pairs], known)


def test_the_line_over_all_pairs_is_the_mean_of_the_pairs(digits: Suite) -> None:
    *pairs, overall = report(digits, "vanilla", "crd").results("crd")
    assert overall.contrast is not None
    assert overall.method is not None
    assert all(line.teacher and line.agreement for line in (*pairs, overall))  # of whose images the students saw a part
    gains = [line.contrast.difference.mean for line in pairs if line.contrast]
    assert overall.contrast.difference.mean == pytest.approx(sum(gains) / 3)
    tops = [e.record.main.metrics.top1 for e in read_results(RESULTS / "digits" / "crd") if e.record.seed < 5]
    assert overall.method[0] == pytest.approx(sum(tops) / len(tops))


def test_a_run_says_what_its_seeds_can_tell_and_by_what_variances_are_moderated(digits: Suite) -> None:
    found = report(digits, "vanilla", "srrl")
    lines = found.results("srrl")
    said = "\n".join(found.notes("srrl", lines))
    assert "Over all pairs it is better than the plain student. 5 seeds tell the two apart from " in said
    assert digits.statistics is not None
    assert f"what the suite states: a standard deviation of {digits.statistics.seed_sd:.2g} that" in said
    assert as_json("srrl", lines)["results"][-1]["verdict"] == "better"
    console = Console(width=80)
    with console.capture() as shown:
        console.print(result_table("srrl", lines, "top-1 test"))
    assert "difference [95 %]" in shown.get()


def test_a_pair_whose_teacher_is_not_better_is_named(digits: Suite) -> None:
    found = report(digits, "vanilla", "crd")
    lines = found.results("crd")
    assert not [note for note in found.notes("crd", lines) if "little to distil" in note]
    weak = [replace(line, teacher=90.0) if str(line.pair) == "vit:resnet8_w4" else line for line in lines]
    said = found.notes("crd", weak)
    assert [note for note in said if note.startswith("vit:resnet8_w4: the teacher (90.00 %) is not better")]
    assert not [note for note in said if note.startswith("resnet8:")]
    alone = report(digits, "vanilla")
    weak = [replace(line, teacher=90.0) for line in alone.results("vanilla")]
    assert [note for note in alone.notes("vanilla", weak) if "little to distil" in note]


def test_what_is_stated_of_all_pairs_says_nothing_of_some(digits: Suite) -> None:
    found = report(digits, "vanilla", "crd", pairs=2)
    assert found.prior() is None
    assert found.prior("resnet8:resnet8_w8") is not None
    assert report(digits.with_epochs(3), "vanilla", "crd").prior() is None


def test_one_seed_says_nothing_of_a_difference(digits: Suite) -> None:
    found = report(digits, "vanilla", "crd", seeds=1)
    lines = found.results("crd")
    assert as_json("crd", lines)["results"][-1]["verdict"] == "not compared"
    assert not [note for note in found.notes("crd", lines) if "seeds tell the two" in note]
    assert "One seed shows no spread, so nothing is compared: the suite has 5." in found.notes("crd", lines)
    few = report(digits, "vanilla", "crd", seeds=2)
    assert "Two seeds tell next to nothing apart: the suite has 5." in few.notes("crd", few.results("crd"))
