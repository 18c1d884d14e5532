"""Knowledge distillation by on-the-fly native ensemble (Lan et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, NotApplicable, Outputs, Paper, Read, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.branches import Branch
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.ramp import ramp


class ONE(Method):
    """The student and further branches of its low layers teach themselves by their gated ensemble.

    L = CE(z_e, y) + sum_k [CE(z_k, y) + w * T^2 * KL(softmax(z_e / T) || softmax(z_k / T))]

    z_e = sum_k g_k z_k,    g = softmax(gate(f)),    w = kd_weight * exp(-5 (1 - epoch / ramp_epochs)^2)

    z_0 is the student's own; z_e is a constant in the divergences. f is the student's last feature map but one, from
    which each further branch takes a residual block to the channels of the last map, its mean and a classifier.

    As the authors' code (github.com/Lan1991Xu/ONE_NeurIPS2018, cifar_one.py, models/cifar/resnet.py, loss/kl_loss.py,
    commit 54afde3): three branches, their gate, T = 3, all weights, the ensemble detached in the divergences alone, a
    ramp over 80 of 300 epochs. On purpose otherwise: the code's branches are copies of the last stage, which only for a
    ResNet with one block a stage is this one block, since not every network has stages to copy; and 1e-7 is not added
    to the targets.
    """

    name, version = "one", 2
    paper = Paper(
        "Knowledge Distillation by On-the-Fly Native Ensemble", "Xu Lan, Xiatian Zhu, Shaogang Gong", 2018, "1806.04606"
    )
    scheme = "online"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "student.features"})

    class Params(Method.Params):
        branches: int = Field(2, ge=1, description="branches beside the student's own last layers")
        temperature: float = Field(3.0, gt=0, description="T, softens all distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropies with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergences, after the ramp")
        ramp_epochs: int = Field(80, ge=1, description="epochs until the divergences weigh their full weight")

    def build(self, setup: Setup) -> None:
        if len(setup.student.features) < 2:
            raise NotApplicable("the student has no feature map before its last, from which to branch")
        *_, low, high = setup.student.features
        self.branches = nn.ModuleList(Branch(low, high, setup.num_classes) for _ in range(self.params.branches))
        self.gate = gate(low[0], 1 + self.params.branches)

    def ensemble(self, student: Outputs) -> tuple[Tensor, Tensor]:
        """(K, B, C) logits of all branches, the student's first, and the (B, C) logits of their ensemble."""
        low = student.features[-2]
        logits = torch.stack([student.logits, *(branch(low) for branch in self.branches)])
        return logits, torch.einsum("bk,kbc->bc", self.gate(low), logits)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        logits, ensemble = self.ensemble(student)
        weight = p.kd_weight * ramp(batch.epoch, p.ramp_epochs)
        ce = p.ce_weight * torch.stack([F.cross_entropy(z, batch.labels) for z in logits])
        kd = weight * torch.stack([kd_loss(z, ensemble.detach(), p.temperature) for z in logits])
        return {
            "ce": ce[0],
            "kd": kd[0],
            "branches_ce": ce[1:].sum(),
            "branches_kd": kd[1:].sum(),
            "ensemble_ce": p.ce_weight * F.cross_entropy(ensemble, batch.labels),
        }

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return {"ensemble": Ensemble(student, read, self)}


class Ensemble(nn.Module):
    """All branches under their gate."""

    def __init__(self, student: nn.Module, read: Read, method: ONE) -> None:
        super().__init__()
        self.student, self.method = student, method
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        return self.method.ensemble(self.read(images))[1]


def gate(channels: int, branches: int) -> nn.Sequential:
    """From a (B, C, H, W) map to each branch's share, (B, K)."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1),
        nn.Conv2d(channels, branches, 1),
        BatchNorm(branches),
        nn.ReLU(),
        nn.Flatten(),
        nn.Softmax(dim=1),
    )
