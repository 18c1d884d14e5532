"""Neuron selectivity transfer (Huang & Wang 2017)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.layers import same_size
from kdbench_methods.parts.with_kd import WithKD


class NST(WithKD):
    """Channels respond at the places where the teacher's do: their distributions agree under a kernel (eq. 4 and 7).

    L = CE(z_s, y) + selectivity_weight * sum_l MMD^2(channels of f_s, channels of f_t),    k(a, b) = (a . b)^2

    Each channel is its map as a vector of unit length.

    As the code of Tian et al. (HobbitLong/RepDistiller, distiller_zoo/NST.py, commit b84f547): maps, kernel, means over
    pairs of channels, weight, the larger map averaged down. The authors published none of their own.
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
        pairs = zip(student.features, teacher.features, strict=True)
        selectivity = torch.stack([discrepancy(f_s, f_t) for f_s, f_t in pairs]).sum()
        return {**self.ce_and_kd(batch, student, teacher), "selectivity": self.params.selectivity_weight * selectivity}


def discrepancy(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of the channels of two (B, C, H, W) maps; the larger is averaged down."""
    s, t = (F.normalize(f.flatten(2), dim=2) for f in same_size(student_map, teacher_map))
    return kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Mean of k over all pairs of channels of (B, C, N) and (B, D, N), and over the batch."""
    return (a @ b.transpose(1, 2)).square().mean()
