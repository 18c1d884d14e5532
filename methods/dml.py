"""Deep mutual learning (Zhang et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Read, Setup
from kdbench_methods.parts.peers import all_logits, make_peers, peer_models


class DML(Method):
    """Networks that learn together, each from the labels and from the others' class probabilities.

    L_k = ce_weight * CE(z_k, y) + kd_weight * mean over l != k of KL(softmax(z_l) || softmax(z_k)),    L = sum_k L_k

    p_l is a constant in L_k. The student is the network with the plain student's initial weights; the peers have the
    same architecture and initial weights of their own.

    As the authors' code (github.com/YingZhangDUT/Deep-Mutual-Learning, train_models.py, commit 34a2058, in TensorFlow):
    for two networks the losses, without a temperature, and each network's gradient of its own loss alone. On purpose
    otherwise: paper and code update the networks in turn, from predictions made anew (the code's even of another
    batch), here all at once from one forward pass; the code adds the divergences from several networks where the
    paper, as here, averages them; 1e-8 in its logarithm is not needed with log-softmax; its Adam and label smoothing
    for Market-1501 are the suite's recipe here.
    """

    name, version = "dml", 1
    paper = Paper(
        "Deep Mutual Learning", "Ying Zhang, Tao Xiang, Timothy M. Hospedales, Huchuan Lu", 2018, "1706.00384"
    )
    scheme = "online"
    knowledge = ("response",)
    requires = frozenset({"student.logits"})
    deviations: ClassVar[tuple[str, ...]] = (
        "further networks are trained beside the student, all from one forward pass",
    )
    peer_role: ClassVar[str] = "student"

    class Params(Method.Params):
        peers: int = Field(1, ge=1, description="networks beside the student")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergence from the other networks")

    def build(self, setup: Setup) -> None:
        self.peers = make_peers(setup, self.peer_role, self.params.peers)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        logits = all_logits(student, self.peers, batch.images)
        ce = p.ce_weight * torch.stack([F.cross_entropy(z, batch.labels) for z in logits])
        kd = p.kd_weight * mutual_losses(logits)
        return {"ce": ce[0], "kd": kd[0], "peers_ce": ce[1:].sum(), "peers_kd": kd[1:].sum()}

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return peer_models(self.peers)


def mutual_losses(logits: Tensor) -> Tensor:
    """(K, B, C) logits to (K,): each network's divergence from the others, averaged over them and over the batch."""
    log_p = logits.log_softmax(dim=2)
    own, others = log_p[None], log_p.detach()[:, None]
    divergence = F.kl_div(own, others, reduction="none", log_target=True).sum(dim=3).mean(dim=2)
    return divergence.sum(dim=0) / (len(logits) - 1)  # that from itself is zero
