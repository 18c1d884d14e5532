"""Attention-based feature distillation (Ji et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.maps import BatchNorm, averaged
from kdbench_methods.with_kd import WithKD


class AFD(WithKD):
    """Each of the teacher's attention maps is matched by all of the student's, to the degree that is learned.

    L = CE(z_s, y) + KD + attention_weight * sum_t mean_i sum_s a_i^{t, s} * mean (Q(f_s^i) - Q(f_t^i))^2
    a_i^t = softmax_s((q_i^t . W_t k_i^s + p_t . p_s) / sqrt(dim)),   Q(f) = vec(mean_c f^2) / |vec(mean_c f^2)|

    Queries and keys are linear in the maps' means over positions, batch normalised; the keys pass a ReLU. p are learned
    vectors of the maps' places. The student's mean_c f^2 is averaged to the teacher's size. As the authors' code
    (clovaai/attention-feature-distillation, distill/AFD.py, 42a3077), but with the matched maps where it takes those of
    every block.
    """

    name, version = "afd", 1
    paper = Paper(
        "Show, Attend and Distill: Knowledge Distillation via Attention-based Feature Matching",
        "Mingi Ji, Byeongho Heo, Sungrae Park",
        2021,
        "2102.02973",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        kd_weight: float = Field(0.9, ge=0, description="weight of the softened teacher's logits")
        attention_weight: float = Field(200.0, ge=0, description="weight of the attended differences")
        dim: int = Field(128, ge=1, description="width of queries and keys")

    def build(self, setup: Setup) -> None:
        assert setup.teacher is not None
        dim, students, teachers = self.params.dim, setup.student.features, setup.teacher.features
        self.queries = nn.ModuleList(linear(channels, dim) for channels, _, _ in teachers)
        self.keys = nn.ModuleList(nn.Sequential(linear(channels, dim), nn.ReLU()) for channels, _, _ in students)
        self.bilinear = linear(dim, len(teachers) * dim)
        self.bilinear[1].bias.requires_grad_(False)  # the same for all of the student's maps, unseen by the softmax
        self.teacher_places = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(teachers), dim)))
        self.student_places = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(students), dim)))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        attention = self.attention(student.features, teacher.features)
        differences = torch.stack(
            [torch.stack([difference(s, t) for s in student.features], dim=1) for t in teacher.features], dim=1
        )
        attended = (attention * differences).sum(dim=(1, 2)).mean()
        return {**self.ce_and_kd(batch, student, teacher), "attention": p.attention_weight * attended}

    def attention(self, student_maps: list[Tensor], teacher_maps: list[Tensor]) -> Tensor:
        """(B, T, S): how much each of the teacher's maps attends to each of the student's; sums to 1 over these."""
        query = torch.stack([q(f.mean(dim=(2, 3))) for q, f in zip(self.queries, teacher_maps, strict=True)], dim=1)
        key = torch.stack([k(f.mean(dim=(2, 3))) for k, f in zip(self.keys, student_maps, strict=True)], dim=1)
        key = self.bilinear(key.flatten(0, 1)).unflatten(1, (query.shape[1], -1)).unflatten(0, key.shape[:2])
        places = self.teacher_places @ self.student_places.T
        scores = torch.einsum("btd,bstd->bts", query, key) + places
        return F.softmax(scores / self.params.dim**0.5, dim=2)


def difference(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """(B,): mean squared difference of the attention maps of two (B, C, H, W) maps, in the teacher's size."""
    energies = (f.square().mean(dim=1, keepdim=True) for f in (student_map, teacher_map))
    height, width = teacher_map.shape[2:]
    q_s, q_t = (F.normalize(averaged(e, (height, width)).flatten(1), dim=1) for e in energies)
    return (q_s - q_t).square().mean(dim=1)


def linear(in_features: int, out_features: int) -> nn.Sequential:
    """A linear map, batch normalised."""
    return nn.Sequential(nn.Linear(in_features, out_features, bias=False), BatchNorm(out_features))
