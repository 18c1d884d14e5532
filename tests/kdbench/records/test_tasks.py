"""What a student could after each task follows from evidence alone, and its average is a mean over test images."""

from __future__ import annotations

import numpy as np
import pytest

from kdbench.records.evidence import Evidence, evidence_from_logits
from kdbench.records.tasks import image_scores, in_order, measures_of, ranked_by, task_result
from kdbench.tasks import Tasks, after_task

TASKS = Tasks(classes=((1,), (0, 3), (2,)))
LABELS = np.array([0, 1, 1, 2, 3, 0, 2, 1])


def answers(*predicted: int) -> Evidence:
    logits = np.zeros((len(predicted), 4))
    logits[np.arange(len(predicted)), list(predicted)] = 5.0
    return evidence_from_logits(logits, LABELS)


AFTER = [answers(*[1] * 8), answers(0, 1, 0, 3, 3, 3, 0, 0), answers(2, 2, 1, 2, 3, 3, 2, 0)]


def test_accuracy_is_that_on_each_task_so_far_and_forgetting_what_the_end_has_lost() -> None:
    found = task_result(AFTER, LABELS, TASKS)
    third = 100 / 3
    assert found.images == [3, 3, 2]
    assert found.accuracy[0] == [100.0]
    assert found.accuracy[1] == pytest.approx([third, 2 * third])
    assert found.accuracy[2] == pytest.approx([third, third, 100.0])
    assert found.seen == pytest.approx([100.0, 50.0, 50.0])
    assert found.average == pytest.approx(200 / 3)
    assert found.forgetting == pytest.approx(((100 - third) + third) / 2)


def test_what_is_learned_later_is_forgotten_by_less_than_nothing() -> None:
    better = answers(0, 1, 1, 2, 3, 0, 2, 1)
    assert task_result([AFTER[0], AFTER[1], better], LABELS, TASKS).forgetting == pytest.approx(-100 / 6)


def test_the_mean_over_test_images_is_the_average_over_tasks() -> None:
    found = task_result(AFTER, LABELS, TASKS)
    scores = image_scores(found, AFTER)
    assert scores.shape == LABELS.shape
    assert 100 * scores.mean() == pytest.approx(found.average)


def test_evidence_is_put_in_the_order_of_the_tasks_or_is_missing() -> None:
    others = {after_task(1): AFTER[1], after_task(0): AFTER[0], "peer": AFTER[0]}
    assert in_order(AFTER[2], others, 3) == AFTER
    assert in_order(AFTER[2], {after_task(1): AFTER[1]}, 3) is None


def test_rows_are_ranked_by_what_a_suite_asks() -> None:
    assert [m.name for m in measures_of(10, has_tasks=True)][:3] == ["average", "forgetting", "top1"]
    assert [measures_of(10, has_tasks)[0].name for has_tasks in (True, False)] == [ranked_by(True), ranked_by(False)]
