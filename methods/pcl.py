"""Peer collaborative learning (Wu and Gong 2021)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, NotApplicable, Outputs, Paper, Read, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.branches import Branch, Branches
from kdbench_methods.parts.ramp import ramp


class PCL(Method):
    """Peers on shared low layers learn from a classifier of all their embeddings and from the others' temporal means.

    L = CE(z_e, y) + sum_k [CE(z_k, y) + w * T^2 * KL(p_e || p_k) + w * mean over l != k of T^2 * KL(q_l || p_k)]

    z_e = W (e_1, ..., e_K): the ensemble. Peer 1 is the student; the others are residual blocks with a classifier on
    its last map but one. Each sees a view of its own. p: softmax(z / T). q: of the mean network and branches, whose
    weights are means over time, (1 - d) of the peers' after each step and d of their own before, d = min(1 - 1 / step,
    mean_decay); both kinds of targets are constants. w = kd_weight * exp(-5 (1 - progress / ramp_share)^2).

    The mean network is deployed; the ensemble stands beside it. Known second hand, from a reimplementation (shaoeric/
    Peer-Collaborative-Learning-for-Online-Knowledge-Distillation, src/losses, src/controller.py, src/trainer.py and
    src/models/resnet.py, commit 6afb473): all terms, T, weights, three peers and views, the means and that they
    normalise by their batches. There, for want of a division by 80, w is 1 in epoch 1 and next to 0 until epoch 80 of
    300; branches are copies of the last stage, here as in `one`.
    """

    name, version = "pcl", 2
    paper = Paper(
        "Peer Collaborative Learning for Online Knowledge Distillation", "Guile Wu, Shaogang Gong", 2021, "2006.04147"
    )
    scheme = "online"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "student.embedding", "student.features", "student.network", "images"})
    deviations = ("each peer sees a view of its own", "the mean of the student's weights over time is deployed")

    class Params(Method.Params):
        branches: int = Field(2, ge=1, description="peers beside the student")
        temperature: float = Field(3.0, gt=0, description="T, softens all distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropies with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergences, after the ramp")
        ramp_share: float = Field(80 / 300, gt=0, le=1, description="part of the training until that weight is full")
        mean_decay: float = Field(0.999, ge=0, lt=1, description="what is kept of the means in a step, at most")

    def build(self, setup: Setup) -> None:
        if len(setup.student.features) < 2:
            raise NotApplicable("the student has no feature map before its last, from which to branch")
        *_, low, high = setup.student.features
        count, classes = self.params.branches, setup.num_classes
        self.branches = Branches(Branch(low, high, classes) for _ in range(count))
        self.ensemble = nn.Linear(setup.student.embedding + count * high[0], classes)
        self.mean = setup.network("student").requires_grad_(False)
        self.mean_branches = copy.deepcopy(self.branches).requires_grad_(False)
        self.student, self.read = Held(setup.student_network), setup.read_student
        self.images, self.num_views, self.random = setup.images, setup.num_views, setup.generator

    def inputs(self, batch: Batch) -> Batch:
        shape, device = (len(self.branches), len(batch.index)), batch.index.device
        views = torch.randint(self.num_views, shape, generator=self.random, device=device)
        return replace(batch, extra={f"view {k}": self.images(batch.index, view) for k, view in enumerate(views)})

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, y = self.params, batch.labels
        self.follow(batch.step)
        views = [batch.extra[f"view {k}"] for k in range(len(self.branches))]
        lows = [self.read(view).features[-2] for view in views]
        embeddings = [branch.embedding(low) for branch, low in zip(self.branches, lows, strict=True)]
        others = [branch.classifier(e) for branch, e in zip(self.branches, embeddings, strict=True)]
        logits = [student.logits, *others]
        z_e = self.ensemble(torch.cat([student.embedding, *embeddings], dim=1))
        means = self.mean_logits(batch.images, views)
        from_means = [
            torch.stack([kd_loss(z, mean, p.temperature) for j, mean in enumerate(means) if j != k]).mean()
            for k, z in enumerate(logits)
        ]
        weight = p.kd_weight * ramp(batch.progress, p.ramp_share)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, y),
            "branches_ce": p.ce_weight * torch.stack([F.cross_entropy(z, y) for z in others]).sum(),
            "ensemble_ce": p.ce_weight * F.cross_entropy(z_e, y),
            "kd": weight * torch.stack([kd_loss(z, z_e.detach(), p.temperature) for z in logits]).sum(),
            "mean_kd": weight * torch.stack(from_means).sum(),
        }

    @torch.no_grad()
    def follow(self, step: Tensor) -> None:
        """Draw the means to the weights that the last step has led to; at first they are these."""
        kept = (1 - 1 / step.clamp(min=1)).clamp(max=self.params.mean_decay)
        own = dict(self.student.network.named_parameters())
        pairs = [(mean, own[name]) for name, mean in self.mean.model.named_parameters()]
        pairs += zip(self.mean_branches.parameters(), self.branches.parameters(), strict=True)
        for mean, weight in pairs:
            mean.lerp_(weight, (1 - kept).to(mean.dtype))

    @torch.no_grad()
    def mean_logits(self, images: Tensor, views: list[Tensor]) -> list[Tensor]:
        """(B, C) logits of the mean peers, each on its own view, which normalise by their batches."""
        self.mean.train()
        self.mean_branches.train()
        lows = [self.mean(view).features[-2] for view in views]
        others = [branch(low) for branch, low in zip(self.mean_branches, lows, strict=True)]
        logits = [self.mean(images).logits, *others]
        self.mean.eval()
        self.mean_branches.eval()
        return logits

    def deployed(self, student: nn.Module, read: Read) -> nn.Module:
        return self.mean.model

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return {"ensemble": Ensemble(student, read, self)}


class Held:
    """The student, kept without being registered as the method's own."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network


class Ensemble(nn.Module):
    """The classifier of all peers' embeddings, of one view."""

    def __init__(self, student: nn.Module, read: Read, method: PCL) -> None:
        super().__init__()
        self.student, self.method = student, method
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        outputs = self.read(images)
        embeddings = [branch.embedding(outputs.features[-2]) for branch in self.method.branches]
        return self.method.ensemble(torch.cat([outputs.embedding, *embeddings], dim=1))
