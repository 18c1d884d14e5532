"""A comprehensive overhaul of feature distillation (Heo et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.maps import BatchNorm, to_smaller
from kdbench_methods.with_kd import WithKD


class OFD(WithKD):
    """The student's maps before the ReLU match the teacher's above a margin, below it they need only be low.

    L = CE(z_s, y) + feature_weight * sum_l 2^(l - last) * 1/B sum d_p(max(t_l, m_l), r_l(s_l))
    d_p(t, s) = 0 if s <= t <= 0 else (t - s)^2,   m_l = E[t_l | t_l < 0] a channel,   r_l = batch norm of a 1 x 1 conv

    The margins are means over all training batches so far; the authors' code (clovaai/overhaul-distillation,
    CIFAR-100/distiller.py, 76344a8) computes them from the teacher's batch norm, whose batch statistics it takes
    throughout, where the teacher here is in evaluation mode. Larger maps are averaged to the smaller size.
    """

    name, version = "ofd", 1
    paper = Paper(
        "A Comprehensive Overhaul of Feature Distillation",
        "Byeongho Heo, Jeesoo Kim, Sangdoo Yun, Hyojin Park, Nojun Kwak, Jin Young Choi",
        2019,
        "1904.01866",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.pre_activations", "teacher.logits", "teacher.pre_activations"})

    class Params(WithKD.Params):
        feature_weight: float = Field(1e-3, ge=0, description="weight of the maps' distances, sums over positions")

    def build(self, setup: Setup) -> None:
        assert setup.teacher is not None
        pairs = zip(setup.student.pre_activations, setup.teacher.pre_activations, strict=True)
        self.connectors = nn.ModuleList(connector(s[0], t[0]) for s, t in pairs)
        self.margins = nn.ModuleList(Margin(t[0]) for t in setup.teacher.pre_activations)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        targets = [torch.maximum(t, margin(t)) for margin, t in zip(self.margins, teacher.pre_activations, strict=True)]
        pairs = [to_smaller(s, t) for s, t in zip(student.pre_activations, targets, strict=True)]
        distances = [partial_distance(connect(s), t) for connect, (s, t) in zip(self.connectors, pairs, strict=True)]
        weighted = [distance / 2**depth for depth, distance in enumerate(reversed(distances))]
        terms = self.ce_and_kd(batch, student, teacher)
        return {**terms, "feature": self.params.feature_weight * torch.stack(weighted).sum()}


class Margin(nn.Module):
    """The mean of the negative values of a channel, over all that was seen; 0 before there was one."""

    negative_sum: Tensor
    negatives: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("negative_sum", torch.zeros(channels, 1, 1))
        self.register_buffer("negatives", torch.zeros(channels, 1, 1))

    @torch.no_grad()
    def forward(self, feature: Tensor) -> Tensor:
        """(B, C, H, W), which is added to what was seen, to (C, 1, 1)."""
        self.negative_sum += feature.clamp(max=0).sum(dim=(0, 2, 3))[:, None, None]
        self.negatives += (feature < 0).sum(dim=(0, 2, 3))[:, None, None]
        return self.negative_sum / self.negatives.clamp(min=1)


def partial_distance(student_map: Tensor, target: Tensor) -> Tensor:
    """Squared error of (B, C, H, W) maps where not student <= target <= 0; summed over an image, a mean over images."""
    counts = (student_map > target) | (target > 0)
    return ((target - student_map).square() * counts).sum() / len(target)


def connector(in_channels: int, channels: int) -> nn.Sequential:
    """A 1 x 1 convolution and batch norm."""
    conv = nn.Conv2d(in_channels, channels, 1, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out")
    return nn.Sequential(conv, BatchNorm(channels))
