"""The plain student, trained on labels alone: what every method is compared with."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Method, Outputs


class Vanilla(Method):
    """The plain student: cross-entropy with the labels, no teacher.

    L = CE(z_s, y)
    """

    name, version = "vanilla", 1
    scheme = "baseline"
    requires = frozenset({"student.logits"})

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(student.logits, batch.labels)}
