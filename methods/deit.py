"""DeiT: distillation through a token of its own (Touvron et al. 2021)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from kdbench import Batch, Field, Method, Outputs, Paper


class DeiT(Method):
    """Of a transformer with two tokens, one head learns the labels and the other what the teacher decides (eq. 3).

    L = ce_weight * CE(z_class, y) + kd_weight * CE(z_distillation, argmax z_t)

    z_class, z_distillation: of the head on the class token, and on the distillation token. Deployed is their mean. The
    student must have both, as timm's deit_..._distilled networks have.

    As the authors' code (facebookresearch/deit, losses.py and main.py, commit 7e160fe), hard distillation: loss,
    weights, heads and what is deployed. There labels are smoothed and images mixed by the recipe, over 300 epochs; here
    the suite's. Left out: the code's soft distillation, which the paper found to be worse.
    """

    name, version = "deit", 1
    paper = Paper(
        "Training data-efficient image transformers & distillation through attention",
        "Hugo Touvron, Matthieu Cord, Matthijs Douze, Francisco Massa, Alexandre Sablayrolles, Hervé Jégou",
        2021,
        "2012.12877",
    )
    scheme = "offline"
    knowledge = ("response",)
    requires = frozenset({"student.head_logits", "teacher.logits"})

    class Params(Method.Params):
        ce_weight: float = Field(0.5, ge=0, description="weight of the class token's cross-entropy with the labels")
        kd_weight: float = Field(0.5, ge=0, description="weight of the distillation token's with the teacher's classes")

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p = self.params
        z_class, z_distillation = student.head_logits
        return {
            "ce": p.ce_weight * F.cross_entropy(z_class, batch.labels),
            "kd": p.kd_weight * F.cross_entropy(z_distillation, teacher.logits.argmax(dim=1)),
        }
