"""Adaptive ensemble knowledge distillation in gradient space (Du et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper, Setup
from kdbench_methods.avg_teachers import AvgTeachers
from kdbench_methods.kd import kd_loss
from kdbench_methods.parts.team import team_logits


class AEKD(AvgTeachers):
    """Teachers weigh so that the student goes where they agree: along the shortest mixture of their gradients.

    L = ce_weight * CE(z_s, y) + kd_weight * sum_k w_k * T^2 * KL(softmax(z_k / T) || softmax(z_s / T))

    w = argmin |sum_k w_k g_k|^2    with sum_k w_k = 1 and 0 <= w_k <= tolerance

    g_k: the gradient of teacher k's term in the student's logits, averaged over the batch; w is a constant in L. A
    tolerance of 1/K is the mean of all terms; one of 1 lets a single teacher decide.

    As the authors' code (github.com/AnTuo1998/AE-KD, helper/loops.py, helper/optimization.py, commit 68f490e): the
    logit-based variant, without --svm_norm, T, weights and tolerance (-r 1 -a 0.9 -C 0.6), w detached. On purpose
    otherwise: the dual of the code's one-class SVM is this problem, which is solved exactly here, on the device.
    """

    name, version = "aekd", 1
    paper = Paper(
        "Agree to Disagree: Adaptive Ensemble Knowledge Distillation in Gradient Space",
        "Shangchen Du, Shan You, Xiaojie Li, Jianlong Wu, Fei Wang, Chen Qian, Changshui Zhang",
        2020,
    )

    class Params(AvgTeachers.Params):
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        kd_weight: float = Field(0.9, ge=0, description="weight of the divergences from the teachers")
        tolerance: float = Field(0.6, gt=0, le=1, description="the most that one teacher may weigh; 1/K at least")

    def build(self, setup: Setup) -> None:
        super().build(setup)
        self.register_buffer("bounds", choices_of_bounds(1 + len(self.others)), persistent=False)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        logits = team_logits(teacher, self.others, batch.images)
        with torch.no_grad():
            p_s, p_t = (student.logits / p.temperature).softmax(dim=1), (logits / p.temperature).softmax(dim=2)
            gradients = (p_s - p_t).mean(dim=1)  # but for a factor that all have in common
            weights = agreed_weights(gradients, p.tolerance, self.get_buffer("bounds"))
        terms = torch.stack([kd_loss(student.logits, z, p.temperature) for z in logits])
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "kd": p.kd_weight * (weights * terms).sum(),
        }


def choices_of_bounds(count: int) -> Tensor:
    """(3^K, K): every way for K weights to be at zero (0), at the limit (1) or between (2)."""
    return torch.cartesian_prod(*[torch.arange(3)] * count).reshape(-1, count)


def agreed_weights(gradients: Tensor, tolerance: float, bounds: Tensor) -> Tensor:
    """(K, C) gradients to the (K,) weights of their shortest mixture, none above the tolerance (or 1/K).

    For every choice of weights at a bound, those between follow from a linear system; of the choices that keep within
    the bounds, the one with the shortest mixture is the solution. Teachers that agree weigh the same.
    """
    count = len(gradients)
    limit = max(tolerance, 1 / count)
    gradients64 = gradients.double()
    products = gradients64 @ gradients64.T
    identity = torch.eye(count, dtype=products.dtype, device=products.device)
    products = products / products.diagonal().mean().clamp(min=1e-30) + 1e-9 * identity
    free, fixed = (bounds == 2).to(products), limit * (bounds == 1).to(products)
    matrix = free[:, :, None] * products * free[:, None, :] + (1 - free)[:, None] * identity
    ones, pull = solve(matrix, torch.stack([free, free * (fixed @ products)], dim=2)).unbind(dim=2)
    multiplier = (1 - fixed.sum(dim=1) + pull.sum(dim=1)) / ones.sum(dim=1).clamp(min=1e-30)
    weights = fixed + multiplier[:, None] * ones - pull
    outside = (-weights).relu().sum(dim=1) + (weights - limit).relu().sum(dim=1) + (weights.sum(dim=1) - 1).abs()
    length = torch.einsum("pi,ij,pj->p", weights, products, weights) + 1e6 * outside
    best = weights.gather(0, length.argmin().expand(1, count))[0].clamp(0, limit)
    return (best / best.sum()).to(gradients)


def solve(matrix: Tensor, right: Tensor) -> Tensor:
    """Solutions (P, K, N) of P positive definite systems, (P, K, K) with right sides (P, K, N), by elimination."""
    count = matrix.shape[2]
    joined = torch.cat([matrix, right], dim=2)
    for i in range(count):
        row = joined[:, i] / joined[:, i, i, None]
        joined = joined - joined[:, :, i, None] * row[:, None]
        joined[:, i] = row
    return joined[:, :, count:]
