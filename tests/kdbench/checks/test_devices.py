"""What a GPU would refuse is found without one: six methods that train on a CPU, each caught by the check for it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Method, Outputs, Setup
from tests.kdbench.checks.good import Good, assert_caught, each


class CpuArange(Good):
    """Compares labels with a range that is made on the CPU."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        own = (batch.labels[:, None] == torch.arange(student.logits.shape[1])).float()
        return self.with_term((student.logits * own).mean(), batch, student, teacher)


class CpuConstant(Good):
    """Makes a tensor of its weights in every step, on the CPU."""

    weights: tuple[float, ...]

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.weights = tuple(float(c) for c in range(setup.num_classes))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term((student.logits * torch.tensor(self.weights)).mean(), batch, student, teacher)


class CpuDraw(Good):
    """Draws on the CPU, and copies what it drew."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        weight = torch.rand(len(batch.labels)).to(batch.labels.device)
        each = F.cross_entropy(student.logits, batch.labels, reduction="none")
        return self.with_term((weight * each).mean(), batch, student, teacher)


class Rebound(Good):
    """Puts another tensor in the place of its buffer."""

    mean: Tensor

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        self.mean = 0.9 * self.mean + 0.1 * student.logits.detach().mean(dim=0)
        return self.with_term((student.logits - self.mean).square().mean(), batch, student, teacher)


class Counter(Good):
    """Counts its steps in a number of the class."""

    count = 0

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        type(self).count += 1
        return self.with_term(student.logits.square().mean() / (1 + self.count), batch, student, teacher)


class Branch(Good):
    """Goes by the number of the step, read on the host."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        weight = 2.0 if batch.step % 2 == 0 else 1.0
        return self.with_term(weight * student.logits.square().mean(), batch, student, teacher)


BROKEN: list[tuple[type[Method], str, str]] = [
    (CpuArange, "runs_on_a_gpu", "a tensor or generator is on the CPU (eq of tensors (16, 1) on cuda:0, (10,) on"),
    (
        CpuConstant,
        "runs_on_a_gpu",
        "a tensor or generator is on the CPU (mul of tensors (16, 10) on cuda:0, (10,) on",
    ),
    (CpuDraw, "runs_on_a_gpu", "on a GPU the step waits for the device (a copy to the GPU)"),
    (CpuDraw, "draws_from_its_generator", "the step draws from PyTorch's global generator"),
    (Rebound, "keeps_state_in_buffers", "'mean' is replaced by another tensor"),
    (Counter, "keeps_state_in_buffers", "attribute 'count' changes while training"),
    (Branch, "never_waits_for_the_device", "the step waits for the device"),
]


@each(BROKEN)
def test_the_check_catches(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)


def draw_with_a_generator_of_the_cpu(setup: Setup) -> Any:
    return torch.rand(3, generator=torch.Generator().manual_seed(0), device=setup.device)


def read_the_labels(setup: Setup) -> Any:
    return setup.train_labels.numpy()


@pytest.mark.parametrize(
    ("fault", "said"),
    [(draw_with_a_generator_of_the_cpu, "for generator but found 'cpu'"), (read_the_labels, "convert cuda:0 device")],
)
def test_faults_of_build_are_found_too(fault: Any, said: str) -> None:
    def build(self: Method, setup: Setup) -> None:
        Good.build(self, setup)  # type: ignore[arg-type]
        fault(setup)

    assert_caught(type("Faulty", (Good,), {"build": build}), "runs_on_a_gpu", said)
