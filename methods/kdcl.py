"""Online knowledge distillation via collaborative learning (Guo et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Read, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.peers import make_peers, peer_models


class KDCL(Method):
    """Networks of several sizes learn together from one target that is better than each of their predictions.

    L = sum_k ce_weight * CE(z_k, y) + kd_weight * T^2 * KL(softmax(z_t / T) || softmax(z_k / T))

    "naive":      z_t = the z_k of the lowest CE(z_k, y), image by image
    "min_logit":  z_t[c] = min_k (z_k[c] - z_k[y])

    z_t is a constant. Each network sees a crop and flip of its own of the same images. The peers are untrained networks
    of the teacher's architecture, since the method is for networks of unlike capacity; the trained teacher is not read.
    The paper's other two targets are left out: "linear" leaves open how its weights are found, and "general" needs
    labelled images that the networks do not train on.

    Known second hand: no code of the authors was found, and the targets are from the paper alone. A reimplementation
    (github.com/shaoeric/Online-Knowledge-Distillation-via-Collaborative-Learning, train.py, commit 1ba5461) has a view
    for each network and a detached target too, but the mean of all logits for it, T = 4 and weights of 0.5; T and the
    weights of 1 here are a choice.
    """

    name, version = "kdcl", 1
    paper = Paper(
        "Online Knowledge Distillation via Collaborative Learning",
        "Qiushan Guo, Xinjiang Wang, Yichao Wu, Zhipeng Yu, Ding Liang, Xiaolin Hu, Ping Luo",
        2020,
    )
    scheme = "online"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "teacher.network", "images"})
    deviations = (
        "further networks are trained beside the student, all from one forward pass, on views of their own",
        "the teacher's architecture is used, its trained weights are not read",
    )

    class Params(Method.Params):
        peers: int = Field(1, ge=1, description="networks beside the student")
        target: Literal["naive", "min_logit"] = Field("min_logit", description="how the common target is made")
        temperature: float = Field(2.0, gt=0, description="T, softens all distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergence from the common target")

    def build(self, setup: Setup) -> None:
        self.peers = make_peers(setup, "teacher", self.params.peers)
        self.images, self.num_views, self.generator = setup.images, setup.num_views, setup.generator

    def inputs(self, batch: Batch) -> Batch:
        size, device = batch.index.shape, batch.index.device
        views = [
            torch.randint(self.num_views, size, generator=self.generator, device=device) for _ in range(len(self.peers))
        ]
        return replace(batch, extra={f"peer {k}": self.images(batch.index, view) for k, view in enumerate(views, 1)})

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        peers = [peer(batch.extra[f"peer {k}"]).logits for k, peer in enumerate(self.peers, 1)]
        logits = torch.stack([student.logits, *peers])
        target = TARGETS[p.target](logits.detach(), batch.labels)
        ce = p.ce_weight * torch.stack([F.cross_entropy(z, batch.labels) for z in logits])
        kd = p.kd_weight * torch.stack([kd_loss(z, target, p.temperature) for z in logits])
        return {"ce": ce[0], "kd": kd[0], "peers_ce": ce[1:].sum(), "peers_kd": kd[1:].sum()}

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return peer_models(self.peers)


def naive_target(logits: Tensor, labels: Tensor) -> Tensor:
    """(K, B, C) logits to (B, C): of each image those of the network with the lowest cross-entropy."""
    loss = -logits.log_softmax(dim=2).gather(2, labels.expand(len(logits), -1)[..., None])
    best = loss.argmin(dim=0, keepdim=True)
    return logits.gather(0, best.expand(1, *logits.shape[1:]))[0]


def min_logit_target(logits: Tensor, labels: Tensor) -> Tensor:
    """(K, B, C) logits to (B, C): less those of the right class, the lowest of each class."""
    right = logits.gather(2, labels.expand(len(logits), -1)[..., None])
    return (logits - right).amin(dim=0)


TARGETS = {"naive": naive_target, "min_logit": min_logit_target}
