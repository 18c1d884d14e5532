"""Checks of where gradients flow catch the methods that they are for."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Method, Outputs, Setup, Stage
from kdbench.checks import run_check
from tests.kdbench.checks.good import Good, assert_caught, each


class ForgottenParameter(Good):
    """Brings a layer that the loss never uses."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.unused = nn.Linear(3, 3)


class DetachedParameter(Good):
    """Its embedding is used without gradients."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.mse_loss(self.embed(student.embedding).detach() + student.embedding.mean(), teacher.embedding)
        return {"ce": F.cross_entropy(student.logits, batch.labels), "gap": self.params.gap_weight * gap}


class TrainsTheTeacher(Good):
    """Fine-tunes the teacher that it was given."""

    requires = Good.requires | {"teacher.network"}

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.teacher = setup.teacher_network.requires_grad_(True)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(self.teacher(batch.images).square().mean(), batch, student, teacher)


class GradientIntoTheTeacher(Good):
    """Differentiates through the teacher's weights, out of sight of the module tree."""

    requires = Good.requires | {"teacher.network"}

    def build(self, setup: Setup) -> None:
        super().build(setup)
        network = setup.teacher_network.requires_grad_(True)
        self.run_teacher = lambda images: network(images)  # noqa: PLW0108

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.mse_loss(student.logits, self.run_teacher(batch.images))
        return self.with_term(gap, batch, student, teacher)


class MovesTheTeachersBuffers(Good):
    """Runs the teacher in training mode, which moves its batch statistics."""

    requires = Good.requires | {"teacher.network"}

    def build(self, setup: Setup) -> None:
        super().build(setup)
        network = setup.teacher_network
        self.run_teacher = lambda images: network.train()(images)  # noqa: PLW0108

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        with torch.no_grad():
            logits = self.run_teacher(batch.images)
        return self.with_term(F.mse_loss(student.logits, logits), batch, student, teacher)


class InfiniteGradient(Good):
    """Takes the norm of a difference that may be zero."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        zero = student.logits - student.logits
        return self.with_term(zero.square().sum(dim=1).sqrt().mean(), batch, student, teacher)


class DetachedTerm(Good):
    """Has a term without a gradient."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(student.logits.detach().square().mean(), batch, student, teacher)


class UnusedWeight(Good):
    """Forgets its weight."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {
            "gap": F.mse_loss(self.embed(student.embedding), teacher.embedding)
            + student.logits.mean()
            + teacher.logits.mean()
        }


BROKEN = [
    (ForgottenParameter, "trains_every_parameter", "'unused.weight' never gets a gradient: use it in loss"),
    (DetachedParameter, "trains_every_parameter", "'embed.weight' never gets a gradient"),
    (TrainsTheTeacher, "leaves_the_teacher_alone", "keep copy.deepcopy"),
    (GradientIntoTheTeacher, "leaves_the_teacher_alone", "run whatever uses them under torch.no_grad"),
    (MovesTheTeachersBuffers, "leaves_the_teacher_alone", "use eval"),
    (InfiniteGradient, "gives_finite_gradients", "add an epsilon"),
    (DetachedTerm, "gives_finite_gradients", "'more' has no gradient"),
    (UnusedWeight, "uses_every_weight", "multiply the term with self.params.gap_weight"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)


class Staged(Good):
    """Trains its embedding before the student."""

    def stages(self) -> list[Stage]:
        return [Stage("init", 2, self.embed_loss)]

    def embed_loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"gap": F.mse_loss(self.embed(student.embedding.detach()), teacher.embedding)}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        embed = copy.copy(student.embedding) @ self.embed.weight.T.detach()
        gap = self.params.gap_weight * F.mse_loss(embed, teacher.embedding)
        return {"ce": F.cross_entropy(student.logits, batch.labels), "gap": gap + 0 * teacher.logits.mean()}


def test_a_parameter_may_learn_in_an_earlier_stage_alone() -> None:
    run_check(Staged, "trains_every_parameter")
    run_check(Staged, "goes_on_where_it_stopped")
