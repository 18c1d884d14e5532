"""Records as a tidy pandas table: a row a method, pair and seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from kdbench.errors import KdbenchError
from kdbench.records.evidence import Evidence, agreement
from kdbench.records.metrics import metrics_for
from kdbench.records.rows import PairNames, Row, seeds_of
from kdbench.records.store import Entry, evidence_of
from kdbench.records.tasks import task_metrics
from kdbench.suite import Suite
from kdbench.suites import load_test_labels

PLACE = ["suite", "method", "origin", "version", "teacher", "student", "seed"]


def results_frame(
    rows: Iterable[Row[Entry]], suite: Suite, seeds: Sequence[int], teachers: Mapping[str, Evidence]
) -> pd.DataFrame:
    """Every result that counts; a method without a teacher stands under every pair of its student, as on the board.

    Args:
        seeds: that count; further ones do as `rows.seeds_of` says.
        teachers: evidence by the hash of weights, from which `agreement` follows.
    """
    labels = known_labels(suite)
    places = [place for row in rows for place in places_of(row, suite, seeds)]
    found = [result(*place, suite, labels, teachers) for place in places]
    empty = [*PLACE, "status", *(m.name for m in metrics_for(suite.data.num_classes))]
    return pd.DataFrame(found) if found else pd.DataFrame(columns=empty)


def class_frame(rows: Iterable[Row[Entry]], suite: Suite, seeds: Sequence[int]) -> pd.DataFrame:
    """Top-1 accuracy of each class: a row a method, pair, seed and class.

    Raises:
        KdbenchError: kdbench has no test labels for the suite.
    """
    labels = load_test_labels(suite)
    images = np.bincount(labels, minlength=suite.data.num_classes)
    found: list[dict[str, Any]] = []
    places = [place for row in rows for place in places_of(row, suite, seeds)]
    for row, pair, seed, entry in places:
        if entry.correct is None:
            continue
        right = np.bincount(labels[entry.correct], minlength=len(images))
        place = place_columns(row, pair, seed, suite)
        found += [
            {**place, "class": c, "images": int(n), "top1": 100 * right[c] / n} for c, n in enumerate(images) if n
        ]
    return pd.DataFrame(found) if found else pd.DataFrame(columns=[*PLACE, "class", "images", "top1"])


def places_of(
    row: Row[Entry], suite: Suite, seeds: Sequence[int]
) -> Iterator[tuple[Row[Entry], PairNames, int, Entry]]:
    """Each pair and seed of a row that has a record."""
    pairs = [(pair.teacher, pair.student) for pair in suite.pairs]
    for pair in pairs:
        for seed, entry in row.seeds(pair, seeds_of(row, pairs, seeds, suite.most_seeds)).items():
            yield row, pair, seed, entry


def place_columns(row: Row[Entry], pair: PairNames, seed: int, suite: Suite) -> dict[str, Any]:
    """Which result it is."""
    return dict(zip(PLACE, (suite.name, row.name, row.origin, row.info.version, *pair, seed), strict=True))


def result(
    row: Row[Entry],
    pair: PairNames,
    seed: int,
    entry: Entry,
    suite: Suite,
    labels: np.ndarray | None,
    teachers: Mapping[str, Evidence],
) -> dict[str, Any]:
    """One row of the table; what a cell that is not applicable lacks is missing (NaN)."""
    record = entry.record
    found: dict[str, Any] = {**place_columns(row, pair, seed, suite), "status": record.status, "reason": record.reason}
    info = {"scheme": record.method.scheme, "knowledge": ", ".join(record.method.knowledge)}
    origin = {"params_source": record.params_source, "trials": record.trials, "key": record.key}
    if record.cost is None or entry.evidence is None:
        return {**found, **info, **origin}
    evidence = evidence_of(entry)
    found |= {m.name: m.of(evidence) for m in metrics_for(suite.data.num_classes)}
    found |= task_metrics(record.tasks) if record.tasks else {}
    found["balanced"] = balanced(evidence, labels)
    teacher = teachers.get(record.teachers[0].sha256) if record.teachers else None
    same = teacher is not None and len(teacher.predicted) == len(evidence.predicted)
    found["agreement"] = agreement(evidence, teacher) if teacher is not None and same else None
    size = {"parameters": record.main.parameters, "macs": record.main.macs}
    cost = {"train_seconds": record.cost.train_seconds, "train_flops": record.cost.flops}
    return {**found, **size, **cost, **info, **origin}


def balanced(evidence: Evidence, labels: np.ndarray | None) -> float | None:
    """The mean over classes of the accuracy in each, in percent; None where the labels are not known here."""
    if labels is None or len(labels) != len(evidence.rank):
        return None
    images = np.bincount(labels)
    right = np.bincount(labels[evidence.rank == 0], minlength=len(images))
    return float(100 * np.mean(right[images > 0] / images[images > 0]))


def known_labels(suite: Suite) -> np.ndarray | None:
    """The suite's test labels, where kdbench ships them and they are what is reported on."""
    try:
        return load_test_labels(suite) if not suite.off_protocol else None
    except KdbenchError:
        return None
