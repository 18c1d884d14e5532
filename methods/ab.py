"""Activation boundaries (Heo et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup, Stage
from kdbench_methods.fitnets import regressor
from kdbench_methods.parts.layers import same_size
from kdbench_methods.parts.with_kd import WithKD


class AB(WithKD):
    """The student's neurons first learn to be active where the teacher's are (eq. 5 and 6), then the task.

    Stage "boundary":  L = boundary_weight * sum_l 2^(l - n + 1) * sum of hinge(r_l(f_l^s), f_l^t) / B
    Then:              L = CE(z_s, y)

    hinge(s, t) = max(0, s + m)^2 where t <= 0, max(0, m - s)^2 elsewhere, on maps before their ReLU. r_l is a
    convolution with batch norm where shapes differ.

    As the code of Tian et al. (HobbitLong/RepDistiller, distiller_zoo/AB.py, models/util.py and helper/pretrain.py,
    commit b84f547): maps, connectors, hinge, reduction, weights, epochs of the stage. The authors' for CIFAR-10
    (bhheo/AB_distillation, cifar10_AB_distillation.py, commit a7701d3) has the same hinge and weights; its connectors
    are all 1 x 1 and begin otherwise, the teacher's batch norm uses the batch, and KD alone follows unless switched
    off. Both keep the first learning rate throughout the stage; here stages follow the recipe, as those of all methods
    do. A smaller student's map than the teacher's, refused there but for half the size, is enlarged here.
    """

    name, version = "ab", 1
    paper = Paper(
        "Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons",
        "Byeongho Heo, Minsik Lee, Sangdoo Yun, Jin Young Choi",
        2019,
        "1811.03233",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.pre_activations", "teacher.logits", "teacher.pre_activations"})

    class Params(WithKD.Params):
        boundary_weight: float = Field(0.003, ge=0, description="weight of the boundaries, in their stage")
        margin: float = Field(1.0, gt=0, description="m, how far from the boundary a neuron should be")
        boundary_epochs: int = Field(30, ge=1, description="epochs of the stage")

    def build(self, setup: Setup) -> None:
        pairs = zip(setup.student.pre_activations, setup.teacher.pre_activations, strict=True)
        self.connectors = nn.ModuleList(nn.Identity() if s == t else regressor(s, t)[:-1] for s, t in pairs)

    def stages(self) -> Sequence[Stage]:
        return [Stage("boundary", self.params.boundary_epochs, self.boundary)]

    def boundary(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        connected = [r(f) for r, f in zip(self.connectors, student.pre_activations, strict=True)]
        boundary = boundary_loss(connected, teacher.pre_activations, self.params.margin)
        return {"boundary": self.params.boundary_weight * boundary}

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.ce_and_kd(batch, student, teacher)


def boundary_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], margin: float) -> Tensor:
    """Squared hinges of lists of (B, C, H, W) maps before their ReLU: summed, over B; each map counts half the next."""
    n = len(student)
    losses = [2.0 ** (i - n + 1) * hinge(s, t, margin) for i, (s, t) in enumerate(zip(student, teacher, strict=True))]
    return torch.stack(losses).sum()


def hinge(student: Tensor, teacher: Tensor, margin: float) -> Tensor:
    """Squared hinge between a map and the signs of another: summed, averaged over the batch."""
    student, teacher = same_size(student, teacher)
    off, on = (student + margin).relu().square(), (margin - student).relu().square()
    return torch.where(teacher > 0, on, off).sum() / len(student)
