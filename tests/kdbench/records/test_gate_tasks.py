"""What a record says of tasks is refused where its evidence does not say it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdbench.records.gate import record_problems
from kdbench.records.reader import Reader
from kdbench.records.record import Record
from kdbench.records.store import Entry
from kdbench.suite import Suite
from kdbench.suites import load_suite, load_test_labels
from kdbench.tasks import after_task

RESULTS = Path(__file__).parents[3] / "results" / "digits-tasks"


@pytest.fixture(scope="module")
def entry() -> Entry:
    first = next(iter(Reader().contents(RESULTS / "vanilla").entries()))
    assert isinstance(first, Entry)
    return first


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("digits-tasks")


def said(entry: Entry, suite: Suite, record: Record, **other: Any) -> list[str]:
    given = {"others": entry.others, "curve": entry.record.curve, **other}
    labels = load_test_labels(suite)
    return list(record_problems(record.sealed(), entry.evidence, suite, labels, {}, given["curve"], given["others"]))


def test_an_accepted_record_holds(entry: Entry, suite: Suite) -> None:
    assert said(entry, suite, entry.record) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda tasks: tasks.model_copy(update={"average": min(100.0, tasks.average + 1)}),
        lambda tasks: tasks.model_copy(update={"forgetting": 0.0}),
        lambda tasks: tasks.model_copy(update={"accuracy": [*tasks.accuracy[:-1], tasks.accuracy[-1][::-1]]}),
        lambda tasks: tasks.model_copy(update={"images": tasks.images[::-1]}),
    ],
)
def test_other_numbers_than_the_evidence_gives_are_refused(
    change: Callable[[Any], Any], entry: Entry, suite: Suite
) -> None:
    forged = entry.record.model_copy(update={"tasks": change(entry.record.tasks)})
    assert "tasks: they do not follow from the evidence" in said(entry, suite, forged)


def test_numbers_or_evidence_that_are_missing_are_refused(entry: Entry, suite: Suite) -> None:
    without = entry.record.model_copy(update={"tasks": None})
    missing = "tasks: what it could after each task, or the evidence of it, is missing"
    assert missing in said(entry, suite, without)
    fewer = {role: one for role, one in entry.others.items() if role != after_task(0)}
    assert missing in said(entry, suite, entry.record, others=fewer)


def test_a_suite_without_tasks_has_none(entry: Entry) -> None:
    assert "tasks: the suite has none" in said(entry, load_suite("digits"), entry.record)


def test_what_each_test_image_adds_is_the_average(entry: Entry) -> None:
    assert entry.scores is not None
    assert 100 * float(np.mean(entry.scores)) == pytest.approx(entry.record.accuracy)
