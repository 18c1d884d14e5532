"""Show, attend and distill: attention-based feature distillation (Ji et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD


class AFD(WithKD):
    """Every teacher's map teaches all of the student's, weighed by an attention from their channel means (eq. 1 to 8).

    L = CE(z_s, y) + kd_weight * KD + attention_weight * sum_t mean_i sum_s a_{t,s} * mean (Q_t(f_s) - Q_t(f_t))^2

    a_{t,.} = softmax over s of (query_t . key_{s,t} + p_t . p_s) / sqrt(dim);
    Q_t(f) = mean_c f_c^2 in the size of map t, made unit length.

    As the authors' code (clovaai/attention-feature-distillation, distill/AFD.py and utils.py, commit dd990d0): queries,
    keys, positions, reductions, weights, initial weights. There every block's map is a candidate and a term of the sum;
    here the matched maps are, the only ones that all networks offer, so that the sum has fewer terms (three of nine of
    a ResNet-20) under the same weight.
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
        attention_weight: float = Field(200.0, ge=0, description="weight of the attended maps' distance")
        dim: int = Field(128, ge=1, description="width of queries and keys")

    def build(self, setup: Setup) -> None:
        ins, outs = ([c for c, _, _ in shapes.features] for shapes in (setup.student, setup.teacher))
        dim = self.params.dim
        self.query = nn.ModuleList(Embedding(c, dim) for c in outs)
        self.key = nn.ModuleList(Embedding(c, dim) for c in ins)
        self.bilinear = Embedding(dim, dim * len(outs))
        self.position_t = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(outs), dim)))
        self.position_s = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(ins), dim)))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        attention = self.attention(student.features, teacher.features)
        distances = attention_distances(student.features, teacher.features)
        attended = (attention * distances).sum(dim=2).mean(dim=0).sum()
        return {**self.ce_and_kd(batch, student, teacher), "attended": self.params.attention_weight * attended}

    def attention(self, student: list[Tensor], teacher: list[Tensor]) -> Tensor:
        """(B, T, S): how much each teacher's map gives to each student's, for each image."""
        queries = torch.stack([q(f.mean(dim=(2, 3))) for q, f in zip(self.query, teacher, strict=True)], dim=1)
        keys = torch.stack([k(f.mean(dim=(2, 3))).relu() for k, f in zip(self.key, student, strict=True)], dim=1)
        keys = self.bilinear(keys.flatten(0, 1)).reshape(*keys.shape[:2], len(teacher), -1)
        scores = torch.einsum("bstd,btd->bts", keys, queries) + self.position_t @ self.position_s.T
        return (scores / self.params.dim**0.5).softmax(dim=2)


class Embedding(nn.Module):
    """A linear map with batch norm, of (B, C) vectors."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(in_channels, channels), BatchNorm(channels)

    def forward(self, vectors: Tensor) -> Tensor:
        return self.norm(self.linear(vectors)[:, :, None, None])[:, :, 0, 0]


def attention_distances(student: list[Tensor], teacher: list[Tensor]) -> Tensor:
    """(B, T, S): mean squared differences of the attention maps of all pairs, in the teacher's size."""
    rows = []
    for f_t in teacher:
        size = (f_t.shape[2], f_t.shape[3])
        q_t = F.normalize(f_t.square().mean(dim=1).flatten(1), dim=1)
        resized = (F.adaptive_avg_pool2d(f_s.square().mean(dim=1, keepdim=True), size).flatten(1) for f_s in student)
        rows.append(torch.stack([(F.normalize(q_s, dim=1) - q_t).square().mean(dim=1) for q_s in resized], dim=1))
    return torch.stack(rows, dim=1)
