"""Learning without forgetting (Li & Hoiem 2016)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Outputs, Paper
from kdbench_methods.parts.predecessor import Predecessor


class LwF(Predecessor):
    """On new images the student says of the old classes what it said before it learned the new ones (eq. 2, 3).

    First task:  L = CE(z_s, y)
    Then:        L = CE(z_s, y) - kd_weight * sum_c softmax(z_b / T)_c * log softmax(z_s / T)_c

    z_b: logits of the network as it was before the task; c: the old classes, over which both sides of the distillation
    are. T^2 is no factor of it. The paper's T is 2, its weight 1.

    As a reimplementation (github.com/G-U-N/PyCIL, models/lwf.py, commit 87cc411; the authors' code is MATLAB), which
    weighs the distillation by 3: its value and gradient are equal. There the cross-entropy chooses among the classes of
    the task alone; here among all that have come, as in that file's first task, since images of earlier classes may
    come again and one test asks for all classes at once. As there, one softmax is over the classes of all earlier tasks
    (the paper: one for each task), and no epochs come first in which the new classes' weights alone learn.
    """

    name, version = "lwf", 1
    paper = Paper("Learning without Forgetting", "Zhizhong Li, Derek Hoiem", 2016, "1606.09282")
    knowledge = ("response",)
    requires = frozenset({"student.logits", "tasks"})

    class Params(Predecessor.Params):
        temperature: float = Field(2.0, gt=0, description="T, softens both distributions over the old classes")
        kd_weight: float = Field(1.0, ge=0, description="weight of the distillation on the old classes")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, old = self.params, self.old(batch.task)
        ce = F.cross_entropy(student.logits, batch.labels)
        if not len(old):
            return {"ce": ce}
        kd = old_classes_loss(student.logits[:, old], self.taught(batch).logits[:, old], p.temperature)
        return {"ce": ce, "kd": p.kd_weight * kd}


def old_classes_loss(logits: Tensor, before: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of softened distributions over the same (B, C) classes: summed over these, averaged over B."""
    return -((before / temperature).softmax(dim=1) * (logits / temperature).log_softmax(dim=1)).sum(dim=1).mean()
