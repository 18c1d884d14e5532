"""A method without a fault, from which the broken ones are made, and what is to be said of those."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Setup
from kdbench.checks import run_check
from kdbench.checks.bench import CheckFailed


class Good(Method):
    """The student's logits and embedding approach the teacher's."""

    name, version = "good", 1
    paper = Paper("A title", "An Author", 2024, "2401.12345")
    scheme, knowledge = "offline", ("response", "feature")
    requires = frozenset({"student.logits", "teacher.logits", "student.embedding", "teacher.embedding"})

    class Params(Method.Params):
        gap_weight: float = Field(1.0, ge=0, description="weight of the gap")

    def build(self, setup: Setup) -> None:
        self.generator = setup.generator
        self.embed = nn.Linear(setup.student.embedding, setup.teacher.embedding)
        self.register_buffer("mean", torch.zeros(setup.num_classes))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        gap = F.mse_loss(self.embed(student.embedding), teacher.embedding)
        return {
            "ce": F.cross_entropy(student.logits, batch.labels),
            "kl": F.kl_div(student.logits.log_softmax(1), teacher.logits.softmax(1), reduction="batchmean"),
            "gap": self.params.gap_weight * gap,
        }

    def with_term(self, value: Any, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {**Good.loss(self, batch, student, teacher), "more": value}


Broken = tuple[type[Method], str, str]  # the method, the check that is to catch it, what it is to say


def each(broken: list[Broken]) -> pytest.MarkDecorator:
    """A test for each."""
    return pytest.mark.parametrize(
        ("cls", "check", "advice"), broken, ids=lambda value: getattr(value, "__name__", None)
    )


def assert_caught(cls: type[Method], check: str, advice: str) -> None:
    """The check fails with the advice, in one line."""
    with pytest.raises(CheckFailed) as failure:
        run_check(cls, check)
    assert advice in str(failure.value)
    assert "\n" not in str(failure.value)


NETWORK = Good.requires | {"student.network"}


class Holding(Good):
    """Keeps the student where neither PyTorch nor the trainer looks."""

    requires = NETWORK
    deviations = ("says something",)

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.held = lambda: setup.student_network
