"""Label smoothing (Szegedy et al. 2016): what soft targets give without a teacher."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class LabelSmoothing(Method):
    """A control: the plain student on labels that are mixed with the uniform distribution.

    L = CE(z_s, (1 - smoothing) * y + smoothing / C)

    Known second hand: PyTorch's own label smoothing, which follows the paper's section 7, with its 0.1.
    """

    name, version = "label_smoothing", 1
    paper = Paper(
        "Rethinking the Inception Architecture for Computer Vision",
        "Christian Szegedy, Vincent Vanhoucke, Sergey Ioffe, Jonathon Shlens, Zbigniew Wojna",
        2016,
        "1512.00567",
    )
    scheme = "baseline"
    requires = frozenset({"student.logits"})

    class Params(Method.Params):
        smoothing: float = Field(0.1, ge=0, lt=1, description="how much of the label goes to the uniform distribution")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(student.logits, batch.labels, label_smoothing=self.params.smoothing)}
