"""Probabilistic knowledge transfer (Passalis & Tefas 2018)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.with_kd import WithKD


class PKT(WithKD):
    """The probability that an image is another one's neighbour is as under the teacher (eq. 2 to 6, cosine kernel).

    L = CE(z_s, y) + neighbour_weight * mean_ij p_ij^t * log(p_ij^t / p_ij^s),    p_ij = k(e_i, e_j) / sum_j k(e_i, e_j)

    k(a, b) = (cos(a, b) + 1) / 2. The mean over all B^2 pairs explains the large weight.

    As the authors' code (passalis/probabilistic_kt, nn/pkt.py, commit a58fd1b): value and gradient are equal, with both
    of their 1e-7. That code trains with this term alone, by Adam; its weight beside the cross-entropy is that of
    HobbitLong/RepDistiller (commit b84f547, -b 30000). Here an embedding of zeros has a finite gradient.
    """

    name, version = "pkt", 1
    paper = Paper(
        "Learning Deep Representations with Probabilistic Knowledge Transfer",
        "Nikolaos Passalis, Anastasios Tefas",
        2018,
        "1803.10837",
    )
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset({"student.logits", "student.embedding", "teacher.logits", "teacher.embedding"})

    class Params(WithKD.Params):
        neighbour_weight: float = Field(30000.0, ge=0, description="weight of the neighbour probabilities' divergence")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        neighbour = neighbour_loss(student.embedding, teacher.embedding)
        return {**self.ce_and_kd(batch, student, teacher), "neighbour": self.params.neighbour_weight * neighbour}


def neighbour_loss(student: Tensor, teacher: Tensor, eps: float = 1e-7) -> Tensor:
    """Divergence of the neighbour probabilities of two (B, D) embeddings, averaged over the (B, B) pairs."""
    p_s, p_t = probabilities(student, eps), probabilities(teacher, eps)
    return (p_t * ((p_t + eps) / (p_s + eps)).log()).mean()


def probabilities(embedding: Tensor, eps: float) -> Tensor:
    """(B, D) to (B, B): each row a distribution over the batch."""
    unit = embedding / (embedding.square().sum(dim=1, keepdim=True).clamp(min=eps**2).sqrt() + eps)
    kernel = (unit @ unit.T + 1) / 2
    return F.normalize(kernel, p=1, dim=1)
