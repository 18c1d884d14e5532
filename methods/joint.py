"""A control of lifelong learning: nothing is forgotten because nothing is taken away."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Method, Outputs


class Joint(Method):
    """The student learns each task beside all images of the earlier ones: what no memory and no teacher can beat.

    L = CE(z_s, y)

    Each task goes on with the network of the last one. The lower bound is `vanilla`, which on a suite with tasks is
    fine-tuning on the images of the task and the suite's memory.
    """

    name, version = "joint", 1
    scheme = "baseline"
    families = ("lifelong",)
    requires = frozenset({"student.logits", "tasks", "earlier_images"})
    deviations = ("all images of earlier tasks come again, not the suite's memory alone",)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(student.logits, batch.labels)}
