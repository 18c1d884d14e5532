"""Knowledge distillation from softened logits (Hinton et al. 2015)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class KD(Method):
    """The student matches the teacher's class probabilities, softened by a temperature.

    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_t / T) || softmax(z_s / T))

    Default weights are those of most CIFAR-100 comparisons since Tian et al. (2020).

    The paper came without code. As theirs (HobbitLong/RepDistiller, distiller_zoo/KD.py, helper/loops.py and
    scripts/run_cifar_distill.sh, commit b84f547): value and gradient are equal, with their weights 0.1 and 0.9 and
    temperature 4. Here the teacher's probabilities stay logarithms, so that none of them underflows.
    """

    name, version = "kd", 1
    paper = Paper(
        "Distilling the Knowledge in a Neural Network", "Geoffrey Hinton, Oriol Vinyals, Jeff Dean", 2015, "1503.02531"
    )
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(0.1, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.9, ge=0, description="weight of the divergence from the teacher")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * kd_loss(student.logits, teacher.logits, p.temperature),
        }


def kd_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 * KL(p_t || p_s) of the softened (B, C) logits: summed over classes, averaged over the batch (eq. 1, 2)."""
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits / temperature, dim=1)
    return temperature**2 * F.kl_div(student, teacher, reduction="batchmean", log_target=True)
