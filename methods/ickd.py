"""Inter-channel correlation (Liu et al. 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.layers import BatchNorm
from kdbench_methods.parts.with_kd import WithKD


class ICKD(WithKD):
    """The channels of the last map correlate with each other as the teacher's do (eq. 1 to 4).

    L = CE(z_s, y) + correlation_weight * mean_i |G_i^s - G_i^t|_F^2 / C,    G = rows of F F^T made unit length

    F is the (C, H * W) map of an image, the student's after a 1 x 1 convolution to the teacher's channels.

    As the authors' code (ADLab-AutoDrive/ICKD, Cifar100/distiller_zoo/ICKD.py and scripts, commit 403b8d3): last map,
    convolution with batch norm, reduction, weight, KD off ("w/o KL"; kd_weight 1 is their other row). A second
    embedding, which that code makes and never uses, is left out.
    """

    name, version = "ickd", 1
    paper = Paper(
        "Exploring Inter-Channel Correlation for Diversity-preserved Knowledge Distillation",
        "Li Liu, Qingle Huang, Sihao Lin, Hongwei Xie, Bing Wang, Xiaojun Chang, Xiaodan Liang",
        2021,
        "2202.03680",
    )
    scheme = "offline"
    knowledge = ("relation",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        correlation_weight: float = Field(2.5, ge=0, description="weight of the correlation matrices' distance")

    def build(self, setup: Setup) -> None:
        channels = setup.teacher.features[-1][0]
        conv = nn.Conv2d(setup.student.features[-1][0], channels, 1, bias=False)
        self.embed = nn.Sequential(conv, BatchNorm(channels))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        correlation = channel_loss(self.embed(student.features[-1]), teacher.features[-1])
        return {**self.ce_and_kd(batch, student, teacher), "correlation": self.params.correlation_weight * correlation}


def channel_loss(student_map: Tensor, teacher_map: Tensor) -> Tensor:
    """Squared distance of the correlation matrices of (B, C, ...) maps: summed, over C, averaged over the batch."""
    difference = correlations(student_map) - correlations(teacher_map)
    return difference.square().sum(dim=(1, 2)).mean() / student_map.shape[1]


def correlations(feature: Tensor) -> Tensor:
    """(B, C, H, W) to (B, C, C): products of all pairs of channels, each row of unit length."""
    flat = feature.flatten(2)
    return F.normalize(flat @ flat.transpose(1, 2), dim=2)
