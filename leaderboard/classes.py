"""What the evidence says of each class of the test images, and of a student beside its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kdbench.records.agreement import Answers, same_images
from kdbench.records.classes import Classes


@dataclass(frozen=True)
class ByClass:
    """A network's accuracy on each class.

    Attributes:
        images: (C,) test images of each class.
        top1: (C,) percent; NaN of a class without images.
        names: of the classes, in the order of their numbers; None where they are not known.
    """

    images: np.ndarray
    top1: np.ndarray
    names: list[str] | None

    @property
    def balanced(self) -> float:
        """The mean over classes of the accuracy in each, in percent."""
        return float(self.top1[self.images > 0].mean())


def by_class(answers: Answers, classes: Classes | None, num_classes: int) -> ByClass | None:
    """The accuracy on each class; None without labels, or with labels that the predictions contradict."""
    if classes is None or len(classes.labels) != len(answers.correct):
        return None
    labels = classes.labels
    if ((answers.predicted == labels) != answers.correct).any():
        return None
    images = np.bincount(labels, minlength=num_classes)
    right = np.bincount(labels[answers.correct], minlength=num_classes)
    top1 = np.divide(100 * right, images, out=np.full(len(images), np.nan), where=images > 0)
    return ByClass(images, top1, classes.names)


def agreement(student: Answers | None, teachers: Mapping[str, Answers]) -> float | None:
    """On how many test images a student says what its own teacher says, in percent; None where that is not known.

    Args:
        teachers: by the hash of their weights.
    """
    if student is None or not student.record.teachers:
        return None
    teacher = teachers.get(student.record.teachers[0].sha256)
    if teacher is None or len(teacher.predicted) != len(student.predicted):
        return None
    if not same_images(student.record, teacher.record):
        return None
    return float(100 * np.mean(student.predicted == teacher.predicted))
