"""Curriculum temperature for knowledge distillation (Li et al. 2023)."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.kd import KD, kd_loss


class CTKD(KD):
    """KD at a learned temperature that makes the student's task harder as training goes on (eq. 3 to 6; global T).

    min over the student, max over T:
    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    T = lowest + range * sigmoid(theta); theta's gradient is reversed and scaled by (1 - cos(pi * e / ramp_epochs)) / 2.

    As the authors' code (zhengli97/CTKD, models/temp_global.py, helper/loops.py, train_student.py and
    scripts/run_cifar_distill.sh, commit 7d52522): value and both gradients are equal; theta begins at 1, in the
    student's optimizer with its weight decay, and e counts from 1. Different on purpose: only the
    global temperature, not theirs for each image.
    """

    name, version = "ctkd", 1
    paper = Paper(
        "Curriculum Temperature for Knowledge Distillation",
        "Zheng Li, Xiang Li, Lingfeng Yang, Borui Zhao, Renjie Song, Lei Luo, Jun Li, Jian Yang",
        2023,
        "2211.16231",
    )

    class Params(KD.Params):
        lowest_temperature: float = Field(1.0, gt=0, description="T where theta is very low")
        temperature_range: float = Field(20.0, gt=0, description="how much above it T can be")
        ramp_epochs: int = Field(10, ge=1, description="epochs until T is trained at its full rate")
        temperature: float = Field(4.0, gt=0, description="not used: T is learned")

    def build(self, setup: Setup) -> None:
        self.theta = nn.Parameter(torch.ones(()))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        progress = ((batch.epoch + 1) / p.ramp_epochs).clamp(max=1)
        theta = reverse_gradient(self.theta, (1 - torch.cos(math.pi * progress)) / 2)
        temperature = p.lowest_temperature + p.temperature_range * theta.sigmoid()
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * kd_loss(student.logits, teacher.logits, temperature),
        }


class ReverseGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by -strength (Ganin & Lempitsky 2015)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, strength: Tensor) -> Tensor:
        ctx.save_for_backward(strength)
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (strength,) = ctx.saved_tensors
        return -strength * gradient, None


def reverse_gradient(value: Tensor, strength: Tensor) -> Tensor:
    """The same value, which goes up where its gradient would have it go down."""
    return ReverseGradient.apply(value, strength)
