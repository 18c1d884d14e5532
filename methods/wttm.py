"""Weighted transformed teacher matching (Zheng & Yang 2024)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class WTTM(Method):
    """The student's own probabilities match a power of the teacher's, above all where that leaves them smooth.

    L = ce_weight * CE(z_s, y) + match_weight * mean_i U_i * KL(p_t^power / U || softmax(z_s))
    p_t = softmax(z_t),    U_i = sum_c p_t^power

    A power of 1 / T is a temperature T of the teacher alone. Without the factor U_i this is TTM.

    As the authors' code (zkxufo/TTM, distiller_zoo/wttm.py, helper/loops.py and README.md, commit fe457b3): value and
    gradient are equal. Power and weight are the only ones that it gives for WTTM, and of a training beside CRD; without
    CRD the authors choose them pair by pair.
    """

    name, version = "wttm", 1
    paper = Paper(
        "Knowledge Distillation Based on Transformed Teacher Matching",
        "Kaixiang Zheng, En-Hui Yang",
        2024,
        "2402.11148",
    )
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        power: float = Field(0.2, gt=0, description="exponent of the teacher's probabilities")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        match_weight: float = Field(4.0, ge=0, description="weight of the divergence from the teacher's power")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "match": p.match_weight * weighted_match_loss(student.logits, teacher.logits, p.power),
        }


def weighted_match_loss(student_logits: Tensor, teacher_logits: Tensor, power: float) -> Tensor:
    """Mean over (B, C) logits of U * KL(p_t^power / U || p_s)."""
    log_powers = power * teacher_logits.log_softmax(dim=1)
    log_sums = log_powers.logsumexp(dim=1, keepdim=True)
    match = F.kl_div(student_logits.log_softmax(dim=1), log_powers - log_sums, reduction="none", log_target=True)
    return (log_sums.exp() * match).sum(dim=1).mean()
