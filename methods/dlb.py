"""Self-distillation from the last mini-batch, DLB (Shen et al. 2022)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper, Setup
from kdbench_methods.kd import kd_loss


class DLB(Method):
    """The student sees the last step's images once more, cropped anew, and repeats what it said of them then.

    L = CE(z_s, y), over these images and the new ones, + last_weight * T^2 * KL(softmax(z' / T) || softmax(z_s / T))

    z': the logits of the step before. The very first step has none.

    As the authors' code (github.com/Meta-knowledge-Lab/DLB, dlb.py, commit 8949a46): a pass of new images and one of
    the batch before under another view (the paper: halves of one batch), so that an epoch has as many steps as without;
    one cross-entropy over both, T^2, the past detached, batches handed on from epoch to epoch. T and the weight have no
    defaults there; 3 and 0.5 are in the name of its experiment. On purpose otherwise: after a short batch it is the
    latest images that are seen again, as many as a full batch has.
    """

    name, version = "dlb", 1
    paper = Paper(
        "Self-Distillation from the Last Mini-Batch for Consistency Regularization",
        "Yiqing Shen, Liwu Xu, Yuzhe Yang, Yaqian Li, Yandong Guo",
        2022,
        "2203.16172",
    )
    scheme = "self"
    knowledge = ("response",)
    requires = frozenset({"student.logits", "images"})
    deviations = ("every image is seen again in the next step, under another view",)

    class Params(Method.Params):
        temperature: float = Field(3.0, gt=0, description="T, softens both distributions")
        ce_weight: float = Field(1.0, ge=0, description="weight of the cross-entropy with the labels")
        last_weight: float = Field(0.5, ge=0, description="weight of the divergence from the last step's logits")

    labels: Tensor
    index: Tensor
    logits: Tensor
    begun: Tensor

    def build(self, setup: Setup) -> None:
        self.generator, self.images, self.num_views = setup.generator, setup.images, setup.num_views
        self.read_student = setup.read_student
        self.register_buffer("labels", setup.train_labels)
        self.register_buffer("index", torch.arange(setup.batch_size) % len(setup.train_labels))
        self.register_buffer("logits", torch.zeros(setup.batch_size, setup.num_classes))
        self.register_buffer("begun", torch.tensor(False))

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, size = self.params, len(self.index)
        begun = self.begun.clone()  # keep() changes it, and the backward pass reads it
        view = torch.randint(self.num_views, (size,), generator=self.generator, device=batch.labels.device)
        again = self.read_student(self.images(self.index, view)).logits
        new_ce = F.cross_entropy(student.logits, batch.labels)
        share = len(batch.labels) / (len(batch.labels) + size)
        both_ce = share * new_ce + (1 - share) * F.cross_entropy(again, self.labels[self.index])
        kd = kd_loss(again, self.logits, p.temperature)
        terms = {
            "ce": p.ce_weight * torch.where(begun, both_ce, new_ce),
            "last": p.last_weight * torch.where(begun, kd, torch.zeros_like(kd)),
        }
        self.keep(batch.index, student.logits.detach())
        return terms

    def keep(self, index: Tensor, logits: Tensor) -> None:
        """Note (B,) images and their (B, C) logits for the next step."""
        self.index.copy_(torch.cat([index, self.index])[: len(self.index)])
        self.logits.copy_(torch.cat([logits, self.logits])[: len(self.index)])
        self.begun.fill_(True)
