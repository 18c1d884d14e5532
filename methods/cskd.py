"""Class-wise self-knowledge distillation, CS-KD (Yun et al. 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper, Setup
from kdbench_methods.kd import kd_loss


class CSKD(Method):
    """The student says of an image what it says of another one of the same class.

    L = ce_weight * CE(z_s(x), y) + class_weight * T^2 * KL(softmax(z_s(x') / T) || softmax(z_s(x) / T))

    x': drawn anew from the class of x, itself among them, under a view of its own. No gradient goes through z_s(x'),
    but it is computed in training mode, so that batch norm sees those images too.

    As the authors' code (github.com/alinlab/cs-kd, train.py, datasets.py, commit b447f25): T, both weights, T^2, sum
    over classes and mean over the batch, a partner drawn from the whole class, its forward pass apart, in training
    mode and without gradients. Nothing differs but the recipe, which is the suite's.
    """

    name, version = "cskd", 1
    paper = Paper(
        "Regularizing Class-wise Predictions via Self-knowledge Distillation",
        "Sukmin Yun, Jongjin Park, Kimin Lee, Jinwoo Shin",
        2020,
        "2003.13964",
    )
    scheme = "self"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "images"})
    deviations = ("beside every image another of its class is seen, without gradients",)

    class Params(Method.Params):
        temperature: float = Field(4.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        class_weight: float = Field(1.0, ge=0, description="weight of the divergence from the partner")

    by_class: Tensor
    counts: Tensor
    starts: Tensor

    def build(self, setup: Setup) -> None:
        self.generator, self.images, self.num_views = setup.generator, setup.images, setup.num_views
        self.read_student = setup.read_student
        counts = setup.train_labels.bincount(minlength=setup.num_classes)
        self.register_buffer("by_class", setup.train_labels.argsort(stable=True))
        self.register_buffer("counts", counts)
        self.register_buffer("starts", counts.cumsum(dim=0) - counts)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        partner, view = self.partners(batch.labels)
        with torch.no_grad():
            theirs = self.read_student(self.images(partner, view)).logits
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "class": p.class_weight * kd_loss(student.logits, theirs, p.temperature),
        }

    def partners(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) labels to the indices and views of an image of each one's class."""
        size, device, counts = (len(labels),), labels.device, self.counts[labels]
        share = torch.rand(size, generator=self.generator, device=device)
        place = (share * counts).long().minimum(counts - 1)  # the product may be rounded up
        view = torch.randint(self.num_views, size, generator=self.generator, device=device)
        return self.by_class[self.starts[labels] + place], view
