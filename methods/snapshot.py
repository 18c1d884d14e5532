"""Snapshot distillation (Yang et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, OwnNetwork, Paper, Setup, Stage


class Snapshot(Method):
    """The student learns from itself as it was when the learning rate's last cycle ended.

    First cycle:  L = CE(z_s, y)
    Then:         L = (1 + 1 / T) * CE(z_s, y) + kd_weight * KL(softmax(z' / T) || softmax(z_s))

    z': logits of the snapshot, in evaluation mode. Only the teacher is softened, for which the labels weigh more. The
    schedule of the learning rate runs once a cycle; what whole epochs do not fill is left out.

    Known second hand: no code of the authors was found. As a reimplementation (github.com/DefangChen/Self-KD,
    train_SD.py, commit 52976ff): the loss, T, weights and the number of cycles, the snapshot in evaluation mode. There
    a cross-entropy with the teacher stands for the divergence, which has the same gradient, and the learning rate falls
    along cosines; the schedule here is the suite's.
    """

    name, version = "snapshot", 1
    paper = Paper(
        "Snapshot Distillation: Teacher-Student Optimization in One Generation",
        "Chenglin Yang, Lingxi Xie, Chi Su, Alan L. Yuille",
        2019,
        "1812.00123",
    )
    scheme = "self"
    knowledge = ("response",)
    requires = frozenset({"student.logits"})
    expected_failed_checks = {"uses_every_weight": "there is no teacher in the first cycle, all that the check runs"}

    class Params(Method.Params):
        cycles: int = Field(4, ge=2, description="how often the learning rate's schedule runs")
        temperature: float = Field(3.0, gt=0, description="T, softens the teacher alone")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergence from the snapshot")

    snapshot: OwnNetwork
    taken: Tensor

    def build(self, setup: Setup) -> None:
        self.snapshot = setup.network("student").requires_grad_(False)
        self.register_buffer("taken", torch.tensor(False))

    def main(self, epochs: int) -> Stage:
        cycles = self.params.cycles
        self.length = max(1, epochs // cycles)
        return Stage("", self.length * cycles, self.loss, cycles=cycles)

    def before_epoch(self, stage: str, epoch: int, student: nn.Module) -> None:
        if epoch > 0 and epoch % self.length == 0:
            self.snapshot.model.load_state_dict(student.state_dict())
            self.taken.fill_(True)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, z = self.params, student.logits
        ce = F.cross_entropy(z, batch.labels)
        kd = soft_teacher_loss(z, self.snapshot.frozen(batch.images).logits, p.temperature)
        return {
            "ce": torch.where(self.taken, (1 + 1 / p.temperature) * ce, ce),
            "kd": p.kd_weight * torch.where(self.taken, kd, torch.zeros_like(kd)),
        }


def soft_teacher_loss(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """KL of the student's distribution from the softened teacher's, of (B, C) logits: averaged over the batch."""
    student, teacher = student_logits.log_softmax(dim=1), (teacher_logits / temperature).log_softmax(dim=1)
    return F.kl_div(student, teacher, reduction="batchmean", log_target=True)
