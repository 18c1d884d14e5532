"""Decoupled knowledge distillation (Zhao et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class DKD(Method):
    """KD in two parts, weighed apart: how likely the label is, and how the rest spreads over the others (eq. 7).

    L = CE(z_s, y) + min((epoch + 1) / warm_up_epochs, 1) * (target_weight * TCKD + non_target_weight * NCKD)

    TCKD = T^2 * KL of (p_y, 1 - p_y); NCKD = T^2 * KL over the classes other than y. KD is TCKD + (1 - p_y^t) * NCKD.

    As the authors' code (megvii-research/mdistiller, mdistiller/distillers/DKD.py, commit a08d46f): value and gradient
    are equal, with the weights and temperature of configs/cifar100/dkd/res32x4_res8x4.yaml and a warm-up that counts
    epochs from 1. Here all stays in logarithms, where theirs takes those of sums of probabilities, which may be 0.
    """

    name, version = "dkd", 1
    paper = Paper(
        "Decoupled Knowledge Distillation",
        "Borui Zhao, Quan Cui, Renjie Song, Yiyu Qiu, Jiajun Liang",
        2022,
        "2203.08679",
    )
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        target_weight: float = Field(1.0, ge=0, description="weight of the target class's part (TCKD)")
        non_target_weight: float = Field(8.0, ge=0, description="weight of the other classes' part (NCKD)")
        warm_up_epochs: int = Field(20, ge=1, description="epochs over which both parts grow to their weights")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        warm_up = ((batch.epoch + 1) / p.warm_up_epochs).clamp(max=1)
        target, non_target = decoupled_losses(student.logits, teacher.logits, batch.labels, p.temperature)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "target": warm_up * p.target_weight * target.mean(),
            "non_target": warm_up * p.non_target_weight * non_target.mean(),
        }


def decoupled_losses(
    student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """TCKD and NCKD of each image: two (B,) tensors from (B, C) logits and (B,) labels."""
    is_target = labels[:, None] == torch.arange(student_logits.shape[1], device=labels.device)
    target_s, others_s = split(student_logits / temperature, is_target)
    target_t, others_t = split(teacher_logits / temperature, is_target)
    return temperature**2 * divergence(target_t, target_s), temperature**2 * divergence(others_t, others_s)


def split(logits: Tensor, is_target: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities (B, 2) of the target and of all others together, and (B, C) of the others among themselves."""
    log_p = logits.log_softmax(dim=1)
    target = log_p.masked_fill(~is_target, float("-inf")).logsumexp(dim=1)
    others = log_p.masked_fill(is_target, float("-inf")).logsumexp(dim=1)
    among = (log_p - others[:, None]).masked_fill(is_target, 0)
    return torch.stack([target, others], dim=1), among.masked_fill(is_target, -1000)


def divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each row of (B, C) log-probabilities."""
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=1)
