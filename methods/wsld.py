"""Weighted soft labels (Zhou et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class WSLD(Method):
    """KD where the teacher knows an image's label better than the student does (eq. 9).

    L = CE(z_s, y) + kd_weight * T^2 * mean_i w_i * H(softmax(z_t / T), softmax(z_s / T))
    w_i = 1 - exp(-CE(z_s, y) / CE(z_t, y)), without a gradient

    As the authors' code (bellymonster/Weighted-Soft-Label-Distillation, knowledge_distiller.py, commit 67820dd): value
    and gradient are equal, with their 1e-7 under the weight, their temperature 2 and weight 2.5, which are for ImageNet
    (the only ones that are public). There the teacher's batch norm uses the batch; here it stays as it was evaluated.
    """

    name, version = "wsld", 1
    paper = Paper(
        "Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance Tradeoff Perspective",
        "Helong Zhou, Liangchen Song, Jiajie Chen, Ye Zhou, Guoli Wang, Junsong Yuan, Qian Zhang",
        2021,
        "2102.00650",
    )
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        temperature: float = Field(2.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(2.5, ge=0, description="weight of the weighted soft labels")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        soft = weighted_soft_loss(student.logits, teacher.logits, batch.labels, p.temperature)
        return {"ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels), "soft": p.kd_weight * soft}


def weighted_soft_loss(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float) -> Tensor:
    """T^2 times the weighted soft cross-entropy of (B, C) logits with (B,) labels, averaged over the batch."""
    ce_s, ce_t = (F.cross_entropy(z, labels, reduction="none") for z in (student_logits.detach(), teacher_logits))
    weight = 1 - torch.exp(-ce_s / (ce_t + 1e-7))
    soft = F.cross_entropy(
        student_logits / temperature, (teacher_logits / temperature).softmax(dim=1), reduction="none"
    )
    return temperature**2 * (weight * soft).mean()
