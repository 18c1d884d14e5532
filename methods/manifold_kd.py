"""Fine-grained manifold distillation (Hao et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.layers import same_size
from kdbench_methods.parts.with_kd import WithKD

MOST = 14  # patches along a side; more are averaged


class ManifoldKD(WithKD):
    """Patches of the student relate to each other, within and across images, as the teacher's do.

    L = ce_weight * CE(z_s, y) + KD + mean_l [patch_weight * d_l(P) + sample_weight * d_l(S) + random_weight * d_l(R)]
    d_l(G) = mean over pairs i, j in a group of G of (<u_i^t, u_j^t> - <u_i^s, u_j^s>)^2

    u: a patch of a map, divided by its norm. P: groups of all patches of an image. S: of all images' patches at one
    position. R: one group of `drawn` patches, drawn anew for each map.

    As the authors' code (Hao840/manifold-distillation, losses.py and README.md, commit 1096b82), for transformers: all
    terms, no cross-entropy with the labels, weights and T. There eight blocks from both ends are compared, which are
    listed for each pair; here the maps of the suite's networks, at each quarter of a transformer's depth. There both
    networks have equally many patches; here the larger map is averaged to the smaller, and of more than 14 x 14
    positions to so many. There labels are smoothed and images mixed by the recipe.
    """

    name, version = "manifold_kd", 1
    paper = Paper(
        "Learning Efficient Vision Transformers via Fine-Grained Manifold Distillation",
        "Zhiwei Hao, Jianyuan Guo, Ding Jia, Kai Han, Yehui Tang, Chao Zhang, Han Hu, Yunhe Wang",
        2022,
        "2107.01378",
    )
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset(f"{role}.{what}" for role in ("student", "teacher") for what in ("logits", "features"))

    class Params(WithKD.Params):
        ce_weight: float = Field(0.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the softened teacher's logits")
        temperature: float = Field(1.0, gt=0, description="T, softens both distributions of the KD term")
        patch_weight: float = Field(4.0, ge=0, description="weight of relations within an image")
        sample_weight: float = Field(0.1, ge=0, description="weight of relations across images, at one position")
        random_weight: float = Field(0.2, ge=0, description="weight of relations of drawn patches")
        drawn: int = Field(192, ge=2, description="patches that are drawn, at most all")

    def build(self, setup: Setup) -> None:
        self.generator = setup.generator

    def draw(self, count: int, device: torch.device) -> Tensor:
        """(K,) positions below a count, each at most once."""
        return torch.rand(count, generator=self.generator, device=device).argsort()[: self.params.drawn]

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        found = []
        for maps in zip(student.features, teacher.features, strict=True):
            s, t = (patches(f) for f in same_size(*maps))
            drawn = self.draw(s.shape[0] * s.shape[1], s.device)
            within, across = distance(s, t), distance(s.transpose(0, 1), t.transpose(0, 1))
            found.append(torch.stack([within, across, distance(s.flatten(0, 1)[drawn], t.flatten(0, 1)[drawn])]))
        within, across, random = torch.stack(found).mean(dim=0)
        return {
            **self.ce_and_kd(batch, student, teacher),
            "patch": p.patch_weight * within,
            "sample": p.sample_weight * across,
            "random": p.random_weight * random,
        }


def patches(feature: Tensor) -> Tensor:
    """(B, C, H, W) to (B, N, C), each patch of norm 1; at most 14 x 14 of them."""
    size = (min(feature.shape[2], MOST), min(feature.shape[3], MOST))
    return F.normalize(F.adaptive_avg_pool2d(feature, size).flatten(2).mT, dim=2)


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of the inner products within groups (..., N, C) of vectors."""
    return F.mse_loss(student @ student.mT, teacher @ teacher.mT)
