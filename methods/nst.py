"""Neuron selectivity transfer (Huang and Wang 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.maps import to_smaller
from kdbench_methods.with_kd import WithKD


class NST(WithKD):
    """Channels of the student's maps are distributed over positions as the teacher's are.

    L = CE(z_s, y) + selectivity_weight * sum_l MMD^2(channels of f_s^l, channels of f_t^l)
    MMD^2 = mean k(t, t') + mean k(s, s') - 2 mean k(s, t),    k(x, y) = (x . y)^2

    A channel is its map as a unit vector over the positions. Larger maps are averaged to the smaller size. As in the
    code of Tian et al. (2020) each image has a discrepancy of its own and the loss is their mean.
    """

    name, version = "nst", 1
    paper = Paper(
        "Like What You Like: Knowledge Distill via Neuron Selectivity Transfer",
        "Zehao Huang, Naiyan Wang",
        2017,
        "1707.01219",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        selectivity_weight: float = Field(50.0, ge=0, description="weight of the maximum mean discrepancies")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        discrepancy = [discrepancy_loss(s, t) for s, t in zip(student.features, teacher.features, strict=True)]
        weighted = self.params.selectivity_weight * torch.stack(discrepancy).sum()
        return {**self.ce_and_kd(batch, student, teacher), "selectivity": weighted}


def discrepancy_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of the channels of two (B, C, H, W) maps, a mean over the batch."""
    s, t = (F.normalize(f.flatten(2), dim=2) for f in to_smaller(student_map, teacher_map))
    return kernel(t, t).mean() + kernel(s, s).mean() - 2 * kernel(s, t).mean()


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """(B, C, N) and (B, D, N) channels to (B, C, D) values of the polynomial kernel of degree 2."""
    return (x @ y.transpose(1, 2)).square()
