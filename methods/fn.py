"""Feature-normalised knowledge distillation (Xu et al. 2020)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.with_kd import WithKD


class FN(WithKD):
    """KD in which each image has its own temperature: the length of its embedding (eq. 9).

    L = CE(z_s, y) + normalised_weight * H(softmax(n(z_t, e_t)), softmax(n(z_s, e_s)))
    n(z, e) = z * min(1, length / |e|)

    As the authors' code (aztc/FNKD, train_gluon_script_cifar.py and models/symbol_Resnet_cifar.py, commit 099b6ca):
    lengths, which that code caps and the paper fixes, that both networks are shortened, weight, reduction. There the
    classifier's bias keeps its size; here the length is a temperature of the whole logits, as the paper has it.
    """

    name, version = "fn", 1
    paper = Paper(
        "Feature Normalized Knowledge Distillation for Image Classification",
        "Kunran Xu, Lai Rui, Yishi Li, Lin Gu",
        2020,
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    requires = frozenset(f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "embedding"))

    class Params(WithKD.Params):
        normalised_weight: float = Field(9.0, ge=0, description="weight of the normalised soft labels")
        length: float = Field(2.0, gt=0, description="the embeddings' length, at most")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        z_s = normalised(student.logits, student.embedding, p.length)
        z_t = normalised(teacher.logits, teacher.embedding, p.length)
        soft = F.cross_entropy(z_s, z_t.softmax(dim=1))
        return {**self.ce_and_kd(batch, student, teacher), "normalised": p.normalised_weight * soft}


def normalised(logits: Tensor, embedding: Tensor, length: float) -> Tensor:
    """(B, C) logits of a (B, D) embedding that is shortened to a length."""
    return logits * (length / embedding.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1)
