"""Variational information distillation (Ahn et al. 2019)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.parts.layers import same_size
from kdbench_methods.parts.with_kd import WithKD

EPS = 1e-5  # the smallest variance


class VID(WithKD):
    """The student's maps predict the teacher's as Gaussians with learned means and variances (eq. 5 and 6).

    L = CE(z_s, y) + information_weight * sum_l mean[ ((mu_l(f_s) - f_t)^2 / sigma_l^2 + log sigma_l^2) / 2 ]

    mu_l is three 1 x 1 convolutions, sigma_l^2 = softplus(rho_l) + eps one variance a channel. The larger of two maps
    is averaged to the size of the smaller.

    As the authors' code that Tian et al. restructured (HobbitLong/RepDistiller, distiller_zoo/VID.py, commit b84f547):
    maps, predictors, their initial weights and variances, reductions; variances are trained with the rest.
    """

    name, version = "vid", 2
    paper = Paper(
        "Variational Information Distillation for Knowledge Transfer",
        "Sungsoo Ahn, Shell Xu Hu, Andreas Damianou, Neil D. Lawrence, Zhenwen Dai",
        2019,
        "1904.05835",
    )
    scheme = "offline"
    knowledge = ("feature",)
    requires = frozenset({"student.logits", "student.features", "teacher.logits", "teacher.features"})

    class Params(WithKD.Params):
        information_weight: float = Field(1.0, ge=0, description="weight of the Gaussians' negative log-likelihood")
        initial_variance: float = Field(5.0, gt=0, description="sigma^2 of every channel at the start")

    def build(self, setup: Setup) -> None:
        channels = [(s[0], t[0]) for s, t in zip(setup.student.features, setup.teacher.features, strict=True)]
        self.means = nn.ModuleList(predictor(s, t) for s, t in channels)
        rho = math.log(math.expm1(self.params.initial_variance - EPS))
        self.rho = nn.ParameterList(torch.full((t,), rho) for _, t in channels)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        information = []
        for mean, rho, *maps in zip(self.means, self.rho, student.features, teacher.features, strict=True):
            f_s, f_t = same_size(*maps)
            information.append(gaussian_loss(mean(f_s), f_t, F.softplus(rho) + EPS))
        terms = self.ce_and_kd(batch, student, teacher)
        return {**terms, "information": self.params.information_weight * torch.stack(information).sum()}


def gaussian_loss(mean: Tensor, teacher_map: Tensor, variance: Tensor) -> Tensor:
    """Negative log-likelihood, without its constant, of (B, C, H, W) maps under a (C,) variance; the mean over all."""
    variance = variance[:, None, None]
    return ((mean - teacher_map).square() / variance + variance.log()).mean() / 2


def predictor(in_channels: int, channels: int) -> nn.Sequential:
    """Three 1 x 1 convolutions."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.ReLU(),
        nn.Conv2d(channels, channels, 1, bias=False),
    )
