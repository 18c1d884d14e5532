"""Every row of the survey's Tables 5 and 6 names a method and a pair that kdbench can run, or says why not."""

from __future__ import annotations

import pytest

from kdbench.plugins import list_plugins
from kdbench.suites import load_suite
from kdbench_leaderboard.published import SurveyRow, method_names, network, survey
from kdbench_leaderboard.survey_view import survey_table

SUITES = {"cifar10": "cifar10", "cifar100": "cifar100-survey"}
SAME = {"densenet40": "densenet4012", "densenet": "densenet4012"}  # printed without their growth rate


def pairs(dataset: str) -> set[tuple[str, str]]:
    """Teacher and student of each pair of a data set's suite, as the tables are matched by."""
    return {(network(pair.teacher), network(pair.student)) for pair in load_suite(SUITES[dataset]).pairs}


@pytest.mark.parametrize("row", survey(), ids=lambda row: f"{row.dataset}-{row.method}-{row.teacher}-{row.student}")
def test_a_row_names_a_method_and_a_pair_that_kdbench_can_run_or_says_why_not(row: SurveyRow) -> None:
    name, teacher, student = row.key
    about = method_names()[name]
    assert bool(about.absent) != all(method in list_plugins() for method in about.measured_by)
    student = SAME.get(student, student)
    assert any(student == own and teacher in ("", other) for other, own in pairs(row.dataset))


@pytest.mark.parametrize("dataset", SUITES)
def test_a_row_that_cannot_be_run_says_so_on_the_site(dataset: str) -> None:
    lines = {line.cells["method"].text: line.cells["notes"].text for line in survey_table(dataset, [], False).lines}
    rows = {row.method: method_names()[row.key[0]].absent for row in survey() if row.dataset == dataset}
    said = {method for method, note in lines.items() if "not run here: " in note}
    missing = {method for method, reason in rows.items() if reason}
    assert said >= missing - {"RKD"}  # of which another row is run
    assert said <= missing
