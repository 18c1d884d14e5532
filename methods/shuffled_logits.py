"""A control: the teacher's logits of other images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Method, Outputs, Setup
from kdbench_methods.kd import KD, kd_loss


class ShuffledLogits(Method):
    """KD from the teacher's logits of the batch in a random order: soft targets without knowledge of the image.

    L = ce_weight * CE(z_s, y) + kd_weight * T^2 * KL(softmax(z_t[shuffled] / T) || softmax(z_s / T))
    """

    name, version = "shuffled_logits", 1
    scheme = "baseline"
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(KD.Params):
        pass

    def build(self, setup: Setup) -> None:
        self.generator = setup.generator

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, labels = self.params, batch.labels
        shuffled = torch.rand(len(labels), generator=self.generator, device=labels.device).argsort()
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, labels),
            "kd": p.kd_weight * kd_loss(student.logits, teacher.logits[shuffled], p.temperature),
        }
