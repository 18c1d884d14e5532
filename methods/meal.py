"""Learning from a teacher's logits against a discriminator (Shen et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Adam, Batch, Field, Method, Outputs, Paper, Setup


class MEAL(Method):
    """The student, without labels, makes logits that a discriminator cannot tell from the teacher's.

    min_S max_D  similarity_weight * CE(z_s, softmax(z_t)) - adversarial_weight * BCE(D([z_s; z_t]), [student; teacher])

    D: layers from C to C / 2, C / 4 and two outputs, (1, 0) for the student and (0, 1) for the teacher; it moves first
    in each step. One teacher, and the last of the outputs that the paper compares (the others are pooled maps, with a
    discriminator each), as the authors' commands for ensembles do.

    As the authors' code (github.com/AaronHeee/MEAL, loss.py, main.py, models/discriminator.py, commit fd4a23a): both
    losses and their weights, D's layers and labels. On purpose otherwise: its default (--grl False) adds BCE to the
    student's loss, so that the student would help D, its D has a ReLU on its outputs, which can silence it for good,
    and SGD for both at once; here are the paper's game, no last ReLU, and Adam at the same learning rate. There the
    teacher's batch norm uses the batch; here it stays as it was evaluated.
    """

    name, version = "meal", 1
    paper = Paper(
        "MEAL: Multi-Model Ensemble via Adversarial Learning",
        "Zhiqiang Shen, Zhankui He, Xiangyang Xue",
        2019,
        "1812.02425",
    )
    scheme = "offline"
    knowledge = ("response",)
    families = ("adversarial",)
    requires = frozenset({"student.logits", "teacher.logits"})

    class Params(Method.Params):
        ce_weight: float = Field(
            0.0, ge=0, description="weight of the cross-entropy with the labels (none in the paper)"
        )
        similarity_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the teacher")
        adversarial_weight: float = Field(1.0, ge=0, description="weight of the discriminator's error")
        discriminator_rate: float = Field(0.001, gt=0, description="learning rate of the discriminator")

    def build(self, setup: Setup) -> None:
        self.discriminator = discriminator(setup.num_classes)
        self.adam = Adam(self.discriminator.parameters(), self.params.discriminator_rate)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, z_s, z_t = self.params, student.logits, teacher.logits
        self.adam.minimise(error(self.discriminator, z_s.detach(), z_t))
        terms = {
            "similarity": p.similarity_weight * F.cross_entropy(z_s, z_t.softmax(dim=1)),
            "adversarial": -p.adversarial_weight * error(self.discriminator, z_s, z_t),
        }
        if p.ce_weight > 0:
            terms["ce"] = p.ce_weight * F.cross_entropy(z_s, batch.labels)
        return terms


def error(discriminator: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    """Binary cross-entropy of a discriminator that sees both networks' (B, C) logits: a mean over 2 B x 2 outputs."""
    told = discriminator(torch.cat([student, teacher]))
    truth = torch.eye(2, dtype=told.dtype, device=told.device).repeat_interleave(len(student), dim=0)
    return F.binary_cross_entropy_with_logits(told, truth)


def discriminator(classes: int) -> nn.Sequential:
    """(B, C) logits to (B, 2): the student's? the teacher's?"""
    wide, narrow = max(1, classes // 2), max(1, classes // 4)
    return nn.Sequential(nn.Linear(classes, wide), nn.ReLU(), nn.Linear(wide, narrow), nn.ReLU(), nn.Linear(narrow, 2))
