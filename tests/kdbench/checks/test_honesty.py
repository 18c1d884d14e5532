"""Checks of what a method reads and touches catch the methods that they are for."""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor

from kdbench import Batch, Method, Outputs, Setup
from tests.kdbench.checks.good import Good, assert_caught, each


class PeeksAtTheTestSet(Good):
    """Looks for the trainer's test images up the stack."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        import sys

        frame = sys._getframe()
        while frame and "dataset" not in frame.f_locals:
            frame = frame.f_back  # type: ignore[assignment]
        images = frame.f_locals["dataset"].test_images
        self.register_buffer("peeked", images.float().mean())

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.peeked * student.logits.mean(), batch, student, teacher)


class LoadsTheDataItself(Good):
    """Reads the data set from its file."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.register_buffer("peeked", torch.tensor(load_digits().target[:7]))


class RequiresTooLittle(Good):
    """Reads an output that it does not name."""

    requires = Good.requires - {"teacher.logits"}


class BuildsFromATeacherItDoesNotRead(Good):
    """Makes a layer as wide as the teacher's embedding, and names no output of the teacher."""

    requires = frozenset({"student.logits", "student.embedding"})

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(student.logits, batch.labels), "gap": self.embed(student.embedding).mean()}


class RequiresTooMuch(Good):
    """Names an output that it does not read."""

    requires = Good.requires | {"teacher.features", "student.features"}


class ChangesLogitsInPlace(Good):
    """Divides the teacher's logits in place."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        teacher.logits.div_(4)
        return super().loss(batch, student, teacher)


class ChangesLabelsInPlace(Good):
    """Rolls the labels in place."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        batch.labels.copy_(batch.labels.roll(1))
        return super().loss(batch, student, teacher)


class PeeksAtImages(Good):
    """Calls itself data-free and asks for training images."""

    families = ("data_free",)
    deviations = ("images are synthetic",)
    requires = frozenset({"student.logits", "teacher.logits", "images"})

    def build(self, setup: Setup) -> None:
        self.images = setup.images

    def inputs(self, batch: Batch) -> Batch:
        return dataclasses.replace(batch, images=self.images(torch.arange(8), torch.zeros(8, dtype=torch.int64)))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"gap": self.params.gap_weight * F.mse_loss(student.logits, teacher.logits)}


BROKEN = [
    (PeeksAtImages, "sees_no_data_if_it_is_free_of_them", "has its images from itself alone"),
    (PeeksAtImages, "says_what_it_is", "data-free and requires 'images'"),
    (PeeksAtTheTestSet, "sees_no_test_data", "must not reach for it"),
    (LoadsTheDataItself, "sees_no_test_data", "digits.csv.gz: a method has its data from the batch"),
    (RequiresTooLittle, "reads_what_it_requires", "add 'teacher.logits' to `requires`"),
    (BuildsFromATeacherItDoesNotRead, "reads_what_it_requires", "add 'teacher.embedding' to `requires`"),
    (RequiresTooMuch, "reads_what_it_requires", "'student.features', which is never read: remove it"),
    (ChangesLogitsInPlace, "leaves_its_inputs_alone", "teacher.logits is changed in place"),
    (ChangesLabelsInPlace, "leaves_its_inputs_alone", "batch.labels is changed in place"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)
