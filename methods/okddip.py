"""Online knowledge distillation with diverse peers (Chen et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Read, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.peers import make_peers, peer_models
from kdbench_methods.parts.ramp import ramp


class OKDDip(Method):
    """Peers learn each from its own mixture of all peers' logits; the student, their leader, learns from their mean.

    L = sum_a [CE(z_a, y) + w * T^2 * KL(softmax(t_a / T) || softmax(z_a / T))]
        + CE(z_s, y) + w * T^2 * KL(softmax(mean_a z_a / T) || softmax(z_s / T))

    t_a = sum_b A_ab z_b,   A_a = softmax_b(<W_q e_a, W_k e_b>),   w = kd_weight * exp(-5 (1 - epoch / ramp_epochs)^2)

    e: embeddings; W_q and W_k make them narrower. Gradients flow into the targets too, which is how the attention
    learns. The network-based variant: every peer is a whole network of the student's architecture.

    As the authors' code (github.com/DefangChen/OKDDip-AAAI2020, train_GL.py, models/model_cifar/MultiNet.py, utils.py,
    commit c6a05de): three peers and a leader, T = 3, all weights, the attention and its width, gradients into both
    kinds of targets, a ramp over 80 of 300 epochs. On purpose otherwise: 1e-7 is not added to the targets.
    """

    name, version = "okddip", 1
    paper = Paper(
        "Online Knowledge Distillation with Diverse Peers",
        "Defang Chen, Jian-Ping Mei, Can Wang, Yan Feng, Chun Chen",
        2020,
        "1912.00350",
    )
    scheme = "online"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "student.embedding"})
    deviations = ("further networks are trained beside the student, all from one forward pass",)

    class Params(Method.Params):
        peers: int = Field(3, ge=2, description="networks beside the student")
        temperature: float = Field(3.0, gt=0, description="T, softens all distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergences, after the ramp")
        ramp_epochs: int = Field(80, ge=1, description="epochs until the divergences weigh their full weight")
        reduction: int = Field(8, ge=1, description="how many times narrower than the embedding queries and keys are")

    def build(self, setup: Setup) -> None:
        width = setup.student.embedding
        self.peers = make_peers(setup, "student", self.params.peers)
        self.query = nn.Linear(width, max(1, width // self.params.reduction), bias=False)
        self.key = nn.Linear(width, max(1, width // self.params.reduction), bias=False)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        outputs = [peer(batch.images) for peer in self.peers]
        logits = torch.stack([o.logits for o in outputs])
        embeddings = torch.stack([o.embedding for o in outputs])
        targets = mixtures(logits, self.query(embeddings), self.key(embeddings))
        weight = p.kd_weight * ramp(batch.epoch, p.ramp_epochs)
        peers_ce = torch.stack([F.cross_entropy(z, batch.labels) for z in logits])
        peers_kd = torch.stack([kd_loss(z, t, p.temperature) for z, t in zip(logits, targets, strict=True)])
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": weight * kd_loss(student.logits, logits.mean(dim=0), p.temperature),
            "peers_ce": p.ce_weight * peers_ce.sum(),
            "peers_kd": weight * peers_kd.sum(),
        }

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return peer_models(self.peers)


def mixtures(logits: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """(K, B, C) logits to (K, B, C): for each peer the mean of all, weighted by its (K, B, D) query and all keys."""
    attention = torch.einsum("abd,kbd->bak", queries, keys).softmax(dim=2)
    return torch.einsum("bak,kbc->abc", attention, logits)
