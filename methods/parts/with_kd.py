"""What feature and relation methods share: the two terms on logits beside their own."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs
from kdbench_methods.kd import kd_loss


class WithKD(Method):
    """Base of the feature and relation methods: cross-entropy, and KD where `kd_weight` says so, beside their own term.

    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_t / T) || softmax(z_s / T)) + the method's own term
    """

    class Params(Method.Params):
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.0, ge=0, description="weight of the softened teacher's logits (none in the paper)")
        temperature: float = Field(4.0, gt=0, description="T, softens both distributions of the KD term")

    def ce_and_kd(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        """The two terms on logits; `kd` only where it weighs something."""
        p = self.params
        terms = {"ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels)}
        if p.kd_weight > 0:
            terms["kd"] = p.kd_weight * kd_loss(student.logits, teacher.logits, p.temperature)
        return terms
