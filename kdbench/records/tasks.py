"""Lifelong learning: what a student could after each task, from the evidence of its networks. No torch.

R[t][i] is the accuracy, in percent, on the test images of task i of the network after task t.

seen[t]     on the test images of all classes seen by task t, among which the network chose
average     mean of `seen` over tasks: average incremental accuracy (Rebuffi et al. 2017), by which rows are ranked
forgetting  mean over all tasks but the last of max_(t < T) R[t][i] - R[T][i] (Chaudhry et al. 2018, eq. 3)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kdbench.records.evidence import Evidence
from kdbench.records.metrics import Measure, Metric, metrics_for
from kdbench.records.parts import TaskResult
from kdbench.tasks import Tasks, after_task

RANKED = "average"  # the metric by which rows of a suite with tasks are ranked


@dataclass(frozen=True)
class TaskMetric(Measure):
    """A metric of the networks after all tasks together.

    Attributes:
        help: what it is, for a tooltip.
    """

    of: Callable[[TaskResult], float]
    help: str


TASK_METRICS = {
    metric.name: metric
    for metric in (
        TaskMetric(
            RANKED,
            "average accuracy",
            "%",
            True,
            lambda result: result.average,
            "Average incremental accuracy: on the test images of all classes seen so far, the mean over tasks",
        ),
        TaskMetric(
            "forgetting",
            "forgetting",
            "%",
            False,
            lambda result: result.forgetting,
            "What accuracy on a task is lost by the end since it was highest, the mean over all tasks but the last",
        ),
    )
}


def measures_of(num_classes: int, has_tasks: bool) -> list[Metric | TaskMetric]:
    """The metrics of a suite; with tasks those of all of them first, then those of the network after the last."""
    known = metrics_for(num_classes)
    if not has_tasks:
        return [*known]
    return [*TASK_METRICS.values(), *(replace(metric, title=f"final {metric.title}") for metric in known)]


def task_metrics(result: TaskResult) -> dict[str, float]:
    """Every metric of all tasks, by name."""
    return {metric.name: metric.of(result) for metric in TASK_METRICS.values()}


def ranked_by(has_tasks: bool) -> str:
    """The metric by which rows are ranked."""
    return RANKED if has_tasks else "top1"


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
    lost = [max(row[i] for row in accuracy[i:-1]) - accuracy[-1][i] for i in range(len(right) - 1)]
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
