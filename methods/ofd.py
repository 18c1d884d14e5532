"""A comprehensive overhaul of feature distillation (Heo et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.margins import WithMargins, connector, partial_distance


class OFD(WithMargins):
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

    class Params(WithMargins.Params):
        map_weight: float = Field(0.001, ge=0, description="weight of the maps' partial distance")

    def build(self, setup: Setup) -> None:
        channels = [
            (s[0], t[0]) for s, t in zip(setup.student.pre_activations, setup.teacher.pre_activations, strict=True)
        ]
        self.connectors = nn.ModuleList(connector(s, t) for s, t in channels)
        self.make_margins(t for _, t in channels)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        total = []
        maps = zip(self.connectors, student.pre_activations, teacher.pre_activations, strict=True)
        for i, (connect, f_s, f_t) in enumerate(maps):
            margin = self.margin(i, f_t)
            target = F.adaptive_avg_pool2d(f_t, (f_s.shape[2], f_s.shape[3])).maximum(margin)
            total.append(2.0 ** (i - len(self.connectors) + 1) * partial_distance(connect(f_s), target))
        terms = self.ce_and_kd(batch, student, teacher)
        return {**terms, "map": self.params.map_weight * torch.stack(total).sum()}
