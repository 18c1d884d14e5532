"""Feature normalized knowledge distillation (Xu et al. 2020)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.with_kd import WithKD


class FN(WithKD):
    """The norm of an image's feature is its temperature: the student learns the teacher's logits at a common norm.

    L = CE(z_s, y) + normalized_weight * H(softmax(n_t), softmax(n_s)),   n = z * min(|f|, norm) / |f|

    f is the vector before the classifier. Weight and norm are those of the authors' CIFAR-100 script (aztc/FNKD,
    train_gluon_script_cifar.py and models/symbol_Resnet_cifar.py, 099b6ca). There the classifier sees f at its new
    norm; here its logits are scaled, which scales its bias as well and is the same where it has none.
    """

    name, version = "fn", 1
    paper = Paper(
        "Feature Normalized Knowledge Distillation for Image Classification",
        "Kunran Xu, Lai Rui, Yishi Li, Lin Gu",
        2020,
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    requires = frozenset({"student.logits", "student.embedding", "teacher.logits", "teacher.embedding"})

    class Params(WithKD.Params):
        normalized_weight: float = Field(9.0, ge=0, description="weight of the normalized logits' cross-entropy")
        norm: float = Field(2.0, gt=0, description="what a longer feature is shortened to")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        n_s = normalized(student.logits, student.embedding, self.params.norm)
        n_t = normalized(teacher.logits, teacher.embedding, self.params.norm)
        cross_entropy = F.cross_entropy(n_s, F.softmax(n_t, dim=1))
        terms = self.ce_and_kd(batch, student, teacher)
        return {**terms, "normalized": self.params.normalized_weight * cross_entropy}


def normalized(logits: Tensor, embedding: Tensor, norm: float) -> Tensor:
    """(B, C) logits of (B, D) embeddings, as if none were longer than the norm."""
    return logits * (norm / embedding.norm(dim=1, keepdim=True).clamp(min=norm))
