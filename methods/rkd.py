"""Relational knowledge distillation (Park et al. 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.with_kd import WithKD


class RKD(WithKD):
    """Distances of pairs and angles of triplets of embeddings are as the teacher's (eq. 4 to 9).

    L = CE(z_s, y) + distance_weight * mean_ij huber(d_ij^s, d_ij^t) + angle_weight * mean_ijk huber(a_ijk^s, a_ijk^t)

    d_ij = |e_i - e_j| / its mean over pairs, a_ijk = cosine of the angle at e_i between e_j and e_k.

    As the authors' code (lenscloth/RKD, metric/loss.py and metric/utils.py, commit 0a6c3c0): value and gradient of both
    parts are equal. That code learns metrics, without labels and on embeddings of unit length; for classification, the
    weights 25 and 50 beside the cross-entropy, on embeddings as they are, are the paper's and those of
    HobbitLong/RepDistiller. Here a batch of one image costs 0, where theirs is not a number.
    """

    name, version = "rkd", 1
    paper = Paper("Relational Knowledge Distillation", "Wonpyo Park, Dongju Kim, Yan Lu, Minsu Cho", 2019, "1904.05068")
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset({"student.logits", "student.embedding", "teacher.logits", "teacher.embedding"})

    class Params(WithKD.Params):
        distance_weight: float = Field(25.0, ge=0, description="weight of the pairs' distances")
        angle_weight: float = Field(50.0, ge=0, description="weight of the triplets' angles")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, e_s, e_t = self.params, student.embedding, teacher.embedding
        return {
            **self.ce_and_kd(batch, student, teacher),
            "distance": p.distance_weight * F.smooth_l1_loss(distances(e_s), distances(e_t)),
            "angle": p.angle_weight * F.smooth_l1_loss(angles(e_s), angles(e_t)),
        }


def distances(embedding: Tensor, eps: float = 1e-12) -> Tensor:
    """(B, D) to (B, B) Euclidean distances in units of the mean over pairs of different images."""
    squares = embedding.square().sum(dim=1)
    squared = (squares[:, None] + squares - 2 * embedding @ embedding.T).clamp(min=eps)
    itself = torch.eye(len(embedding), dtype=torch.bool, device=embedding.device)
    distance = squared.sqrt().masked_fill(itself, 0)
    pairs = (distance > 0).sum().clamp(min=1)
    return distance / (distance.sum() / pairs).clamp(min=eps)


def angles(embedding: Tensor) -> Tensor:
    """(B, D) to (B, B, B) cosines at image i between images j and k; 0 where two of the three are one."""
    direction = F.normalize(embedding - embedding[:, None], dim=2)
    return direction @ direction.transpose(1, 2)
