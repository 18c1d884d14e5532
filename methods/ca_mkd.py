"""Confidence-aware multi-teacher knowledge distillation (Zhang et al. 2022)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, NotApplicable, Outputs, Paper, Setup
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.team import further_teachers


class CAMKD(Method):
    """Of several teachers, the student follows for each image those whose answers are near the label.

    L = ce_weight * CE(z_s, y) + kd_weight / K * sum_k w_k * T^2 * KL(softmax(z_k / T) || softmax(z_s / T))
        + embedding_weight / K * sum_k v_k * mean (r_k(e_s) - e_k)^2        (averaged over the batch)

    w_k = (1 - softmax_k(CE(z_k, y))) / (K - 1);    v_k: the same for the student's embedding e_s under r_k and
    teacher k's classifier; the last term is left out of the first epoch

    As the authors' code (github.com/Rorozhl/CA-MKD, distiller_zoo/CAMKD.py, train_distill_multi_teacher of
    helper/loops.py, CalWeight of models/util.py, commit c2f39a9): T, the weights (-r 1 -a 1 -b 50), both sums divided
    by K, gradients through v, the first epoch without the last term. On purpose otherwise: the code projects the last
    map to each teacher's channels, with a ReLU at the end, and skips short batches; here it is the embedding, which
    teachers of every kind have, and no ReLU, since that of a transformer has negative values.
    """

    name, version = "ca_mkd", 2
    paper = Paper(
        "Confidence-Aware Multi-Teacher Knowledge Distillation",
        "Hailin Zhang, Defang Chen, Can Wang",
        2022,
        "2201.00007",
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    families = ("multi_teacher",)
    requires = frozenset(
        {"student.logits", "student.embedding", "teacher.logits", "teacher.embedding", "teacher.network", "team"}
    )
    checked_with = {"plain_epochs": 0}

    class Params(Method.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens all distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(1.0, ge=0, description="weight of the divergences from the teachers")
        embedding_weight: float = Field(50.0, ge=0, description="weight of the distances from the teachers' embeddings")
        plain_epochs: int = Field(1, ge=0, description="first epochs without the distances")

    def build(self, setup: Setup) -> None:
        self.others = further_teachers(setup)
        classifiers = [network.get_classifier() for network in (setup.teacher_network, *setup.team_networks)]
        if not all(isinstance(classifier, nn.Linear) for classifier in classifiers):
            raise NotApplicable("a teacher's classifier is not one linear layer")
        self.classifiers = nn.ModuleList(copy.deepcopy(classifier) for classifier in classifiers)
        self.project = nn.ModuleList(projector(setup.student.embedding, c.in_features) for c in classifiers)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        with torch.no_grad():
            team = [teacher, *(read(batch.images) for read in self.others)]
        projected = [project(student.embedding[:, :, None, None]).flatten(1) for project in self.project]
        answers = [classify(e) for classify, e in zip(self.classifiers, projected, strict=True)]
        distances = [(e - t.embedding).square().mean(dim=1) for e, t in zip(projected, team, strict=True)]
        divergences = [kd_losses(student.logits, t.logits, p.temperature) for t in team]
        w = confidences(torch.stack([t.logits for t in team]), batch.labels)
        v = confidences(torch.stack(answers), batch.labels)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * (w * torch.stack(divergences)).mean(),
            "embedding": p.embedding_weight * (v * torch.stack(distances)).mean() * (batch.epoch >= p.plain_epochs),
        }


def confidences(logits: Tensor, labels: Tensor) -> Tensor:
    """(K, B, C) logits to (K, B): the less a teacher errs on an image, the more it weighs; the sum over them is 1."""
    log_right = logits.log_softmax(dim=2).gather(2, labels.expand(len(logits), -1)[..., None])[..., 0]
    return (1 - (-log_right).softmax(dim=0)) / (len(logits) - 1)


def kd_losses(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """T^2 * KL of the softened (B, C) logits for each image: (B,)."""
    log_s, log_t = ((z / temperature).log_softmax(dim=1) for z in (student_logits, teacher_logits))
    return temperature**2 * F.kl_div(log_s, log_t, reduction="none", log_target=True).sum(dim=1)


def projector(width: int, target: int) -> nn.Sequential:
    """A linear layer with batch norm, of (B, D, 1, 1) embeddings."""
    return nn.Sequential(nn.Conv2d(width, target, 1), BatchNorm(target))
