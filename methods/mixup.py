"""mixup (Zhang et al. 2018): what mixed images give without a teacher."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Method, Outputs, Paper, Setup


class Mixup(Method):
    """A control: the plain student on mixtures of two images and of their labels (eq. 1, with a uniform share).

    L = share * CE(z_s(x), y_i) + (1 - share) * CE(z_s(x), y_j),    x = share * x_i + (1 - share) * x_j

    As the authors' code (github.com/facebookresearch/mixup-cifar10, train.py, commit eaff31a): one share a batch, from
    Beta(1, 1), and partners by a permutation of the batch. Nothing differs but the recipe, which is the suite's (for
    ImageNet the paper mixes less).
    """

    name, version = "mixup", 1
    paper = Paper(
        "mixup: Beyond Empirical Risk Minimization",
        "Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz",
        2018,
        "1710.09412",
    )
    scheme = "baseline"
    requires = frozenset({"student.logits"})
    deviations = ("images are mixed in pairs",)

    def build(self, setup: Setup) -> None:
        self.generator = setup.generator

    def inputs(self, batch: Batch) -> Batch:
        device = batch.labels.device
        share = torch.rand((), generator=self.generator, device=device)
        partner = torch.rand(len(batch.labels), generator=self.generator, device=device).argsort()
        mixed = share * batch.images + (1 - share) * batch.images[partner]
        return replace(batch, images=mixed, view=None, extra={"share": share, "partner": batch.labels[partner]})

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        share = batch.extra["share"]
        own = F.cross_entropy(student.logits, batch.labels)
        return {"ce": share * own + (1 - share) * F.cross_entropy(student.logits, batch.extra["partner"])}
