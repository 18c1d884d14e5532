"""Progressive self-knowledge distillation, PS-KD (Kim et al. 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper, Setup


class PSKD(Method):
    """The student's own predictions of the epoch before soften its labels, more and more.

    L = CE(z_s, (1 - a) * y + a * p) = (1 - a) * CE(z_s, y) + a * CE(z_s, p),    a = final_share * (epoch + 1) / epochs

    p: softmax(z_s) of the same image an epoch ago, as it was then cropped and while the network was trained; the label
    itself in the first epoch.

    As the authors' code (github.com/lgcnsai/PS-KD-Pytorch, main.py, loss/pskd_loss.py, commit 9aa0828): the growing
    share, the targets, when predictions are kept, sum over classes and mean over the batch. Nothing differs but the
    recipe, which is the suite's, and that the two parts of the loss are logged apart.
    """

    name, version = "pskd", 1
    paper = Paper(
        "Self-Knowledge Distillation with Progressive Refinement of Targets",
        "Kyungyul Kim, ByeongMoon Ji, Doyoung Yoon, Sangheum Hwang",
        2021,
        "2006.12000",
    )
    scheme = "self"
    knowledge = ("response",)
    requires = frozenset({"student.logits"})

    class Params(Method.Params):
        final_share: float = Field(0.8, ge=0, le=1, description="share of the own predictions in the last epoch")

    predictions: Tensor

    def build(self, setup: Setup) -> None:
        self.epochs = setup.epochs
        self.register_buffer("predictions", F.one_hot(setup.train_labels, setup.num_classes).float())

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        z = student.logits
        share = self.params.final_share * (batch.epoch + 1) / self.epochs
        past = F.cross_entropy(z, self.predictions[batch.index])
        with torch.no_grad():
            self.predictions[batch.index] = z.softmax(dim=1)
        return {"ce": (1 - share) * F.cross_entropy(z, batch.labels), "own": share * past}
