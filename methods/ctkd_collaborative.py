"""Knowledge distillation via collaborative teaching, CTKD (Zhao et al. 2020)."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from kdbench import Batch, Field, Method, Outputs, Paper, Read, Setup
from kdbench_methods.at import attention_loss
from kdbench_methods.parts.peers import make_peers, peer_models
from kdbench_methods.rocket import hint_loss


class CTKDCollaborative(Method):
    """A teacher that starts from scratch shows the student every step of its logits, the expert one where to look.

    L = CE(z_c, y) + ce_weight * CE(z_s, y) + hint_weight * sum over classes of (z_s - z_c)^2
          + attention_weight * sum_l mean((Q(f_s^l) - Q(f_t^l))^2),      Q(f) = vec(mean_c f^2) / ||vec(mean_c f^2)||

    c: the scratch teacher, of the teacher's architecture, trained beside the student, whose logits are constants in the
    third term. t: the expert, the suite's teacher.

    As the authors' code (HaoranZhao1988/CTKD, train.py and utils.py, commit 238e9fe): all terms, maps at the ends of
    the stages, the gradient block. There the student shares its stem with the scratch teacher, here nothing; and zip()
    pairs the expert's maps with the scratch teacher's, which come first in its list, so that no attention reaches the
    student but through the stem; here, as the abstract says, with the student's. It gives no weights: both are those of
    the code that it was made from (zhougr1993/Rocket-Launching, README.md, commit b820cc4).
    """

    name, version = "ctkd_collaborative", 1
    paper = Paper(
        "Highlight Every Step: Knowledge Distillation via Collaborative Teaching",
        "Haoran Zhao, Xin Sun, Junyu Dong, Changrui Chen, Zihe Dong",
        2020,
        "1907.09643",
    )
    scheme = "offline"
    knowledge = ("response", "feature")
    families = ("multi_teacher",)
    requires = frozenset({"student.logits", "student.features", "teacher.features", "teacher.network"})
    deviations = ("a further network is trained beside the student, from one forward pass",)

    class Params(Method.Params):
        ce_weight: float = Field(1.0, ge=0, description="weight of both networks' cross-entropies with the labels")
        hint_weight: float = Field(0.03, ge=0, description="weight of the distance to the scratch teacher's logits")
        attention_weight: float = Field(1000.0, ge=0, description="weight of the distance to the expert's attention")

    def build(self, setup: Setup) -> None:
        self.scratch = make_peers(setup, "teacher", 1)

    def loss(self, batch: Batch, student: Outputs, teacher: Outputs) -> dict[str, Tensor]:
        p, scratch = self.params, self.scratch[0](batch.images)
        return {
            "ce": p.ce_weight * F.cross_entropy(student.logits, batch.labels),
            "hint": p.hint_weight * hint_loss(student.logits, scratch.logits),
            "attention": p.attention_weight * attention_loss(student.features, teacher.features),
            "scratch_ce": p.ce_weight * F.cross_entropy(scratch.logits, batch.labels),
        }

    def networks(self, student: nn.Module, read: Read) -> Mapping[str, nn.Module]:
        return peer_models(self.scratch)
