"""Teacher-free KD by a hand-made teacher, Tf-KD_reg (Yuan et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class TfKDReg(Method):
    """The student matches a virtual teacher that is nearly always right and otherwise knows nothing.

    L = ce_weight * CE(z_s, y) + teacher_weight * KL(softmax(u / T) || softmax(z_s))

    u: `right` for the labelled class, (1 - right) / (C - 1) for each other one.

    As the authors' code (github.com/yuanli2333/Teacher-free-Knowledge-Distillation, my_loss_function.py, commit
    d000ab3), and unlike the paper, the student is not softened, and it is probabilities, not logits, that T divides.
    The code averages the divergence over batch and classes and multiplies it by 100, for 100 classes: that is the sum
    over classes here, which on purpose stays so for other numbers of classes. Weights and T are those of its ResNet-18;
    it chooses others for each network.
    """

    name, version = "tfkd_reg", 1
    paper = Paper(
        "Revisiting Knowledge Distillation via Label Smoothing Regularization",
        "Li Yuan, Francis E. H. Tay, Guilin Li, Tao Wang, Jiashi Feng",
        2020,
        "1909.11723",
    )
    scheme = "self"
    knowledge = ("response",)
    requires = frozenset({"student.logits"})

    class Params(Method.Params):
        temperature: float = Field(20.0, gt=0, description="T, softens the virtual teacher")
        ce_weight: float = Field(0.9, ge=0, description="weight of the cross-entropy with the labels")
        teacher_weight: float = Field(0.1, ge=0, description="weight of the divergence from the virtual teacher")
        right: float = Field(0.99, gt=0, lt=1, description="what the virtual teacher gives to the labelled class")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, z = self.params, student.logits
        virtual = virtual_teacher(batch.labels, z.shape[1], p.right, p.temperature).to(z.dtype)
        divergence = F.kl_div(z.log_softmax(dim=1), virtual, reduction="batchmean", log_target=True)
        return {"ce": p.ce_weight * F.cross_entropy(z, batch.labels), "teacher": p.teacher_weight * divergence}


def virtual_teacher(labels: Tensor, num_classes: int, right: float, temperature: float) -> Tensor:
    """(B,) labels to the (B, C) logarithms of what the virtual teacher says."""
    u = torch.full((len(labels), num_classes), (1 - right) / (num_classes - 1), device=labels.device)
    return (u.scatter(1, labels[:, None], right) / temperature).log_softmax(dim=1)
