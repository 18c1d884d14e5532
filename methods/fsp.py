"""The flow of solution procedure (Yim et al. 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, NotApplicable, Outputs, Paper, Setup, Stage
from kdbench_methods.parts.layers import same_size
from kdbench_methods.parts.with_kd import WithKD


class FSP(WithKD):
    """The student first learns the teacher's flow between layers (eq. 1 and 2), then the task.

    Stage "flow":  L = flow_weight * sum_l mean (G_l^s - G_l^t)^2,    G_l = (1 / HW) * f_l f_{l+1}^T
    Then:          L = CE(z_s, y)

    Both networks need equally many channels. The stem counts as a layer where it has equally many as well, as in the
    paper and in RepDistiller: three flows of a ResNet of three stages.

    As the code of Tian et al. (HobbitLong/RepDistiller, distiller_zoo/FSP.py, helper/pretrain.py and train_student.py,
    commit b84f547): maps, flows, reduction, epochs of the stage, CE alone afterwards; its script's weight of 50 reaches
    neither stage. There stems that differ in channels are refused, and the first learning rate is kept throughout the
    stage; here such stems are left out, and stages follow the recipe as those of all methods do.
    """

    name, version = "fsp", 2
    paper = Paper(
        "A Gift from Knowledge Distillation: Fast Optimization, Network Minimization and Transfer Learning",
        "Junho Yim, Donggyu Joo, Jihoon Bae, Junmo Kim",
        2017,
    )
    scheme = "offline"
    knowledge = ("feature", "relation")
    requires = frozenset(
        {"student.logits", "student.features", "student.stem", "teacher.logits", "teacher.features", "teacher.stem"}
    )

    class Params(WithKD.Params):
        flow_weight: float = Field(1.0, ge=0, description="weight of the flow matrices' distance, in their stage")
        flow_epochs: int = Field(30, ge=1, description="epochs of the stage")

    def build(self, setup: Setup) -> None:
        pairs = zip(setup.student.features, setup.teacher.features, strict=True)
        if other := [f"{s[0]} and {t[0]}" for s, t in pairs if s[0] != t[0]]:
            raise NotApplicable(f"flow matrices need equally many channels; a pair of maps has {other[0]}")
        self.with_stem = [c for c, *_ in setup.student.stem] == [c for c, *_ in setup.teacher.stem]

    def stages(self) -> Sequence[Stage]:
        return [Stage("flow", self.params.flow_epochs, self.flow)]

    def flow(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        loss = flow_loss(self.layers(student), self.layers(teacher))
        return {"flow": self.params.flow_weight * loss}

    def layers(self, outputs: Outputs) -> list[Tensor]:
        """The maps between which there is flow, shallow to deep."""
        return [*outputs.stem, *outputs.features] if self.with_stem else outputs.features

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return self.ce_and_kd(batch, student, teacher)


def flow_loss(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean squared difference of the flow matrices of two lists of (B, C, H, W) maps, summed over their pairs."""
    pairs = zip(flows(student), flows(teacher), strict=True)
    return torch.stack([F.mse_loss(s, t) for s, t in pairs]).sum()


def flows(maps: Sequence[Tensor]) -> list[Tensor]:
    """(B, C_{l+1}, C_l) products of consecutive maps, averaged over positions; the larger map is averaged down."""
    found = []
    for lower, upper in pairwise(maps):
        a, b = (f.flatten(2) for f in same_size(lower, upper))
        found.append(b @ a.transpose(1, 2) / a.shape[2])
    return found
