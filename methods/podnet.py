"""Pooled outputs distillation, of PODNet (Douillard et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.predecessor import Predecessor


class PODNet(Predecessor):
    """From task to task, maps keep their sums along rows and columns, and the embedding its direction (eq. 4 to 6).

    First task:  L = CE(z_s, y)
    Then:        L = CE(z_s, y) + sqrt(C / C_new) * (spatial_weight * mean_l |p(f_l) - p(b_l)|
                                                     + flat_weight * (1 - cos(mean f_L, mean b_L)))

    f_l, b_l: maps before their last ReLU of the student and of the network as it was before the task; p: sums of their
    squares along the height and along the width, put together and of unit length; C: the classes that have come, C_new
    those of the task.

    As the authors' code (github.com/arthurdouillard/incremental_learning.pytorch, inclearn/models/podnet.py and
    inclearn/lib/losses, commit c09fc54): value and gradient of both parts are equal, with the weights 3 and 1 of
    options/podnet/podnet_cnn_cifar100.yaml. Of the method this is the distillation: the head is the suite's linear one
    under a cross-entropy, where PODNet has ten proxies a class under an NCA loss, begun at the new classes' embeddings,
    those of earlier classes held still, and all tuned on a balanced memory at the end of each task; and that code clips
    each gradient's entries to 5.
    """

    name, version = "podnet", 1
    paper = Paper(
        "PODNet: Pooled Outputs Distillation for Small-Tasks Incremental Learning",
        "Arthur Douillard, Matthieu Cord, Charles Ollion, Thomas Robert, Eduardo Valle",
        2020,
        "2004.13513",
    )
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.pre_activations", "tasks"})

    class Params(Predecessor.Params):
        spatial_weight: float = Field(3.0, ge=0, description="weight of the maps' sums along rows and columns")
        flat_weight: float = Field(1.0, ge=0, description="weight of the embedding's direction")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, old, new = self.params, self.old(batch.task), self.new(batch.task)
        ce = F.cross_entropy(student.logits, batch.labels)
        if not len(old):
            return {"ce": ce}
        own, before = student.pre_activations, self.taught(batch).pre_activations
        grown = math.sqrt((len(old) + len(new)) / len(new))
        return {
            "ce": ce,
            "spatial": grown * p.spatial_weight * spatial_loss(own, before),
            "flat": grown * p.flat_weight * flat_loss(own[-1].mean(dim=(2, 3)), before[-1].mean(dim=(2, 3))),
        }


def spatial_loss(own: Sequence[Tensor], before: Sequence[Tensor]) -> Tensor:
    """Distance of the (B, C, H, W) maps' pooled squares, which have unit length: averaged over images and maps."""
    return torch.stack([(pooled(a) - pooled(b)).norm(dim=1).mean() for a, b in zip(own, before, strict=True)]).mean()


def pooled(feature: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C * H + C * W): sums of squares along each side, of unit length."""
    squares = feature.square()
    return F.normalize(torch.cat([squares.sum(dim=3).flatten(1), squares.sum(dim=2).flatten(1)], dim=1), dim=1)


def flat_loss(own: Tensor, before: Tensor) -> Tensor:
    """1 - cosine of (B, D) embeddings, averaged over images."""
    return (1 - F.cosine_similarity(own, before, dim=1)).mean()
