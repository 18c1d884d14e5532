"""Checks of the protocol catch the methods that deploy something else than the suite's student."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Method, Outputs, Setup
from kdbench.checks.bench import Bench
from tests.kdbench.checks.good import Good, Holding, assert_caught, each


class Wider(nn.Module):
    """A network of another size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, 500), nn.ReLU(), nn.Linear(500, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


class DeploysAWiderNetwork(Good):
    """Trains a wider network beside the student and deploys that."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.wider = Wider()

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term(F.cross_entropy(self.wider(batch.images), batch.labels), batch, student, teacher)

    def deployed(self, student: nn.Module, read: Any) -> nn.Module:
        return self.wider


class DeploysTheTeacher(Good):
    """Deploys the teacher."""

    requires = Good.requires | {"teacher.network"}

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.copy = copy.deepcopy(setup.teacher_network)

    def deployed(self, student: nn.Module, read: Any) -> nn.Module:
        return self.copy


class Pretender(nn.Module):
    """The student's weights, and the teacher's answers."""

    def __init__(self, student: nn.Module, teacher: Any) -> None:
        super().__init__()
        self.answer = lambda images: teacher(images).logits
        for name, module in student.named_children():
            self.add_module(name, module)
        for name, parameter in student.named_parameters(recurse=False):
            self.register_parameter(name, parameter)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(images)


class AnswersWithTheTeacher(Good):
    """Deploys what has the student's weights and answers with the teacher."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.read_teacher = setup.read_teacher

    def deployed(self, student: nn.Module, read: Any) -> nn.Module:
        return Pretender(student, self.read_teacher)


class AnswersOtherwiseInEvaluation(Holding):
    """Hooks the teacher's answers onto the student, in evaluation alone."""

    def build(self, setup: Setup) -> None:
        super().build(setup)

        def answer(module: nn.Module, given: tuple[Tensor, ...], logits: Tensor) -> Tensor:
            return logits if module.training else setup.read_teacher(given[0]).logits

        setup.student_network.register_forward_hook(answer)


BROKEN = [
    (DeploysAWiderNetwork, "deploys_what_it_trained", "none of the student's weights is in it"),
    (DeploysTheTeacher, "deploys_what_it_trained", "none of the student's weights is in it"),
    (AnswersWithTheTeacher, "deploys_what_it_trained", "answers otherwise than the suite's student"),
    (AnswersOtherwiseInEvaluation, "deploys_what_it_trained", "answers otherwise than the suite's student"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)


class Ensemble(DeploysAWiderNetwork):
    """Deploys the student beside a wider network."""

    def deployed(self, student: nn.Module, read: Any) -> nn.Module:
        return Both(student, self.wider)


class Both(nn.Module):
    """The mean of two networks."""

    def __init__(self, one: nn.Module, other: nn.Module) -> None:
        super().__init__()
        self.one, self.other = one, other

    def forward(self, images: Tensor) -> Tensor:
        return (self.one(images) + self.other(images)) / 2


@pytest.mark.parametrize("cls", [Ensemble, DeploysAWiderNetwork, DeploysTheTeacher])
def test_a_network_that_is_not_the_suites_student_is_known_as_such(cls: type[Method]) -> None:
    assert not Bench(cls).trainer().is_suites


@pytest.mark.parametrize("cls", [AnswersWithTheTeacher, AnswersOtherwiseInEvaluation])
def test_what_pretends_to_be_the_student_is_evaluated_as_the_suites_own(cls: type[Method]) -> None:
    trainer = Bench(cls).trainer()
    assert trainer.is_suites
    honest = Bench(Good).trainer()
    assert torch.equal(trainer.predict(), honest.predict())
    assert not torch.equal(trainer.predict(), trainer.predict(trainer.deployed))
