"""Regression of the teacher's logits (Ba & Caruana 2014)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class LogitsMSE(Method):
    """The student's logits are the teacher's (eq. 2), without labels in the paper.

    L = ce_weight * CE(z_s, y) + logits_weight * ||z_s - z_t||^2 / 2

    Known second hand: the paper came without code, and the loss is read from its equation 2: a sum over the classes, a
    mean over the images. Others average over the classes too. The paper trains on logits that it stored once for all
    images, here on those of each batch.
    """

    name, version = "logits_mse", 2
    paper = Paper("Do Deep Nets Really Need to be Deep?", "Lei Jimmy Ba, Rich Caruana", 2014, "1312.6184")
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        ce_weight: float = Field(0.0, ge=0, description="weight of the cross-entropy with the labels")
        logits_weight: float = Field(1.0, ge=0, description="weight of the logits' squared distance")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "logits": p.logits_weight * (student.logits - teacher.logits).square().sum(1).mean() / 2,
        }
