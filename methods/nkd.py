"""Normalised knowledge distillation (Yang et al. 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class NKD(Method):
    """The label's probability as a soft target, and the other classes' normalised to one (eq. 9).

    L = CE(z_s, y) - target_weight * p_y^t * log p_y^s - non_target_weight * T^2 * sum_{c != y} n_c^t * log n_c^s

    n is the softmax at temperature T over the classes other than y.

    As the authors' code (yzd-v/cls_KD, mmcls/models/dis_losses/nkd.py and mmcls/models/classifiers/distiller.py, commit
    1e5d48f): value and gradient are equal. Temperature 3 and weight 3.5 are those of their CIFAR-100 configuration
    (configs/distillers/cifar100/res34_distill_res18_cifar.py); for ImageNet they are 1 and 1.5.
    """

    name, version = "nkd", 2
    paper = Paper(
        "From Knowledge Distillation to Self-Knowledge Distillation: A Unified Approach with Normalized Loss and "
        "Customized Soft Labels",
        "Zhendong Yang, Ailing Zeng, Zhe Li, Tianke Zhang, Chun Yuan, Yu Li",
        2023,
        "2303.13005",
    )
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        temperature: float = Field(3.0, gt=0, description="T, of the classes other than the label")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        target_weight: float = Field(1.0, ge=0, description="weight of the label's soft target")
        non_target_weight: float = Field(3.5, ge=0, description="weight of the other classes")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        target, non_target = normalised_losses(student.logits, teacher.logits, batch.labels, p.temperature)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "target": p.target_weight * target,
            "non_target": p.non_target_weight * non_target,
        }


def normalised_losses(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Both soft cross-entropies of (B, C) logits with (B,) labels, averaged over the batch."""
    is_target = labels[:, None] == torch.arange(student_logits.shape[1], device=labels.device)
    log_s, p_t = student_logits.log_softmax(dim=1), teacher_logits.softmax(dim=1)
    target = -(p_t * log_s).masked_fill(~is_target, 0).sum(dim=1).mean()
    student, teacher = (z.masked_fill(is_target, float("-inf")) for z in (student_logits, teacher_logits))
    log_n_s = (student / temperature).log_softmax(dim=1).masked_fill(is_target, 0)
    n_t = (teacher / temperature).softmax(dim=1)
    return target, -(temperature**2) * (n_t * log_n_s).sum(dim=1).mean()
