"""Similarity-preserving knowledge distillation (Tung & Mori 2019)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.with_kd import WithKD


class SP(WithKD):
    """Images that are alike to the teacher are alike to the student (eq. 2 to 4).

    L = CE(z_s, y) + similarity_weight * |G_t - G_s|_F^2 / B^2,    G = rows of F F^T made unit length

    F is the (B, C * H * W) matrix of the last feature map.

    The paper came without code. As HobbitLong/RepDistiller (distiller_zoo/SP.py, "verified by original author", commit
    b84f547): value and gradient are equal, on the same map (feat[-2]) with the weight 3000 of its script.
    """

    name, version = "sp", 1
    paper = Paper("Similarity-Preserving Knowledge Distillation", "Frederick Tung, Greg Mori", 2019, "1907.09682")
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        similarity_weight: float = Field(3000.0, ge=0, description="weight of the similarity matrices' distance")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        similarity = similarity_loss(student.features[-1], teacher.features[-1])
        return {**self.ce_and_kd(batch, student, teacher), "similarity": self.params.similarity_weight * similarity}


def similarity_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Mean squared difference of the similarity matrices of two (B, ...) maps, over all B^2 pairs of images."""
    return F.mse_loss(similarity(student_map), similarity(teacher_map))


def similarity(feature: Tensor) -> Tensor:
    """(B, ...) to (B, B): products of all pairs of images, each row of unit length."""
    flat = feature.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)
