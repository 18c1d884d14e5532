"""What each loss weight does: a small grid of records of `kd`, made by benchmarks/loss_weights.py."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kdbench.records.reader import read_results
from kdbench.records.standings import Estimate
from kdbench.records.stats import mean_interval

FOLDER = Path(__file__).parents[1] / "data" / "loss_weights"


@dataclass(frozen=True)
class Grid:
    """Top-1 accuracies in percent, by weights and temperature.

    Attributes:
        weights: (ce_weight, kd_weight), a row each; temperatures: a column each.
        cells: a mean over seeds and half its 95 % interval; None where no record is.
    """

    suite: str
    pair: tuple[str, str]
    seeds: int
    temperatures: list[float]
    rows: list[tuple[tuple[float, float], list[Estimate | None]]]


def read_grid() -> Grid | None:
    """The grid of the records in `FOLDER`; None where there are none.

    Raises:
        KdbenchError: a record that does not hold.
    """
    if not FOLDER.is_dir():
        return None
    by_point: dict[tuple[float, float, float], list[float]] = defaultdict(list)
    records = [entry.record for entry in read_results(FOLDER)]
    for record in records:
        p: dict[str, Any] = record.params
        by_point[p["ce_weight"], p["kd_weight"], p["temperature"]].append(record.main.metrics.top1)
    if not records:
        return None
    temperatures = sorted({t for _, _, t in by_point})
    weights = sorted({(ce, kd) for ce, kd, _ in by_point}, key=lambda w: (w[1] / (w[0] + w[1]), w))
    rows = [(w, [measured(by_point.get((*w, t))) for t in temperatures]) for w in weights]
    first = records[0]
    seeds = max(len(found) for found in by_point.values())
    return Grid(first.suite, (first.teacher or "", first.student), seeds, temperatures, rows)


def measured(values: list[float] | None) -> Estimate | None:
    return mean_interval(np.array(values)) if values else None
