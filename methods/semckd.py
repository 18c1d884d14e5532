"""Cross-layer distillation with semantic calibration (Chen et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.maps import BatchNorm, to_smaller
from kdbench_methods.with_kd import WithKD


class SemCKD(WithKD):
    """Each of the student's maps matches all of the teacher's, by an attention that is learned.

    L = CE(z_s, y) + KD + calibration_weight * mean_{i, s} sum_t a_i^{s, t} * mean (proj_{s, t}(f_s^i) - f_t^i)^2
    a_i^s = softmax_t(q_i^s . k_i^t / attention_temperature),   q^s = mlp_s(F_s F_s^T),   k^t = mlp_t(F_t F_t^T)

    F are the maps of a batch as rows, so that row i tells how alike image i is to the others. The larger map of a pair
    is averaged to the smaller. The multilayer perceptrons take so many columns as `similarities` says: those that a
    short batch lacks are 0 (the authors' code, DefangChen/SimKD, models/util.py, d0b9cde, leaves that batch out).
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
        calibration_weight: float = Field(400.0, ge=0, description="weight of the maps' attended differences")
        attention_temperature: float = Field(1.0, gt=0, description="softens the attention to the teacher's maps")
        similarities: int = Field(64, ge=4, description="width of a row of similarities: the paper's batch size")

    def build(self, setup: Setup) -> None:
        assert setup.teacher is not None
        students = [shape[0] for shape in setup.student.features]
        teachers = [shape[0] for shape in setup.teacher.features]
        self.queries = nn.ModuleList(embedding(self.params.similarities) for _ in students)
        self.keys = nn.ModuleList(embedding(self.params.similarities) for _ in teachers)
        self.projections = nn.ModuleList(nn.ModuleList(projection(s, t) for t in teachers) for s in students)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        query = self.embedded(self.queries, student.features)
        key = self.embedded(self.keys, teacher.features)
        attention = F.softmax(query @ key.transpose(1, 2) / p.attention_temperature, dim=2)
        differences = torch.stack(
            [
                torch.stack(
                    [difference(project, s, t) for project, t in zip(row, teacher.features, strict=True)], dim=1
                )
                for row, s in zip(self.projections, student.features, strict=True)
            ],
            dim=1,
        )
        calibration = (attention * differences).sum(dim=2).mean()
        return {**self.ce_and_kd(batch, student, teacher), "calibration": p.calibration_weight * calibration}

    def embedded(self, embeddings: nn.ModuleList, features: list[Tensor]) -> Tensor:
        """Maps of L layers to their queries or keys, (B, L, D) unit vectors."""
        width = self.params.similarities
        rows = [embed(similarities(f, width)) for embed, f in zip(embeddings, features, strict=True)]
        return F.normalize(torch.stack(rows, dim=1), dim=2)


def similarities(feature: Tensor, width: int) -> Tensor:
    """(B, ...) to (B, width): products with the first images of the batch, 0 where it holds fewer."""
    flat = feature.flatten(1)
    products = flat @ flat[:width].T
    return F.pad(products, (0, width - products.shape[1]))


def difference(project: nn.Module, student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Mean squared error of each image, (B,), between the projected map and the teacher's."""
    s, t = to_smaller(student_map, teacher_map)
    return (project(s) - t).square().flatten(1).mean(dim=1)


def embedding(width: int) -> nn.Sequential:
    """From a row of similarities to a query or key of a quarter of its width."""
    return nn.Sequential(nn.Linear(width, width // 2), nn.ReLU(), nn.Linear(width // 2, width // 4))


def projection(in_channels: int, channels: int) -> nn.Sequential:
    """From a student's channels to the teacher's: convolutions of 1 x 1, 3 x 3 and 1 x 1."""
    width = 2 * channels
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 1, bias=False),
        BatchNorm(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        BatchNorm(width),
        nn.ReLU(),
        nn.Conv2d(width, channels, 1, bias=False),
    )
