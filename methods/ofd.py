"""A comprehensive overhaul of feature distillation (Heo et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD


class OFD(WithKD):
    """The student's maps before their ReLU follow the teacher's where these are active, else stay low (eq. 1 to 3).

    L = CE(z_s, y) + map_weight * sum_l 2^(l - n + 1) * sum of d(r_l(f_l^s), max(f_l^t, m_l)) / B
    d(s, t) = 0 where s <= t <= 0, (s - t)^2 elsewhere

    r_l is a 1 x 1 convolution with batch norm. The margin m of a channel, its mean over negative values, is measured
    while training (the paper's first way), over all batches so far.

    As the authors' code (clovaai/overhaul-distillation, CIFAR-100/distiller.py and train_with_distillation.py, commit
    76344a8): maps, connectors, initial weights, distance, reduction, weights. There margins are computed from the
    weights of the batch norm before each ReLU; here they are measured, because networks do not say which layer that is
    and after a sum of branches there is none. There the teacher's batch norm uses the batch; here the teacher stays as
    it was evaluated. A teacher's map of another size, refused there, is averaged to the student's as in mdistiller
    (megvii-research/mdistiller, distillers/OFD.py, commit a08d46f).
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
        map_weight: float = Field(0.001, ge=0, description="weight of the maps' partial distance")

    def build(self, setup: Setup) -> None:
        channels = [
            (s[0], t[0]) for s, t in zip(setup.student.pre_activations, setup.teacher.pre_activations, strict=True)
        ]
        self.connectors = nn.ModuleList(connector(s, t) for s, t in channels)
        for i, (_, t) in enumerate(channels):
            self.register_buffer(f"negative_sum_{i}", torch.zeros(t))
            self.register_buffer(f"negative_count_{i}", torch.zeros(t))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        total = []
        maps = zip(self.connectors, student.pre_activations, teacher.pre_activations, strict=True)
        for i, (connect, f_s, f_t) in enumerate(maps):
            margin = self.margin(i, f_t)
            target = F.adaptive_avg_pool2d(f_t, (f_s.shape[2], f_s.shape[3])).maximum(margin)
            total.append(2.0 ** (i - len(self.connectors) + 1) * partial_distance(connect(f_s), target))
        terms = self.ce_and_kd(batch, student, teacher)
        return {**terms, "map": self.params.map_weight * torch.stack(total).sum()}

    @torch.no_grad()
    def margin(self, i: int, teacher_map: Tensor) -> Tensor:
        """(C, 1, 1): mean of each channel's negative values, in this batch and all before."""
        total, count = getattr(self, f"negative_sum_{i}"), getattr(self, f"negative_count_{i}")
        total += teacher_map.clamp(max=0).sum(dim=(0, 2, 3))
        count += (teacher_map < 0).sum(dim=(0, 2, 3))
        return (total / count.clamp(min=1))[:, None, None]


def partial_distance(student: Tensor, target: Tensor) -> Tensor:
    """Squared difference of (B, C, H, W) maps but where student <= target <= 0: summed, averaged over the batch."""
    low = (student <= target) & (target <= 0)
    return (student - target).square().masked_fill(low, 0).sum() / len(student)


def connector(in_channels: int, channels: int) -> nn.Sequential:
    """A 1 x 1 convolution, initialised as the authors do, and batch norm."""
    conv = nn.Conv2d(in_channels, channels, 1, bias=False)
    nn.init.normal_(conv.weight, std=(2 / channels) ** 0.5)
    return nn.Sequential(conv, BatchNorm(channels))
