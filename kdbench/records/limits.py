"""Where a pair can tell nothing of a method: a student that learns nothing, or a teacher that knows no more than it."""

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
