"""Lifelong learning: what a student could after each task, from the evidence of its networks. No torch.

R[t][i] is the accuracy, in percent, on the test images of task i of the network after task t.

seen[t]     on the test images of all classes seen by task t, among which the network chose
average     mean of `seen` over tasks: average incremental accuracy (Rebuffi et al. 2017), by which rows are ranked
forgetting  mean over all tasks but the last of max_t R[t][i] - R[T][i] (Chaudhry et al. 2018, Riemannian walk, eq. 3)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdbench.records.evidence import Evidence
from kdbench.records.record import TaskResult
from kdbench.tasks import Tasks, after_task

RANKED = "average"  # the metric by which rows of a suite with tasks are ranked


@dataclass(frozen=True)
class TaskMetric:
    """A metric of all networks of a cell together, in percent."""

    name: str
    title: str
    help: str
    higher_is_better: bool
    of: Callable[[TaskResult], float]


TASK_METRICS = {
    metric.name: metric
    for metric in (
        TaskMetric(
            RANKED,
            "Average accuracy",
            "Average incremental accuracy: on the test images of all classes seen so far, the mean over tasks",
            True,
            lambda result: result.average,
        ),
        TaskMetric(
            "forgetting",
            "Forgetting",
            "What the accuracy on a task has lost by the end since it was highest: the mean over all tasks but the last",
            False,
            lambda result: result.forgetting,
        ),
    )
}


def in_order(last: Evidence, others: Mapping[str, Evidence], count: int) -> list[Evidence] | None:
    """The evidence after each task, the last one's at the end; None where one is missing."""
    found = [others[role] for t in range(count - 1) if (role := after_task(t)) in others]
    return [*found, last] if len(found) == count - 1 else None


def task_result(after: Sequence[Evidence], labels: np.ndarray, tasks: Tasks) -> TaskResult:
    """What a cell's evidence after each task says, with the (I,) canonical test labels."""
    of = np.zeros(tasks.num_classes, dtype=int)
    for t, classes in enumerate(tasks.classes):
        of[list(classes)] = t
    task = of[labels]
    right = [evidence.rank == 0 for evidence in after]
    accuracy = [[float(100 * right[t][task == i].mean()) for i in range(t + 1)] for t in range(len(right))]
    seen = [float(100 * right[t][task <= t].mean()) for t in range(len(right))]
    lost = [max(row[i] for row in accuracy[i:]) - accuracy[-1][i] for i in range(len(right) - 1)]
    return TaskResult(
        images=np.bincount(task, minlength=len(right)).tolist(),
        accuracy=accuracy,
        seen=seen,
        average=float(np.mean(seen)),
        forgetting=float(np.mean(lost)),
    )


def image_scores(result: TaskResult, after: Sequence[Evidence]) -> np.ndarray:
    """(I,) what each test image adds to the average accuracy, whose hundredth their mean is.

    An image that comes early is asked for after each task from its own on, among fewer images at first.
    """
    seen = np.cumsum(result.images)
    shares = [(evidence.rank == 0) / count for evidence, count in zip(after, seen, strict=True)]
    return np.asarray(np.mean(shares, axis=0) * seen[-1])
