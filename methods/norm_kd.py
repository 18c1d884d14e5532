"""NormKD, normalized logits (Chi et al. 2023)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class NormKD(Method):
    """KD at a temperature for each image and network: in proportion to how far its logits spread.

    L = ce_weight * CE(z_s, y) + kd_weight * mean_i T_t^2 * KL(softmax(z_t / T_t) || softmax(z_s / T_s))
    T_t = scale * std(z_t),    T_s = scale * std(z_s)

    The standard deviations are over an image's logits, of C - 1; the student's carries a gradient.

    As the authors' code (gizi1/NormKD, mdistiller/distillers/NormKD.py and mdistiller/engine/cfg.py, commit 279371b):
    value and gradient are equal. Here no standard deviation is taken as less than 1e-6.
    """

    name, version = "norm_kd", 1
    paper = Paper(
        "NormKD: Normalized Logits for Knowledge Distillation",
        "Zhihao Chi, Tu Zheng, Hengjia Li, Zheng Yang, Boxi Wu, Binbin Lin, Deng Cai",
        2023,
        "2308.00520",
    )
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        scale: float = Field(2.0, gt=0, description="temperature over the logits' standard deviation")
        ce_weight: float = Field(0.1, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.9, ge=0, description="weight of the divergence from the teacher")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * normalized_kd_loss(student.logits, teacher.logits, p.scale),
        }


def normalized_kd_loss(student_logits: Tensor, teacher_logits: Tensor, scale: float) -> Tensor:
    """T_t^2 * KL of (B, C) logits at their own temperatures, averaged over the batch."""
    t_s, t_t = (scale * z.std(dim=1, keepdim=True).clamp(min=1e-6) for z in (student_logits, teacher_logits))
    log_s, log_t = (student_logits / t_s).log_softmax(dim=1), (teacher_logits / t_t).log_softmax(dim=1)
    return (t_t**2 * F.kl_div(log_s, log_t, reduction="none", log_target=True)).sum(dim=1).mean()
