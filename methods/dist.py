"""Knowledge distillation from a stronger teacher (Huang et al. 2022)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class DIST(Method):
    """The student's probabilities correlate with the teacher's, over classes and over images (eq. 7 to 9).

    L = ce_weight * CE(z_s, y) + inter_weight * T^2 * (1 - mean_i pearson(p_i:^s, p_i:^t))
                               + intra_weight * T^2 * (1 - mean_c pearson(p_:c^s, p_:c^t))

    As the authors' code (hunto/image_classification_sota, lib/models/losses/dist_kd.py, commit 6f7a70a, which is the
    submodule of hunto/DIST_KD): value and gradient are equal, with 1e-8 added to the product of the norms, which counts
    where probabilities saturate. Weights and temperature are those of their CIFAR-100 experiments
    (configs/strategies/distill/dist_cifar.yaml: weight 2, temperature 4).
    """

    name, version = "dist", 2
    paper = Paper(
        "Knowledge Distillation from A Stronger Teacher",
        "Tao Huang, Shan You, Fei Wang, Chen Qian, Chang Xu",
        2022,
        "2205.10536",
    )
    scheme = "offline"
    knowledge = ("response", "relation")
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        inter_weight: float = Field(2.0, ge=0, description="weight of the correlation over the classes of an image")
        intra_weight: float = Field(2.0, ge=0, description="weight of the correlation over the images of a class")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        inter, intra = correlation_losses(student.logits, teacher.logits, p.temperature)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "inter": p.inter_weight * inter,
            "intra": p.intra_weight * intra,
        }


def correlation_losses(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """T^2 * (1 - mean Pearson correlation) of (B, C) probabilities, over their rows and over their columns."""
    p_s, p_t = ((logits / temperature).softmax(dim=1) for logits in (student_logits, teacher_logits))
    inter, intra = pearson(p_s, p_t), pearson(p_s.T, p_t.T)
    return temperature**2 * (1 - inter.mean()), temperature**2 * (1 - intra.mean())


def pearson(a: Tensor, b: Tensor, eps: float = 1e-8) -> Tensor:
    """Correlation of each row of two (R, K) tensors; smaller where a row hardly varies, 0 where it is constant."""
    a, b = a - a.mean(dim=1, keepdim=True), b - b.mean(dim=1, keepdim=True)
    return (a * b).sum(dim=1) / (a.norm(dim=1) * b.norm(dim=1) + eps)
