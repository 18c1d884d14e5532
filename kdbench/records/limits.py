"""What results do not tell: pairs whose student learns nothing, or whose teacher knows no more; one teacher alone."""

from __future__ import annotations

import math


def limit(teacher: float | None, student: float, num_classes: int, images: int) -> str | None:
    """Why gains on a pair say little, in a sentence; None where they do.

    Args:
        teacher, student: top-1 in percent of the teacher (None where unknown) and the mean of the plain student.
        images: how many test images that is of.
    """
    chance = 1 / num_classes
    luck = 100 * (chance + 2 * math.sqrt(chance * (1 - chance) / images))
    if student <= luck:
        return f"the plain student is at chance ({student:.1f} % with {num_classes} classes), so gains say nothing"
    if teacher is not None and teacher <= student:
        return (
            f"the teacher ({teacher:.2f} %) is not better than its plain student ({student:.2f} %), so there is little "
            "to distil"
        )
    return None


def covered(teachers_each: int, seeds: int) -> str:
    """Whether intervals cover how results vary with the teacher, in a sentence.

    Args:
        teachers_each: how many there are of each architecture.
        seeds: the most that a row has.
    """
    if teachers_each == 1:
        return "One teacher of each architecture stands behind them: how results vary with the teacher is not in them."
    shared = "; rows of more seeds share them, so theirs do in part" if seeds > teachers_each else ""
    each = f"Seeds have {teachers_each} teachers of each architecture"
    return f"{each}, so they cover how results vary with the teacher{shared}."
