"""A control: a teacher that was never trained."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Method, Outputs, Setup
from kdbench_methods.kd import KD, kd_loss


class RandomTeacher(Method):
    """KD from a network of the teacher's architecture with its initial weights (evaluated as a teacher is).

    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_r / T) || softmax(z_s / T))
    """

    name, version = "random_teacher", 1
    scheme = "baseline"
    requires = frozenset({"student.logits", "teacher.network"})

    class Params(KD.Params):
        pass

    def build(self, setup: Setup) -> None:
        self.random_teacher = setup.network("teacher").requires_grad_(False)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        logits = self.random_teacher.frozen(batch.images).logits
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * kd_loss(student.logits, logits, p.temperature),
        }
