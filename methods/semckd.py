"""Cross-layer distillation with semantic calibration (Chen et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.layers import BatchNorm, same_size
from kdbench_methods.parts.with_kd import WithKD


class SemCKD(WithKD):
    """Each map of the student learns from all maps of the teacher, weighed by a learned attention (eq. 3 to 8).

    L = CE(z_s, y) + KD + map_weight * mean over images and student maps of sum_t a_{s,t} * mean (r_{s,t}(f_s) - f_t)^2

    a_{s,.} = softmax over t of q_s . k_t, where q and k embed an image's row of the batch's similarity matrix F F^T.

    As the authors' code (DefangChen/SemCKD, models/util.py, distiller_zoo/SemCKD.py and helper/loops.py, commit
    ebe5db1): embeddings, projections, reductions, weights, initial weights. Its maps are all that either network has,
    and so are these where both have equally many; else they are those that are matched. There a short last batch is
    skipped; here its rows have zeros at their ends.
    """

    name, version = "semckd", 1
    paper = Paper(
        "Cross-Layer Distillation with Semantic Calibration",
        "Defang Chen, Jian-Ping Mei, Yuan Zhang, Can Wang, Zhe Wang, Yan Feng, Chun Chen",
        2021,
        "2012.03236",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        kd_weight: float = Field(1.0, ge=0, description="weight of the softened teacher's logits")
        map_weight: float = Field(400.0, ge=0, description="weight of the calibrated maps' distance")

    def build(self, setup: Setup) -> None:
        self.width = setup.batch_size
        ins, outs = ([c for c, _, _ in shapes.features] for shapes in (setup.student, setup.teacher))
        self.query = nn.ModuleList(embedding(self.width) for _ in ins)
        self.key = nn.ModuleList(embedding(self.width) for _ in outs)
        self.projections = nn.ModuleList(nn.ModuleList(projection(i, o) for o in outs) for i in ins)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        attention = self.attention(student.features, teacher.features)
        rows: Any = self.projections  # module lists of module lists
        distances = [
            torch.stack([map_distance(r, f_s, f_t) for r, f_t in zip(row, teacher.features, strict=True)], dim=1)
            for row, f_s in zip(rows, student.features, strict=True)
        ]
        calibrated = (attention * torch.stack(distances, dim=1)).sum(dim=2).mean()
        return {**self.ce_and_kd(batch, student, teacher), "map": self.params.map_weight * calibrated}

    def attention(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """(B, S, T): how much each student's map attends to each teacher's, for each image."""
        queries = torch.stack(
            [embed(similarity(f, self.width)) for embed, f in zip(self.query, student, strict=True)], 1
        )
        keys = torch.stack([embed(similarity(f, self.width)) for embed, f in zip(self.key, teacher, strict=True)], 1)
        queries, keys = F.normalize(queries, dim=2), F.normalize(keys, dim=2)
        return (queries @ keys.transpose(1, 2)).softmax(dim=2)


def similarity(feature: Tensor, width: int) -> Tensor:
    """(B, C, H, W) to (B, width): products with all images of the batch."""
    flat = feature.flatten(1)
    return F.pad(flat @ flat.T, (0, width - len(flat)))


def map_distance(project: nn.Module, student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """(B,) mean squared differences of a projected map from a teacher's."""
    student_map, teacher_map = same_size(student_map, teacher_map)
    return (project(student_map) - teacher_map).square().flatten(1).mean(dim=1)


def embedding(width: int) -> nn.Sequential:
    """Two linear layers to a quarter of the width."""
    hidden, out = max(1, width // 2), max(1, width // 4)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, out))


def projection(in_channels: int, channels: int) -> nn.Sequential:
    """1 x 1, 3 x 3 and 1 x 1 convolutions to the teacher's channels."""
    mid = 2 * channels
    return nn.Sequential(
        nn.Conv2d(in_channels, mid, 1, bias=False),
        BatchNorm(mid),
        nn.ReLU(),
        nn.Conv2d(mid, mid, 3, padding=1, bias=False),
        BatchNorm(mid),
        nn.ReLU(),
        nn.Conv2d(mid, channels, 1, bias=False),
    )
