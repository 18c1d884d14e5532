"""Whether records agree: trained on the same images, the same training, a reproduction of another. No torch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from kdbench.records.record import Record
from kdbench.records.stats import Difference, paired_difference
from kdbench.records.store import Entry


@dataclass(frozen=True)
class Answers:
    """What a cell's student said of the test images.

    Attributes:
        predicted, correct: (I,) the predicted class of each test image, and whether it is right.
    """

    record: Record
    predicted: np.ndarray
    correct: np.ndarray


def answers_of(entries: Iterable[Entry]) -> list[Answers]:
    """The answers of all that were evaluated."""
    return [Answers(e.record, e.evidence.predicted, e.evidence.rank == 0) for e in entries if e.evidence]


@dataclass(frozen=True)
class Reproduction:
    """How a run's cells compare with the accepted records of the same cells.

    Attributes:
        verdict: "identical" predictions in all cells; "reproduced", where the 95 % interval of the paired difference
            holds 0, or "not reproduced", where it does not; "not decided" without two seeds of every pair; "its own",
            where the accepted records are those of this very run.
        identical, cells: how many cells have the same predictions, of how many.
        difference: mine minus the accepted, over all pairs; None where it was not asked or is not decided.
    """

    verdict: Literal["identical", "reproduced", "not reproduced", "not decided", "its own"]
    identical: int
    cells: int
    difference: Difference | None = None

    @property
    def holds(self) -> bool:
        """Whether another run gave what the accepted records say."""
        return self.verdict in ("identical", "reproduced")

    def as_json(self) -> dict[str, Any]:
        """The same for a program."""
        d = self.difference
        return {
            "verdict": self.verdict,
            "identical": self.identical,
            "cells": self.cells,
            "difference": d.mean if d else None,
            "interval": [d.low, d.high] if d else None,
        }

    def __str__(self) -> str:
        counts = f"{self.identical} of {self.cells} cells identical"
        match self.verdict:
            case "its own":
                return "the accepted records are this run's own, so it reproduces nothing"
            case "identical":
                return f"reproduced: predictions identical to the accepted records in all {self.cells} cells"
            case "not decided":
                return f"not decided: {counts}, and an interval needs two seeds of every pair"
        assert self.difference is not None
        return f"{self.verdict}: {counts}; difference to the accepted records {interval(self.difference)}"


def reproduction(mine: Iterable[Answers], accepted: Iterable[Answers]) -> Reproduction | None:
    """Whether a run reproduced the accepted records of its cells; None where none of them has one.

    Accepted records that are this run's own, submitted, tell nothing and are left out.
    """
    theirs = {answers.record.key: answers for answers in accepted}
    both = [(one, theirs[one.record.key]) for one in mine if one.record.key in theirs]
    others = [(a, b) for a, b in both if not same_training(a.record, b.record)]
    if not others:
        return Reproduction("its own", len(both), len(both)) if both else None
    same = sum(same_predictions(a, b) for a, b in others)
    if same == len(others):
        return Reproduction("identical", same, same)
    by_place: dict[tuple[str | None, str], dict[int, tuple[Answers, Answers]]] = {}
    for a, b in others:
        by_place.setdefault((a.record.teacher, a.record.student), {})[a.record.seed] = (a, b)
    seeds = sorted(set.intersection(*(set(cells) for cells in by_place.values())))
    if len(seeds) < 2:
        return Reproduction("not decided", same, len(others))
    my_correct, their_correct = (
        np.array([[cells[seed][which].correct for seed in seeds] for cells in by_place.values()]) for which in (0, 1)
    )
    difference = paired_difference(my_correct, their_correct)
    return Reproduction("reproduced" if difference.holds_zero else "not reproduced", same, len(others), difference)


def same_predictions(one: Answers, other: Answers) -> bool:
    return bool(np.array_equal(one.predicted, other.predicted))


def same_training(one: Record, other: Record) -> bool:
    """Whether two records are of one and the same training: a record and its submitted copy, say."""
    about = [(r.key, r.finished, r.cost, r.evidence_sha256) for r in (one, other)]
    return about[0] == about[1]


def same_images(one: Record, other: Record) -> bool:
    """Whether two records speak of the same test images, however many training images either has."""
    return bool(tested_on(one) == tested_on(other))


def tested_on(record: Record) -> Any:
    """What a protocol says of the data, but for the part that its students learn from."""
    data = record.protocol["data"]
    return {key: value for key, value in data.items() if key != "train_fraction"} if isinstance(data, dict) else data


def interval(difference: Difference) -> str:
    """A paired difference with its interval, in percentage points."""
    if difference.low is None:
        return f"{difference.mean:+.2f} [needs two seeds]"
    return f"{difference.mean:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"
