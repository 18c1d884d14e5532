"""The metrics, a row each: what a network's evidence says of it. Terminal and site show all of them.

To add one, add a row to `METRICS`: it is derived from the evidence of every record, old and new. Records store those
that `kdbench.records.parts.Metrics` has a key for, and are compared on what they store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kdbench.errors import KdbenchError
from kdbench.records.evidence import Evidence
from kdbench.records.parts import Metrics

CALIBRATION_BINS = 15
ROUNDING = 0.01  # relative, of a probability that was stored as a half-precision logarithm


@dataclass(frozen=True)
class Measure:
    """What any metric says of itself.

    Attributes:
        title: for a table's head.
        unit: "%" or "nats".
    """

    name: str
    title: str
    unit: str
    higher_is_better: bool


@dataclass(frozen=True)
class Metric(Measure):
    """A metric of one network.

    Attributes:
        of: its value, from the evidence of one network.
        per_image: (I,) values whose mean it is, so that two methods can be compared image by image; None where it is
            no mean over images.
        min_classes: with fewer it says nothing.
    """

    of: Callable[[Evidence], float]
    per_image: Callable[[Evidence], np.ndarray] | None = None
    min_classes: int = 2


def mean_over_images(
    name: str,
    title: str,
    unit: str,
    higher_is_better: bool,
    scale: float,
    values: Callable[[Evidence], np.ndarray],
    min_classes: int = 2,
) -> Metric:
    """A metric that is `scale` times the mean of a value an image."""
    return Metric(
        name,
        title,
        unit,
        higher_is_better,
        of=lambda evidence: float(scale * values(evidence).astype(np.float64).mean()),
        per_image=lambda evidence: scale * values(evidence).astype(np.float64),
        min_classes=min_classes,
    )


def calibration_error(evidence: Evidence) -> float:
    """Expected calibration error in percent, over equally wide bins of the top probability (Guo et al. 2017)."""
    top = evidence.top_probability.astype(np.float64)
    bins = np.minimum((top * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap = np.bincount(bins, weights=(evidence.rank == 0) - top, minlength=CALIBRATION_BINS)
    return float(100 * np.abs(gap).sum() / len(top))


METRICS = {
    metric.name: metric
    for metric in (
        mean_over_images("top1", "top-1", "%", True, 100, lambda e: e.rank == 0),
        mean_over_images("top5", "top-5", "%", True, 100, lambda e: e.rank < 5, min_classes=11),
        mean_over_images("nll", "NLL", "nats", False, -1, lambda e: e.log_probability),
        Metric("ece", "ECE", "%", False, calibration_error),
    )
}


def metrics_for(num_classes: int) -> list[Metric]:
    """The metrics that say something of this many classes."""
    return [metric for metric in METRICS.values() if num_classes >= metric.min_classes]


def all_metrics(evidence: Evidence, num_classes: int) -> dict[str, float]:
    """Every metric that says something of this many classes, from the evidence of one network."""
    return {metric.name: metric.of(evidence) for metric in metrics_for(num_classes)}


def metrics(evidence: Evidence, labels: np.ndarray, num_classes: int) -> Metrics:
    """The metrics that a record stores of one network, from its evidence and the suite's canonical test labels.

    Raises:
        KdbenchError: the evidence contradicts itself or the labels.
    """
    if problem := contradiction(evidence, labels, num_classes):
        raise KdbenchError(f"The evidence does not belong to the suite's test labels: {problem}.")
    known = all_metrics(evidence, num_classes)
    return Metrics.model_validate({name: known.get(name) for name in Metrics.model_fields})


def wrong_metrics(stored: Metrics, evidence: Evidence, labels: np.ndarray, num_classes: int) -> list[str]:
    """What a record stores and its evidence does not say, each in words.

    Raises:
        KdbenchError: the evidence contradicts itself or the labels.
    """
    follows = metrics(evidence, labels, num_classes).model_dump()
    return [
        f"metrics.{name} is {value}, its evidence says {follows[name]}"
        for name, value in stored.model_dump().items()
        if value != follows[name]
    ]


def contradiction(evidence: Evidence, labels: np.ndarray, num_classes: int) -> str | None:
    """What in the evidence no network could have said of these labels; None if it is consistent."""
    if len(evidence.predicted) != len(labels):
        return f"it has {len(evidence.predicted)} images, the labels {len(labels)}"
    log_p, top = evidence.log_probability.astype(np.float64), evidence.top_probability.astype(np.float64)
    rank, correct = evidence.rank.astype(np.float64), evidence.predicted == labels
    if not (np.isfinite(log_p).all() and np.isfinite(top).all()):
        return "a probability is not finite"
    p = np.exp(np.minimum(log_p, 1.0))
    checks = {
        "a predicted class is unknown": (evidence.predicted < 0) | (evidence.predicted >= num_classes),
        "a rank is impossible": (rank < 0) | (rank >= num_classes),
        "a right prediction is not of rank 0": correct != (rank == 0),
        "a probability is above 1": (log_p > 0) | (top > 1),
        "a top probability is below chance": top < (1 - ROUNDING) / num_classes,
        "a true class's probability does not fit the top one": np.where(
            correct, np.abs(p - top) > ROUNDING * top, p > (1 + ROUNDING) * top
        ),
        "a true class's probability does not fit its rank": p * (rank + 1) > 1 + ROUNDING,
    }
    for problem, where in checks.items():
        if where.any():
            return f"{problem} (image {int(np.argmax(where))})"
    return None
