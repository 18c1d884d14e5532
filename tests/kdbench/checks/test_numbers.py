"""Checks of a loss's values catch the methods that they are for."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Method, NotApplicable, Outputs, Setup
from tests.kdbench.checks.good import Good, assert_caught, each


class HiddenParameters(Good):
    """Keeps its layers in a plain list."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.layers = [nn.Linear(3, 3)]


class SumsOverTheBatch(Good):
    """Sums where it should average."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = (student.logits - teacher.logits).square().sum()
        return self.with_term(gap, batch, student, teacher)


class AveragesTwice(Good):
    """Divides by the batch's size twice."""

    knowledge = ("response",)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = (student.logits - teacher.logits).square().mean() / len(batch.labels)
        return self.with_term(gap, batch, student, teacher)


class WrongReduction(Good):
    """Averages a divergence over the classes as well."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="mean")
        return self.with_term(gap, batch, student, teacher)


class Unreduced(Good):
    """Returns a value for each image."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(student.logits.mean(dim=1), batch, student, teacher)


class FloatInTheLoss(Good):
    """Returns a number instead of a tensor."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(0.5, batch, student, teacher)


class WeighsByAFloat(Good):
    """Reads the loss's value on the host."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        weight = float(teacher.logits.std())
        return self.with_term(weight * student.logits.square().mean(), batch, student, teacher)


class BooleanMask(Good):
    """Picks the images that the teacher gets right."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        right = teacher.logits.argmax(1) == batch.labels
        return self.with_term(student.logits[right].sum() / len(batch.labels), batch, student, teacher)


class FrozenEpochWeight(Good):
    """Warms up by an epoch that it reads as a number."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        weight = min(1.0, (int(batch.epoch) + 1) / 20)
        return self.with_term(weight * student.logits.square().mean(), batch, student, teacher)


class NanForOneImage(Good):
    """Standardises over the batch."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        spread = student.logits / student.logits.std(dim=0)
        return self.with_term(spread.square().mean(), batch, student, teacher)


class BatchNormOverOne(Good):
    """Normalises embeddings over the batch."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.norm = nn.BatchNorm1d(setup.student.embedding)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.norm(student.embedding).square().mean(), batch, student, teacher)


class MagnifiesRounding(Good):
    """Turns the last digits of its logits into a loss."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term((1000 * student.logits).sin().sum(dim=1).mean(), batch, student, teacher)


class ChangesItsTerms(Good):
    """Adds a term after the first step."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        terms = super().loss(batch, student, teacher)
        return terms if len(batch.labels) == 16 else {**terms, "late": student.logits.mean()}


class AppliesNowhere(Good):
    """Serves no pair."""

    def build(self, setup: Setup) -> None:
        raise NotApplicable("these networks are too small")


BROKEN = [
    (HiddenParameters, "returns_terms", "use nn.ModuleList"),
    (SumsOverTheBatch, "averages_over_the_batch", "average over the batch, do not sum"),
    (AveragesTwice, "averages_over_the_batch", "divided by the batch's size twice"),
    (WrongReduction, "returns_terms", "reduction: 'mean'"),
    (Unreduced, "returns_terms", "reduce it over the batch"),
    (FloatInTheLoss, "returns_terms", "keep it a tensor"),
    (WeighsByAFloat, "never_waits_for_the_device", "keep the value a tensor"),
    (BooleanMask, "never_waits_for_the_device", "torch.where"),
    (FrozenEpochWeight, "never_waits_for_the_device", "batch.epoch and batch.progress are"),
    (NanForOneImage, "takes_any_batch", "with 1 image in a batch"),
    (BatchNormOverOne, "takes_any_batch", "more than 1 value per channel"),
    (MagnifiesRounding, "survives_half_precision", "small differences of large numbers"),
    (ChangesItsTerms, "returns_terms", "return the same ones in every step"),
    (AppliesNowhere, "returns_terms", "applies to neither pair"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)
