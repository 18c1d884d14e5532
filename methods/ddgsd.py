"""Data-distortion guided self-distillation, DDGSD (Xu & Liu 2019)."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper, Setup
from kdbench_methods.kd import kd_loss


class DDGSD(Method):
    """The student says the same of two views of an image.

    L = ce_weight * (CE(z_a, y) + CE(z_b, y)) / 2
        + view_weight * T^2 * (KL(softmax(z_b / T) || softmax(z_a / T)) + KL(softmax(z_a / T) || softmax(z_b / T)))
        + mean_weight * |mean of e_a - mean of e_b|^2

    a, b: two views of the batch, drawn apart; in a divergence the first one teaches without a gradient. The last term
    is the maximum mean discrepancy of the embeddings under a linear kernel, means over the batch.

    Known second hand: no code of the authors was found. As a reimplementation (github.com/winycg/Self-KD-Lib,
    methods/ddsgd.py, main.py, commit ede3062): T, the weights, the mean cross-entropy of both views halved, teachers
    without gradients. On purpose otherwise: it takes one mean over batch and channels for the discrepancy; here it is
    that of the vectors, as in the paper, which weighs it 1e-4 to 5e-4.
    """

    name, version = "ddgsd", 2
    paper = Paper(
        "Data-Distortion Guided Self-Distillation for Deep Neural Networks", "Ting-Bing Xu, Cheng-Lin Liu", 2019
    )
    scheme = "self"
    knowledge = ("response", "feature")
    requires = frozenset({"student.logits", "student.embedding", "images"})
    deviations = ("every image is seen in two views",)

    class Params(Method.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens the distributions of both views")
        ce_weight: float = Field(0.5, ge=0, description="weight of the labels' cross-entropy, the mean of both views")
        view_weight: float = Field(1.0, ge=0, description="weight of each view's divergence from the other")
        mean_weight: float = Field(5e-4, ge=0, description="weight of the distance of both mean embeddings")

    def build(self, setup: Setup) -> None:
        self.generator, self.images, self.num_views = setup.generator, setup.images, setup.num_views

    def inputs(self, batch: Batch) -> Batch:
        n, device = len(batch.labels), batch.labels.device
        other = torch.randint(self.num_views, (n,), generator=self.generator, device=device)
        return replace(batch, images=torch.cat([batch.images, self.images(batch.index, other)]), view=None)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, z, e = self.params, student.logits, student.embedding
        (z_a, z_b), (e_a, e_b) = z.chunk(2), e.chunk(2)
        kd = kd_loss(z_a, z_b.detach(), p.temperature) + kd_loss(z_b, z_a.detach(), p.temperature)
        return {
            "ce": p.ce_weight * F.cross_entropy(z, batch.labels.repeat(2)),
            "view": p.view_weight * kd,
            "mean": p.mean_weight * (e_a.mean(dim=0) - e_b.mean(dim=0)).square().sum(),
        }
