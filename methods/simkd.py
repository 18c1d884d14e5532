"""Knowledge distillation with the reused teacher classifier (Chen et al. 2022)."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, NotApplicable, Outputs, Paper, Read, Setup
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD

ROUNDING = 0.02  # of logits, in bfloat16


class SimKD(WithKD):
    """The student's last map, projected, is the teacher's, whose classifier it then uses (eq. 2).

    L = map_weight * mean (r(f_s) - f_t)^2

    Deployed: the teacher's classifier on the mean of r(f_s). So the student grows by r, and its own classifier idles.
    CE and KD, where they weigh something, are of the deployed logits. The teacher must classify the mean of its map.

    As the authors' code (DefangChen/SimKD, models/util.py and helper/loops.py, commit 2b389c3): maps, their sizes,
    projector, initial weights, reduction, weights of 0 for CE and KD, evaluation. There CE and KD, if they are weighed,
    train the student's own classifier, which is then not used; here they are of what is deployed.
    """

    name, version = "simkd", 1
    paper = Paper(
        "Knowledge Distillation with the Reused Teacher Classifier",
        "Defang Chen, Jian-Ping Mei, Hailin Zhang, Can Wang, Yan Feng, Chun Chen",
        2022,
        "2203.14001",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.features", "teacher.logits", "teacher.features", "teacher.network"})

    class Params(WithKD.Params):
        ce_weight: float = Field(0.0, ge=0, description="weight of the cross-entropy with the labels")
        map_weight: float = Field(1.0, ge=0, description="weight of the maps' mean squared distance")
        reduction: int = Field(2, ge=1, description="how many times narrower the projection is than the teacher's map")

    def build(self, setup: Setup) -> None:
        self.classifier = copy.deepcopy(setup.teacher_network.get_classifier())
        if not classifies_mean_of_map(setup, self.classifier):
            raise NotApplicable("the teacher's classifier does not read the mean of its last map")
        self.project = projector(setup.student.features[-1], setup.teacher.features[-1], self.params.reduction)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        projected = self.project(student.features[-1])
        f_t = F.adaptive_avg_pool2d(teacher.features[-1], (projected.shape[2], projected.shape[3]))
        terms = {"map": p.map_weight * F.mse_loss(projected, f_t)}
        logits = self.classifier(projected.mean(dim=(2, 3)))
        if p.ce_weight > 0:
            terms["ce"] = p.ce_weight * F.cross_entropy(logits, batch.labels)
        if p.kd_weight > 0:
            terms["kd"] = p.kd_weight * kd_loss(logits, teacher.logits, p.temperature)
        return terms

    def deployed(self, student: nn.Module, read: Read) -> nn.Module:
        return Reused(student, read, self.project, self.classifier)


class Reused(nn.Module):
    """A student's last map, projected and averaged, under the teacher's classifier."""

    def __init__(self, student: nn.Module, read: Read, project: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.student, self.project, self.classifier = student, project, classifier
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.project(self.read(images).features[-1]).mean(dim=(2, 3)))


@torch.no_grad()
def classifies_mean_of_map(setup: Setup, classifier: nn.Module) -> bool:
    """Whether a teacher's logits are its classifier's on the mean of its last map, but for rounding."""
    teacher = setup.read_teacher(torch.rand(2, *setup.image_shape))
    mean = teacher.features[-1].mean(dim=(2, 3))
    if not isinstance(classifier, nn.Linear) or mean.shape[1] != classifier.in_features:
        return False
    return bool((classifier(mean) - teacher.logits).norm() < ROUNDING * teacher.logits.norm())


def projector(student: tuple[int, int, int], teacher: tuple[int, int, int], reduction: int) -> nn.Sequential:
    """A bottleneck of 1 x 1, 3 x 3 and 1 x 1 convolutions from the student's (C, H, W) to the teacher's channels.

    A map larger than the teacher's is averaged to its size first, in the deployed network as well.
    """
    (in_channels, *size), (channels, *target) = student, teacher
    mid = max(1, channels // reduction)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d((min(size[0], target[0]), min(size[1], target[1]))),
        nn.Conv2d(in_channels, mid, 1, bias=False),
        BatchNorm(mid),
        nn.ReLU(),
        nn.Conv2d(mid, mid, 3, padding=1, bias=False),
        BatchNorm(mid),
        nn.ReLU(),
        nn.Conv2d(mid, channels, 1, bias=False),
        BatchNorm(channels),
        nn.ReLU(),
    )
