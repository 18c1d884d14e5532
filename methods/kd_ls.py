"""KD on standardised logits (Sun et al. 2024)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.kd import KD, kd_loss


class KDLS(KD):
    """The student matches the shape of the teacher's logits, freed of their mean and scale (eq. 11, algorithm 1).

    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(Z(z_t) / T) || softmax(Z(z_s) / T))
    Z(z) = (z - mean(z)) / std(z), over the classes

    As the authors' code (sunshangquan/logit-standardization-KD, mdistiller/distillers/KD.py and tools/train.py, commit
    f6e5aa5): value and gradient are equal, with their unbiased deviation, base temperature 2, and weights 9 and 0.1.
    """

    name, version = "kd_ls", 1
    paper = Paper(
        "Logit Standardization in Knowledge Distillation",
        "Shangquan Sun, Wenqi Ren, Jingzhi Li, Rui Wang, Xiaochun Cao",
        2024,
        "2403.01427",
    )

    class Params(KD.Params):
        temperature: float = Field(2.0, gt=0, description="T, the base temperature of standardised logits")
        kd_weight: float = Field(9.0, ge=0, description="weight of the divergence from the teacher")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        kd = kd_loss(standardise(student.logits), standardise(teacher.logits), p.temperature)
        return {"ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels), "kd": p.kd_weight * kd}


def standardise(logits: Tensor, eps: float = 1e-7) -> Tensor:
    """Logits (B, C) with mean 0 and (unbiased) standard deviation 1 in each row."""
    return (logits - logits.mean(dim=1, keepdim=True)) / (logits.std(dim=1, keepdim=True) + eps)
