"""Densely guided knowledge distillation with several teacher assistants (Son et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.takd import TAKD


class DGKD(TAKD):
    """Every network learns from all larger ones: the teacher and the assistants before it.

    Stage "assistant i":  L = ce_weight * CE(z_i, y) + kd_weight * sum_j T^2 * KL(softmax(z_j / T) || softmax(z_i / T))
                          over all j < i
    Then:                 the same for the student, where `dropped` random ones of its teachers are left out of a batch

    z_0 are the teacher's logits. With one assistant and `dropped` = 1 the student has one of the two in each batch.

    As the authors' code (github.com/wonchulSon/DGKD, train.py, commit 2599350): the sum over all larger networks, one
    of them left out at random in a batch. On purpose otherwise: the divergence is summed over classes, as it is
    defined, where the code averages it; T and the weights are those of `kd` (the code's are 5, 0 and 1), so that the
    assistants are the only difference; and networks hand on their last epoch, not that which was best on test data.
    """

    name, version = "dgkd", 1
    paper = Paper(
        "Densely Guided Knowledge Distillation using Multiple Teacher Assistants",
        "Wonchul Son, Jaemin Na, Junyong Choi, Wonjun Hwang",
        2021,
        "2009.08825",
    )
    families = ("capacity_gap", "multi_teacher")

    class Params(TAKD.Params):
        dropped: int = Field(1, ge=0, description="teachers of the student that are left out in a batch; one stays")

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.generator = setup.generator

    def reads(self, learner: int) -> frozenset[str]:
        return frozenset({"teacher.logits"})

    def taught_by(self, learner: int, images: Tensor, teacher: Outputs) -> list[Tensor]:
        return [teacher.logits, *(self.assistants[i].frozen(images).logits for i in range(learner))]

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        teachers = self.taught_by(len(self.assistants), batch.images, teacher)
        terms = torch.stack([kd_loss(student.logits, z, p.temperature) for z in teachers])
        rank = torch.rand(len(teachers), generator=self.generator, device=terms.device).argsort()
        kept = rank >= min(p.dropped, len(teachers) - 1)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * (kept * terms).sum(),
        }
