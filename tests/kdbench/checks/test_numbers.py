"""Checks of a loss's values catch the methods that they are for."""

from __future__ import annotations

import torch
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


class GrowsWithTheBatch(Good):
    """Sums over pairs of images."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = (student.logits @ student.logits.T - teacher.logits @ teacher.logits.T).square().sum()
        return self.with_term(gap, batch, student, teacher)


class GrowsMoreThanTwice(Good):
    """Multiplies a mean by the size of the batch, to the power of 1.5."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = (student.logits - teacher.logits).square().mean() * len(batch.labels) ** 1.5
        return self.with_term(gap, batch, student, teacher)


class ComparesNeighbours(Good):
    """Takes the teacher's answer to another image."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.mse_loss(student.logits[: len(student.logits) // 2], teacher.logits[: len(teacher.logits) // 2])
        return self.with_term(gap, batch, student, teacher)


class WeighsByPlace(Good):
    """Weighs images by their place in the batch."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        place = torch.arange(len(batch.labels), device=batch.labels.device) / len(batch.labels)
        gap = place * F.cross_entropy(student.logits, batch.labels, reduction="none")
        return self.with_term(gap.mean(), batch, student, teacher)


class NanInTheLastEpoch(Good):
    """Divides by the epochs that are left."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.epochs = setup.epochs

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        left = self.epochs - 1 - batch.epoch
        return self.with_term(student.logits.square().mean() / left, batch, student, teacher)


class NanAfterTenEpochs(Good):
    """Takes the root of what becomes negative."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(student.logits.square().mean() * (10 - batch.epoch).sqrt(), batch, student, teacher)


class DoublePrecision(Good):
    """Computes in float64."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(student.logits.double().square().mean(), batch, student, teacher)


class HalfPrecision(Good):
    """Computes in float16."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(student.logits.half().square().mean(), batch, student, teacher)


class OneHotOfUnknownLength(Good):
    """Lets F.one_hot look for the largest label."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        hot = F.one_hot(batch.labels).float()
        gap = (student.logits[:, : hot.shape[1]] - hot).square().mean()
        return self.with_term(gap, batch, student, teacher)


class ReadsALayerByName(Good):
    """Reads a layer that residual networks have."""

    requires = Good.requires | {"student.network"}

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.stem = setup.student_network.conv1

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.stem.weight.square().mean(), batch, student, teacher)


class ReadsTheLoss(Good):
    """Gives a number where a tensor belongs."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(student.logits.square().mean().item(), batch, student, teacher)


class CrashesInBuild(Good):
    """Fails before anything runs."""

    def build(self, setup: Setup) -> None:
        raise RuntimeError("the blocks do not fit")


BROKEN = [
    (GrowsWithTheBatch, "averages_over_the_batch", "average over the batch, do not sum"),
    (GrowsMoreThanTwice, "averages_over_the_batch", "grows with the batch, 2.8 times from 16 to 32 images"),
    (ComparesNeighbours, "averages_over_the_batch", "with the order of the batch"),
    (WeighsByPlace, "averages_over_the_batch", "with the order of the batch"),
    (NanInTheLastEpoch, "stays_finite", "term 'more' is inf in epoch 40 of 40"),
    (NanAfterTenEpochs, "stays_finite", "term 'more' is nan in epoch 21 of 40"),
    (DoublePrecision, "returns_terms", "term 'more' is torch.float64; compute it in float32"),
    (HalfPrecision, "returns_terms", "term 'more' is torch.float16; compute it in float32"),
    (OneHotOfUnknownLength, "never_waits_for_the_device", "F.one_hot without num_classes"),
    (ReadsALayerByName, "gives_finite_gradients", "'VisionTransformer' object has no attribute 'conv1'"),
    (CrashesInBuild, "returns_terms", "build fails (test_numbers.py, line"),
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
    (AppliesNowhere, "returns_terms", "applies to no pair"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)
