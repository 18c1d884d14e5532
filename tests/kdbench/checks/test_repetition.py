"""Checks that a training repeats itself and goes on catch the methods that they are for."""

from __future__ import annotations

import random
import time

import numpy as np
import torch
from torch import Tensor

from kdbench import Batch, Method, Outputs, Setup
from tests.kdbench.checks.good import Good, assert_caught, each


class UnseededDraw(Good):
    """Adds noise from PyTorch's global generator."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        noise = torch.randn_like(student.logits)
        return self.with_term((student.logits * noise).mean(), batch, student, teacher)


class NumpyDraw(Good):
    """Chooses with numpy's global generator."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        scale = 1 + np.random.rand()
        return self.with_term(scale * student.logits.square().mean(), batch, student, teacher)


class PythonDraw(Good):
    """Chooses with Python's global generator."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.with_term((1 + random.random()) * student.logits.square().mean(), batch, student, teacher)


class ReadsTheClock(Good):
    """Weighs a term by the time of day."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        weight = 1 + time.perf_counter() % 1
        return self.with_term(weight * student.logits.square().mean(), batch, student, teacher)


class CountsSteps(Good):
    """Warms up by a counter of its own."""

    count = 0

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        self.count += 1
        return self.with_term(self.count * student.logits.square().mean(), batch, student, teacher)


class ReplacesABuffer(Good):
    """Assigns its running mean instead of changing it."""

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        self.mean = 0.9 * self.mean + 0.1 * teacher.logits.mean(dim=0)
        return self.with_term((student.logits - self.mean).square().mean(), batch, student, teacher)


class ForgetsItsState(Good):
    """Keeps a running mean where no checkpoint finds it."""

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.register_buffer("mean", torch.zeros(setup.num_classes), persistent=False)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        self.mean.mul_(0.9).add_(0.1 * teacher.logits.mean(dim=0))
        return self.with_term((student.logits - self.mean).square().mean(), batch, student, teacher)


BROKEN = [
    (UnseededDraw, "draws_from_its_generator", "generator=setup.generator"),
    (NumpyDraw, "draws_from_its_generator", "numpy's global generator"),
    (PythonDraw, "draws_from_its_generator", "Python's global generator"),
    (ReadsTheClock, "repeats_itself", "read from a clock"),
    (CountsSteps, "keeps_state_in_buffers", "'count' changes while training"),
    (ReplacesABuffer, "keeps_state_in_buffers", "change it in place"),
    (ForgetsItsState, "goes_on_where_it_stopped", "register_buffer"),
]


@each(BROKEN)
def test_a_broken_method_is_caught_with_advice(cls: type[Method], check: str, advice: str) -> None:
    assert_caught(cls, check, advice)
