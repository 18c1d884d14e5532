"""The distillation of iCaRL (Rebuffi et al. 2017)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.predecessor import Predecessor


class ICaRL(Predecessor):
    """Each class is a yes or no of its own: of new classes the labels say it, of old ones the student of before.

    L = class_weight / C * sum_n BCE(sigmoid(z_s)_n, y_n) + kd_weight / C * sum_o BCE(sigmoid(z_s)_o, sigmoid(z_b)_o)

    n, o: new and old classes, C in all; y_n: whether it is the label; z_b: logits of the network as it was before the
    task (Algorithm 3). Of an image from the memory, too, the old network says what it is, not its label.

    As a reimplementation (github.com/arthurdouillard/incremental_learning.pytorch, inclearn/models/icarl.py, commit
    c09fc54): value and gradient of the loss are equal. Of the method this is the distillation: the memory is the
    suite's, the same for all methods, where iCaRL chooses it by herding; and classes are told by the head, where iCaRL
    takes the nearest mean of the memory's embeddings. A mean over classes is small: the authors train at a learning
    rate of 2.0, for which a suite at a lower one may raise both weights.
    """

    name, version = "icarl", 1
    paper = Paper(
        "iCaRL: Incremental Classifier and Representation Learning",
        "Sylvestre-Alvise Rebuffi, Alexander Kolesnikov, Georg Sperl, Christoph H. Lampert",
        2017,
        "1611.07725",
    )
    knowledge = ("response",)
    requires = frozenset({"student.logits", "tasks"})

    class Params(Predecessor.Params):
        class_weight: float = Field(1.0, ge=0, description="weight of the new classes, which labels tell")
        kd_weight: float = Field(1.0, ge=0, description="weight of the old classes, which the old network tells")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, old, new = self.params, self.old(batch.task), self.new(batch.task)
        seen = len(old) + len(new)
        one_hot = F.one_hot(batch.labels, student.logits.shape[1]).to(student.logits.dtype)
        terms = {"classes": p.class_weight * yes_or_no_loss(student.logits[:, new], one_hot[:, new], seen)}
        if len(old):
            before = self.taught(batch).logits[:, old].sigmoid()
            terms["kd"] = p.kd_weight * yes_or_no_loss(student.logits[:, old], before, seen)
        return terms


def yes_or_no_loss(logits: Tensor, targets: Tensor, classes: int) -> Tensor:
    """Binary cross-entropy of (B, C') logits with targets in 0 to 1: summed over C', divided by `classes` and B."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="sum") / (classes * len(logits))
