"""Knowledge review (Chen et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.maps import BatchNorm
from kdbench_methods.with_kd import WithKD


class ReviewKD(WithKD):
    """The student's deep maps, fused step by step into its shallow ones, match the teacher's.

    r_L = conv(s_L),   r_l = a * conv(s_l) + b * r_{l+1},   (a, b) = sigmoid(conv[conv(s_l), r_{l+1}])
    L = CE(z_s, y) + min((epoch + 1) / warm_up_epochs, 1) * review_weight * sum_l HCL(out_l(r_l), f_t^l)

    As in the authors' code (dvlab-research/ReviewKD, CIFAR-100/model/reviewkd.py, 6607308) the vectors before the
    classifiers are the last maps, of 1 x 1. Maps are those after the last ReLU, which every network has, where the
    authors take the teacher's before it; they tune review_weight for each pair, from 0.6 to 8.
    """

    name, version = "reviewkd", 1
    paper = Paper(
        "Distilling Knowledge via Knowledge Review",
        "Pengguang Chen, Shu Liu, Hengshuang Zhao, Jiaya Jia",
        2021,
        "2104.09044",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset(
        {f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "features", "embedding")}
    )

    class Params(WithKD.Params):
        review_weight: float = Field(1.0, ge=0, description="weight of the hierarchical context loss")
        warm_up_epochs: int = Field(20, ge=1, description="epochs over which that weight grows to its value")

    def build(self, setup: Setup) -> None:
        assert setup.teacher is not None
        students = [shape[0] for shape in setup.student.features] + [setup.student.embedding]
        teachers = [shape[0] for shape in setup.teacher.features] + [setup.teacher.embedding]
        width = min(512, students[-1])
        self.fusions = nn.ModuleList(
            Fusion(s, width, t, fuses=i + 1 < len(students))
            for i, (s, t) in enumerate(zip(students, teachers, strict=True))
        )

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        review: Tensor | None = None
        losses = []
        for fusion, s, t in reversed(list(zip(self.fusions, pyramid(student), pyramid(teacher), strict=True))):
            reviewed, review = fusion(s, review, t.shape[2:])
            losses.append(context_loss(reviewed, t))
        warm_up = ((batch.epoch + 1) / p.warm_up_epochs).clamp(max=1)
        terms = self.ce_and_kd(batch, student, teacher)
        return {**terms, "review": warm_up * p.review_weight * torch.stack(losses).sum()}


class Fusion(nn.Module):
    """Attention-based fusion of a map with the review of the deeper ones."""

    def __init__(self, in_channels: int, width: int, out_channels: int, *, fuses: bool) -> None:
        super().__init__()
        self.reduce = nn.Sequential(nn.Conv2d(in_channels, width, 1, bias=False), BatchNorm(width))
        self.attend = nn.Sequential(nn.Conv2d(2 * width, 2, 1), nn.Sigmoid()) if fuses else None
        self.out = nn.Sequential(nn.Conv2d(width, out_channels, 3, padding=1, bias=False), BatchNorm(out_channels))
        for conv in (self.reduce[0], self.out[0]):
            nn.init.kaiming_uniform_(conv.weight, a=1)

    def forward(self, feature: Tensor, deeper: Tensor | None, size: torch.Size) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) map and the review of deeper ones to the teacher's shape, and the review with this map."""
        review = self.reduce(feature)
        if self.attend is not None and deeper is not None:
            deeper = F.interpolate(deeper, review.shape[2:])
            a, b = self.attend(torch.cat([review, deeper], dim=1)).split(1, dim=1)
            review = a * review + b * deeper
        review = F.interpolate(review, size)
        return self.out(review), review


def pyramid(outputs: Outputs) -> list[Tensor]:
    """The maps, shallow to deep, and the embedding as a map of 1 x 1."""
    return [*outputs.features, outputs.embedding[:, :, None, None]]


def context_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """HCL: mean squared errors of two (B, C, H, W) maps, whole and averaged to 4, 2 and 1, weighted 1, 1/2, 1/4, ..."""
    levels = [size for size in (4, 2, 1) if size < min(student_map.shape[2:])]
    losses = [F.mse_loss(student_map, teacher_map)]
    losses += [F.mse_loss(*(F.adaptive_avg_pool2d(f, size) for f in (student_map, teacher_map))) for size in levels]
    weights = [2.0**-i for i in range(len(losses))]
    return torch.stack([w * loss for w, loss in zip(weights, losses, strict=True)]).sum() / sum(weights)
