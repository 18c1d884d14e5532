"""Attention transfer (Zagoruyko and Komodakis 2017)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.with_kd import WithKD


class AT(WithKD):
    """The student's spatial attention maps match the teacher's at every matched depth (eq. 2, with p = 2).

    Q(f) = vec(mean_c f^2) / ||vec(mean_c f^2)||
    L = CE(z_s, y) + attention_weight * sum_l mean((Q(f_s^l) - Q(f_t^l))^2)

    As the authors' code (szagoruyko/attention-transfer, utils.py and cifar.py, commit 893df54): maps at the ends of the
    stages, attention, mean over batch and positions, weight; and as that of Tian et al. (HobbitLong/RepDistiller,
    distiller_zoo/AT.py, commit b84f547), whence the larger of two maps is averaged down.
    """

    name, version = "at", 1
    paper = Paper(
        "Paying More Attention to Attention: Improving the Performance of Convolutional Neural Networks "
        "via Attention Transfer",
        "Sergey Zagoruyko, Nikos Komodakis",
        2017,
        "1612.03928",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        attention_weight: float = Field(1000.0, ge=0, description="weight of the attention maps' difference")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        attention = attention_loss(student.features, teacher.features)
        return {**self.ce_and_kd(batch, student, teacher), "attention": self.params.attention_weight * attention}


def attention_loss(student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
    """Sum over matched (B, C, H, W) maps of the mean squared difference of their attention."""
    losses = []
    for s, t in zip(student_maps, teacher_maps, strict=True):
        size = min(s.shape[2], t.shape[2]), min(s.shape[3], t.shape[3])
        q_s, q_t = (attention(F.adaptive_avg_pool2d(f, size)) for f in (s, t))
        losses.append((q_s - q_t).square().mean())
    return sum(losses[1:], start=losses[0])


def attention(feature: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H * W): energy over channels, as a unit vector an image."""
    return F.normalize(feature.square().mean(dim=1).flatten(1), dim=1)
